"""What the graph of a converted model calls, beside its layers: x and its mask, in any layout.

A mask has as many dimensions as x, each of x's size or 1: (N, 1, H, W) beside (N, C, H, W), (N, H, W, 1) once both are
permuted. None: nothing is missing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import is_soft
from ..nn._checks import Pair, compute_dtype, mask_values, select
from ..nn._moments import _sum_as, along_channels, masked_moments, scaled, update_running
from ..nn.containers import MaskedAdd, _as_one_dtype
from ..nn.product import MaskedMul

__all__ = ["select"]
FUNCTIONS = {
    "pixel_shuffle": F.pixel_shuffle,
    "pixel_unshuffle": F.pixel_unshuffle,
    "channel_shuffle": F.channel_shuffle,
    "getitem": lambda tensor, index: tensor[index],
}


def select_or_one(x: Tensor, mask: Tensor | None) -> Tensor:
    """1 in the holes, for functions with no derivative at 0."""
    return x if mask is None else torch.where(mask != 0, x, x.new_ones(()))


def checked(layer: str, result: Any) -> Pair:
    """What a layer returned, if it is (y, mask)."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"{layer}: got {type(result).__name__}, needs to return (y, mask)")
    return result


def carried(layer: str, y: Any, mask: Tensor | None) -> Pair:
    """The mask of a layer's input, beside the output of that layer which stayed plain."""
    if mask is None:
        return y, None
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{layer}: stays plain and returned {type(y).__name__}, needs a Tensor of its input's size, beside which "
            f"the mask can go on"
        )
    m = mask.amax(1, keepdim=True) if mask.dim() > 1 and mask.shape[1] not in (1, *y.shape[1:2]) else mask
    if m.dim() != y.dim() or any(size not in (1, full) for size, full in zip(m.shape, y.shape)):
        raise ValueError(
            f"{layer}: stays plain and made shape {tuple(y.shape)} beside a mask of {tuple(mask.shape)}, needs an "
            f"output of its input's size, or the mask is lost"
        )
    return select(y, m), m


def follow(name: str, x: Tensor, mask: Tensor | None, *args: Any, **kwargs: Any) -> Any:
    """`(y, mask)` of an operation that moves elements: the mask goes the same way. For chunk and split, two tuples."""
    operation = FUNCTIONS.get(name) or getattr(Tensor, name)
    y = operation(x, *args, **kwargs)
    if mask is None:
        return y, None if isinstance(y, Tensor) else (None,) * len(y)
    if any(stride == 0 and size > 1 for stride, size in zip(mask.stride(), mask.shape)):
        mask = mask.contiguous()
    # Expanded, a mask shared by channels has stride 0 there, wherever the channels go: that is how it shrinks again.
    move: Any = {"view": Tensor.reshape, "view_as": Tensor.reshape_as}.get(name, operation)
    masks = move(mask.expand(x.shape), *args, **kwargs)
    shrink = (lambda m: m) if name in ("expand", "expand_as", "repeat", "tile") else _shrunk
    return y, shrink(masks) if isinstance(masks, Tensor) else tuple(map(shrink, masks))


def _shrunk(mask: Tensor) -> Tensor:
    for d in range(mask.dim()):
        if mask.stride(d) == 0 and mask.shape[d] > 1:
            mask = mask.narrow(d, 0, 1)
    return mask


def plain_move(name: str, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    return FUNCTIONS[name](x, *args, **kwargs)


def spread_like(mask: Tensor | None, y: Tensor) -> Tensor | None:
    """A mask of one channel a group of `y`, with one a channel."""
    if mask is None or mask.shape[1] in (1, y.shape[1]):
        return mask
    return mask.repeat_interleave(y.shape[1] // mask.shape[1], 1)


def concatenate(tensors: Sequence[Tensor], masks: Sequence[Tensor | None], dim: int = 0, common: bool = False) -> Pair:
    """Along any dimension; channels keep their masks. With `common` they get one: valid where all are."""
    y = torch.cat(list(tensors), dim)
    dim %= y.dim()
    first = masks[0]
    # Of parts with the same mask, one tensor, it stays the only one.
    if all(mask is first for mask in masks):
        if first is None:
            return y, None
        if first.shape[dim] == 1 and (dim == 1 or all(x.shape[dim] > 1 for x in tensors)):
            return y, first
    like = next(mask for mask in masks if mask is not None)
    dtyped = _as_one_dtype([like.new_ones([1] * y.dim()) if mask is None else mask for mask in masks])
    if common and dim == 1:
        shared = [mask.amin(1, keepdim=True) for mask in dtyped]
        return y, functools.reduce(torch.minimum, shared)
    sizes = [max(mask.shape[d] for mask in dtyped) for d in range(y.dim())]
    parts = [mask.expand(*sizes[:dim], x.shape[dim], *sizes[dim + 1 :]) for x, mask in zip(tensors, dtyped)]
    return y, torch.cat(parts, dim)


def pad(
    x: Tensor,
    mask: Tensor | None,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
    pad_is_valid: bool = False,
    inside: bool = False,
) -> Pair:
    """F.pad; what is copied is as valid as its source, a constant is a hole, or valid with `pad_is_valid`.

    With `inside` the mask grows by what is padded, as the image alone does.
    """
    y = F.pad(select(x, mask), list(pad), mode, value)
    if mask is None:
        return y, None
    values = mask_values(mask, mask.dtype if is_soft(mask) else torch.float32)
    padded_axes = range(values.dim() - len(pad) // 2, values.dim())
    values = values.expand(*(x.shape[d] if d in padded_axes else values.shape[d] for d in range(values.dim())))
    if mode != "constant":
        m = F.pad(values, list(pad), mode)
    elif inside:
        m = values
        for i, axis in enumerate(reversed(padded_axes)):
            before, after = pad[2 * i], pad[2 * i + 1]
            at = torch.arange(y.shape[axis], device=x.device) - before - after
            m = m.index_select(axis, at.clamp(0, x.shape[axis] - 1))
    else:
        m = F.pad(values, list(pad), mode, 1.0 if pad_is_valid else 0.0)
    out_mask = m.to(mask.dtype)
    return select(y, out_mask), out_mask


def reduce(
    name: str, x: Tensor, mask: Tensor | None, dim: Any = None, keepdim: bool = False, p: Any = 2, **kwargs: Any
) -> Pair:
    """mean, sum, amax, amin or norm of what is valid along `dim`; valid where anything was. 0 where nothing was."""
    if dim is None:
        dim = tuple(range(x.dim()))
    extra = {"p": p} if name == "norm" else kwargs
    if mask is None:
        return getattr(x, name)(dim=dim, keepdim=keepdim, **extra), None
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    dims = tuple(d % x.dim() for d in dims)
    if name in ("amax", "amin"):
        y = torch.where(mask != 0, x, -torch.inf if name == "amax" else torch.inf)
    elif name == "norm":
        y = select(x, mask)
    else:
        m = mask_values(mask, compute_dtype(x))
        y = select(x, mask).to(m.dtype) * m
    if name == "mean":
        weight = _sum_as(x, m, dims)
        y = y.sum(dims, keepdim=True) / torch.where(weight != 0, weight, 1.0)
    else:
        y = getattr(y, name)(dim=dims, keepdim=True, **extra)
    out_mask = mask.amax(dims, keepdim=True)
    y = select(y, out_mask).to(kwargs.get("dtype") or x.dtype)
    if not keepdim:
        y, out_mask = y.squeeze(dims), out_mask.squeeze(dims)
    return y, out_mask


def softmax(name: str, x: Tensor, mask: Tensor | None, dim: int, dtype: Any = None) -> Pair:
    """softmax or log_softmax over what is valid along `dim`."""
    if mask is None:
        return getattr(x, name)(dim, dtype=dtype), None
    # A line without anything valid is softmaxed as zeros: no NaN, and it is a hole anyway.
    lowest = torch.where(mask.amax(dim, keepdim=True) != 0, -torch.inf, 0.0).to(x.dtype)
    return select(getattr(torch.where(mask != 0, x, lowest), name)(dim, dtype=dtype), mask), mask


def layer_norm(
    x: Tensor, mask: Tensor | None, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None,
    eps: float = 1e-5,
) -> Pair:  # fmt: skip
    dims = tuple(range(x.dim() - len(normalized_shape), x.dim()))
    if mask is None or all(mask.shape[d] == 1 for d in dims):
        return select(F.layer_norm(select(x, mask), list(normalized_shape), weight, bias, eps), mask), mask
    return select(scaled(masked_moments(x, mask, dims), eps, weight, bias).to(x.dtype), mask), mask


def group_norm(
    x: Tensor, mask: Tensor | None, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Pair:
    if mask is None:
        return F.group_norm(x, num_groups, weight, bias, eps), None
    groups = (num_groups, -1)
    grouped = mask.unsqueeze(1) if mask.shape[1] == 1 else mask.unflatten(1, groups)
    moments = masked_moments(x.unflatten(1, groups), grouped, tuple(range(2, x.dim() + 1)))
    y = scaled(moments, eps, None, None).flatten(1, 2)
    weight, bias = along_channels(weight, x.dim()), along_channels(bias, x.dim())
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    return select(y.to(x.dtype), mask), mask


def instance_norm(x: Tensor, mask: Tensor | None, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Pair:
    return group_norm(x, mask, x.shape[1], weight, bias, eps)


def batch_norm(
    x: Tensor, mask: Tensor | None, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Pair:  # fmt: skip
    if mask is None or not training:
        y = F.batch_norm(select(x, mask), running_mean, running_var, weight, bias, training, momentum, eps)
        return select(y, mask), mask
    moments = masked_moments(x, mask, (0, *range(2, x.dim())))
    if running_mean is not None:
        update_running(running_mean, running_var, moments, momentum)
    y = scaled(moments, eps, along_channels(weight, x.dim()), along_channels(bias, x.dim()))
    return select(y.to(x.dtype), mask), mask


class Pairwise(MaskedMul):
    """Another operation of two factors, valid where both are."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def valid_part(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return select_or_one(x, mask)

    def combine(self, first: Tensor, second: Tensor) -> Tensor:
        return getattr(torch, self.name)(first, second)

    def extra_repr(self) -> str:
        return repr(self.name)


class BroadcastingAdd(MaskedAdd):
    """MaskedAdd, but where shapes differ, as of a context (N, C, 1, 1), valid where all terms are."""

    def forward(self, *pairs: Pair) -> Pair:
        if all(x.shape == pairs[0][0].shape for x, _ in pairs):
            return super().forward(*pairs)
        return Pairwise("add")(*pairs)
