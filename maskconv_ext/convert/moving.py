"""Operations that move elements: the mask goes the same way."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from torch import fx

from . import operations
from .report import Unconvertible
from .values import Value, values_in

if TYPE_CHECKING:
    from .lowering import Lowering


def cat(lowering: Lowering, node: fx.Node, name: str, tensors: Any, dim: Any = 0) -> Value:
    values = values_in(tensors)
    if not isinstance(tensors, list | tuple) or not isinstance(dim, int):
        raise Unconvertible("cat of what is no list, or along a dimension that is computed, has no masked form")
    xs = [tensor.x if isinstance(tensor, Value) else tensor for tensor in tensors]
    masks = [tensor.mask if isinstance(tensor, Value) else None for tensor in tensors]
    common = lowering.options.inside
    result = lowering.pair(operations.concatenate, xs, masks, dim, common)
    return lowering.value(result, like=values[0], clean=not common and all(value.clean for value in values))


def stack(lowering: Lowering, node: fx.Node, name: str, tensors: Any, dim: Any = 0) -> Value:
    if len(values_in(tensors)) != len(tensors):
        raise Unconvertible("stack of tensors some of which have no mask has no masked form")
    moved = [lowering.pair(operations.follow, "unsqueeze", value.x, value.mask, dim) for value in tensors]
    result = lowering.pair(operations.concatenate, [x for x, _ in moved], [mask for _, mask in moved], dim)
    rank = None if tensors[0].rank is None else tensors[0].rank + 1
    return lowering.value(result, like=tensors[0], rank=rank, channel=1, clean=all(value.clean for value in tensors))


def _move_rank(name: str, value: Value, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int | None, int]:
    """Dimensions after the operation, and where the channels are."""
    rank, channel = value.rank, value.channel
    if rank is None:
        return None, channel
    sizes = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else args
    if name == "permute" and all(isinstance(d, int) for d in sizes) and len(sizes) == rank:
        return rank, [d % rank for d in sizes].index(channel % rank)
    if name == "transpose":
        pair = [d % rank for d in (*args, *kwargs.values())]
        at = channel % rank
        return rank, pair[1 - pair.index(at)] if at in pair else at
    if name == "movedim" and all(isinstance(d, int) for d in args) and len(args) == 2:
        order = [d for d in range(rank) if d != args[0] % rank]
        order.insert(args[1] % rank, args[0] % rank)
        return rank, order.index(channel % rank)
    if name in ("reshape", "view"):
        return (len(sizes), 1) if len(sizes) > 1 or isinstance(sizes, list | tuple) else (None, 1)
    if name == "flatten":
        given = {"start_dim": 0, "end_dim": -1, **dict(zip(("start_dim", "end_dim"), args)), **kwargs}
        start, end = given["start_dim"], given["end_dim"]
        after = rank - (end % rank - start % rank)
        return after, channel if start % rank > channel else 1
    if name == "unflatten":
        size = kwargs.get("sizes", args[1] if len(args) > 1 else ())
        return (rank + len(size) - 1, 1) if isinstance(size, list | tuple) else (None, 1)
    if name == "unsqueeze":
        return rank + 1, 1
    if name == "squeeze":
        dims = args[0] if args else kwargs.get("dim")
        return (None, 1) if dims is None else (rank - (1 if isinstance(dims, int) else len(dims)), 1)
    if name == "getitem":
        index = args[0] if isinstance(args[0], tuple) else (args[0],)
        return rank - sum(isinstance(i, int | fx.Node) for i in index) + sum(i is None for i in index), channel
    return rank, channel


def move(lowering: Lowering, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    value, *rest = args
    if value.many:
        if name != "getitem":
            raise Unconvertible(f"{name} of a list of tensors has no masked form")
        x, mask = (lowering.call(operator.getitem, part, rest[0]) for part in (value.x, value.mask))
        return lowering.value((x, mask), like=value, many=not isinstance(rest[0], int | fx.Node))
    rank, channel = _move_rank(name, value, tuple(rest), kwargs)
    if rank is not None and rank <= 2:
        # What has a row a sample and no positions is features: there is nothing left to be missing.
        x = lowering.clean(value).x
        lowering.leaves(name)
        if name in ("getitem", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"):
            return lowering.call(operations.plain_move, name, x, *rest, **kwargs)
        return lowering.method(name, x, *rest, **kwargs)
    result = lowering.pair(operations.follow, name, value.x, value.mask, *rest, **kwargs)
    return lowering.value(
        result, like=value, rank=rank, channel=channel, many=name in ("chunk", "split"), clean=value.clean
    )
