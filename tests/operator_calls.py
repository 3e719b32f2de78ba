"""What the package's operators were called with."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class OperatorCalls(TorchDispatchMode):
    """Within it, `of[name]` lists the arguments of each call of the operator of that name."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[str, list[Any]] = defaultdict(list)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "maskconv_ext":
            self.of[function._schema.name.removeprefix("maskconv_ext::")].append(args)
        return function(*args, **(kwargs or {}))
