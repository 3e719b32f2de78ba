"""What flows through the graph of a converted model: x and its mask, as nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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


def leaves_of(arguments: Any) -> list[Any]:
    """What is neither a list nor a dict nor a slice in `arguments`, in order."""
    if isinstance(arguments, dict):
        arguments = list(arguments.values())
    if isinstance(arguments, slice):
        arguments = [arguments.start, arguments.stop, arguments.step]
    if isinstance(arguments, list | tuple):
        return [leaf for part in arguments for leaf in leaves_of(part)]
    return [arguments]


def values_in(*arguments: Any) -> list[Value]:
    return [leaf for leaf in leaves_of(arguments) if isinstance(leaf, Value)]


def replace_values(arguments: Any, replacement: Callable[[Value], Any]) -> Any:
    """`arguments` with something else in the place of each value."""

    def replace(item: Any) -> Any:
        return replacement(item) if isinstance(item, Value) else item

    return map_aggregate(arguments, replace)
