"""Masks beside a tensor: what the layers that keep a tensor's shape share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..arguments import INPUT_DTYPES
from ..reference import repeat_parts
from ._checks import check_mask, check_mask_type


def check_input(op: str, x: Tensor, dims: Sequence[int], channels: int, name: str, at: int = 1) -> None:
    """`x` must be floating, of one of the numbers of dimensions `dims`, with `channels` in dimension `at`."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: input: got {type(x).__name__}, needs a Tensor")
    if x.dim() not in dims:
        raise ValueError(f"{op}: input: got shape {tuple(x.shape)}, needs {' or '.join(map(str, dims))} dimensions")
    if x.shape[at] != channels:
        raise ValueError(f"{op}: input: got {x.shape[at]} channels, needs {channels}, the layer's {name}")
    check_floating(op, x)


def check_floating(op: str, x: Tensor, name: str = "input") -> None:
    if x.dtype not in INPUT_DTYPES:
        raise TypeError(f"{op}: {name}: got {x.dtype}, needs float16, bfloat16, float32 or float64")


def check_broadcast_mask(op: str, x: Tensor, mask: Tensor | None, name: str = "input") -> None:
    """`mask` must be None, or have as many dimensions as `x`, each of the same size or 1."""
    if mask is None:
        return
    check_mask_type(op, x, mask)
    if mask.dim() != x.dim() or any(size not in (1, full) for size, full in zip(mask.shape, x.shape)):
        needed = ", ".join("1" if size == 1 else f"1 or {size}" for size in x.shape)
        raise ValueError(f"{op}: mask: got shape {tuple(mask.shape)} for {name} {tuple(x.shape)}, needs ({needed})")


def parse_parts(op: str, mask_channels: Sequence[int] | None) -> tuple[int, ...] | None:
    """`mask_channels` of a constructor, as a tuple."""
    if mask_channels is None:
        return None
    if (
        not isinstance(mask_channels, tuple | list)
        or not mask_channels
        or not all(isinstance(count, int) and not isinstance(count, bool) and count >= 1 for count in mask_channels)
    ):
        raise ValueError(f"{op}: mask_channels: got {mask_channels!r}, needs a sequence of ints >= 1, or None")
    return tuple(mask_channels)


def channel_mask(op: str, x: Tensor, mask: Tensor | None, parts: tuple[int, ...] | None) -> Tensor | None:
    """The checked mask with 1 or C channels, so that it broadcasts to `x`."""
    check_mask(op, x, mask, parts=None if parts is None else len(parts))
    if parts is not None and sum(parts) != x.shape[1]:
        raise ValueError(
            f"{op}: mask_channels: got {parts}, which add up to {sum(parts)}, needs a sum of {x.shape[1]}, the "
            f"channels of input"
        )
    if mask is None or parts is None or mask.shape[1] == 1:
        return mask
    return repeat_parts(mask, parts)
