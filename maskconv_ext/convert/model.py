"""The converted model: the layers of the original under their names, and forwards that carry the mask."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import linecache
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from torch import Tensor, fx, nn

from ..nn._checks import check_mask
from .report import ConversionReport
from .structure import OF_EVERY_MODULE, Skeleton

_numbers = itertools.count()


@dataclasses.dataclass(frozen=True)
class Program:
    """A forward as source, with what it refers to. It is pickled as that, and compiled where it is loaded."""

    source: str
    scope: dict[str, Any]

    def __reduce__(self) -> tuple[Any, ...]:
        modules = {name: thing.__name__ for name, thing in self.scope.items() if isinstance(thing, ModuleType)}
        return _load, (self.source, modules, {name: self.scope[name] for name in self.scope if name not in modules})

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        return self

    @classmethod
    def of(cls, graph: fx.Graph) -> Program:
        code = graph.python_code("self")
        return cls(code.src, {name: thing for name, thing in code.globals.items() if name in code.src})

    def compile(self, name: str) -> Callable[..., Any]:
        # Under a name of its own, so that a traceback shows the line.
        file = f"<converted {name} {next(_numbers)}>"
        linecache.cache[file] = (len(self.source), None, self.source.splitlines(keepends=True), file)
        scope = dict(self.scope)
        exec(compile(self.source, file, "exec"), scope)
        return scope["forward"]


def _load(source: str, modules: dict[str, str], others: dict[str, Any]) -> Program:
    return Program(source, {name: importlib.import_module(module) for name, module in modules.items()} | others)


class Block(nn.Module):
    """A part of a converted model: it holds layers under the names they had, and the model calls them."""

    def __init__(self, original: str) -> None:
        super().__init__()
        self.original = original

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            f"{self.original}: is part of a converted model, which computes as a whole; convert this part by itself to "
            f"call it"
        )

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[nn.Module | None]:
        return iter(self._modules.values())

    def __getitem__(self, index: int | str) -> nn.Module | None:
        return self._modules[str(index)] if isinstance(index, str) else list(self._modules.values())[index]

    def _get_name(self) -> str:
        return self.original


class MaskedModel(nn.Module):
    """A model made by `convert`: `(x, mask=None) -> y`, each map of y as a pair (y, mask).

    Its layers have the names that they had, and its state_dict is that of the original. `report` says what became of
    each, `code` how the mask goes through them.
    """

    skeleton: Skeleton | None

    def __init__(self, original: str, programs: dict[bool, Program], report: ConversionReport) -> None:
        super().__init__()
        self.original = original
        self.report = report
        self.programs = programs
        self.skeleton = None
        self._compile()

    def forward(self, input: Tensor, mask: Tensor | None = None, *others: Any) -> Any:
        check_mask(self.original, input, mask)
        return self._forwards[self.training](self, input, *others, mask=mask)

    @property
    def code(self) -> str:
        """The forward of the mode that the model is in, as Python."""
        return self.programs[self.training].source

    def _compile(self) -> None:
        compiled = {id(program): program.compile(self.original) for program in self.programs.values()}
        self._forwards = {mode: compiled[id(program)] for mode, program in self.programs.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_forwards"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._compile()

    def _get_name(self) -> str:
        return f"Masked{self.original}"


def take_over(module: nn.Module, original: nn.Module) -> None:
    """The tensors, children and other attributes of `original`, as far as `module` has none of that name."""
    for name, value in vars(original).items():
        if name in OF_EVERY_MODULE:
            module.__dict__[name] = value.copy() if isinstance(value, dict | set) else value
        elif name not in module.__dict__ and not hasattr(type(module), name):
            module.__dict__[name] = value
