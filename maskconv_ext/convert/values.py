"""What flows through the graph of a converted model: x and its mask, as nodes."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import fx
from torch.fx.node import map_aggregate


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A tensor with a mask."""

    x: fx.Node
    mask: fx.Node
    rank: int | None  # dimensions, where they are known
    channel: int  # the dimension of the channels
    clean: bool  # its holes are known to hold 0
    many: bool = False  # both are tuples


def values_in(*arguments: Any) -> list[Value]:
    """All of them, in order."""
    found: list[Value] = []

    def visit(item: Any) -> None:
        if isinstance(item, Value):
            found.append(item)
        elif isinstance(item, dict):
            visit(list(item.values()))
        elif isinstance(item, list | tuple):
            for part in item:
                visit(part)
        elif isinstance(item, slice):
            visit([item.start, item.stop, item.step])

    visit(arguments)
    return found


def substitute(arguments: Any, value: Value, node: fx.Node) -> Any:
    return map_aggregate(arguments, lambda item: node if item is value else item)
