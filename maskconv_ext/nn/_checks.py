"""What the layers and losses ask of an input and its mask, and how they select by it.

Errors name the layer, the argument, what it got and what it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format

from ..arguments import AXIS_NAMES, INPUT_DTYPES, check_mask_dtype, check_mask_shape, is_soft
from ..arguments import check_mask as parse_mask_channels
from ..reference import repeat_parts

Pair = tuple[Tensor, Tensor | None]  # an input or output, and its mask


def check_input(op: str, x: Tensor, rank: int | None = None) -> None:
    """`x` must be a floating (N, C, *S), with `rank` spatial axes, or 1 to 3."""
    check_is_tensor(op, x)
    if x.dim() - 2 not in ((1, 2, 3) if rank is None else (rank,)):
        needs = "3 to 5 dimensions (N, C, *S)" if rank is None else f"{rank + 2} dimensions (N, C, {AXIS_NAMES[rank]})"
        raise ValueError(f"{op}: input: got shape {tuple(x.shape)}, needs {needs}")
    check_floating(op, x)


def check_features(op: str, x: Tensor, dims: Sequence[int], features: int, name: str, at: int = 1) -> None:
    """`x` must be floating, of one of the numbers of dimensions `dims`, with the layer's features in dimension `at`."""
    check_is_tensor(op, x)
    if x.dim() not in dims:
        raise ValueError(f"{op}: input: got shape {tuple(x.shape)}, needs {' or '.join(map(str, dims))} dimensions")
    if x.shape[at] != features:
        raise ValueError(f"{op}: input: got {x.shape[at]} channels, needs {features}, the layer's {name}")
    check_floating(op, x)


def check_floating(op: str, x: Tensor, name: str = "input") -> None:
    if x.dtype not in INPUT_DTYPES:
        raise TypeError(f"{op}: {name}: got {x.dtype}, needs float16, bfloat16, float32 or float64")


def check_is_tensor(op: str, x: Tensor) -> None:
    if isinstance(x, tuple):
        raise TypeError(f"{op}: input: got a tuple, needs a Tensor; write layer(*pair) to hand on the mask of a pair")
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: input: got {type(x).__name__}, needs a Tensor")


def check_mask(op: str, x: Tensor, mask: Tensor | None, *, parts: int | None = None) -> None:
    """`mask` must be None or (N or 1, M, *S) beside `x` (N, C, *S), with M = 1 or C; with `parts`, M = 1 or `parts`."""
    _check_has_channels(op, x)
    if mask is None:
        return
    check_mask_type(op, x, mask)
    check_mask_shape(op, x, mask, (1, x.shape[1] if parts is None else parts))


def _check_has_channels(op: str, x: Tensor) -> None:
    check_is_tensor(op, x)
    if x.dim() < 2:
        raise ValueError(f"{op}: input: got shape {tuple(x.shape)}, needs 2 or more dimensions (N, C, *S)")


def check_mask_type(op: str, x: Tensor, mask: Tensor) -> None:
    """Of any shape: a tensor of a mask's dtype on the input's device."""
    if not isinstance(mask, Tensor):
        raise TypeError(f"{op}: mask: got {type(mask).__name__}, needs a Tensor or None")
    if mask.layout != torch.strided:
        raise TypeError(f"{op}: mask: got layout {mask.layout}, needs torch.strided; write mask.to_dense()")
    check_mask_dtype(op, mask)
    if mask.device != x.device:
        raise ValueError(f"{op}: mask: got device {mask.device}, needs {x.device}, the device of input")


def check_broadcast_mask(op: str, x: Tensor, mask: Tensor | None, name: str = "input") -> None:
    """`mask` must be None, or have as many dimensions as `x`, each of the same size or 1."""
    if mask is None:
        return
    check_mask_type(op, x, mask)
    if mask.dim() != x.dim() or any(size not in (1, full) for size, full in zip(mask.shape, x.shape)):
        needed = ", ".join("1" if size == 1 else f"1 or {size}" for size in x.shape)
        raise ValueError(f"{op}: mask: got shape {tuple(mask.shape)} for {name} {tuple(x.shape)}, needs ({needed})")


def mask_parts(op: str, x: Tensor, mask: Tensor | None, mask_channels: Sequence[int] | None) -> tuple[int, ...]:
    """As `check_mask`; the input channels that each mask channel covers."""
    if mask is not None:
        check_mask_type(op, x, mask)
    return parse_mask_channels(op, x, mask, mask_channels)


def parse_rule(op: str, mask_update: Any) -> float:
    """The share of a window that must be valid: 1 for `"all"`, 0 for `"any"` and `"inside"` (which asks for more)."""
    if isinstance(mask_update, str) and mask_update in ("any", "all", "inside"):
        return 1.0 if mask_update == "all" else 0.0
    if isinstance(mask_update, float | int) and not isinstance(mask_update, bool) and 0.0 < mask_update <= 1.0:
        return float(mask_update)
    raise ValueError(f"{op}: mask_update: got {mask_update!r}, needs 'any', 'all', 'inside' or a float in (0, 1]")


def compute_dtype(x: Tensor) -> torch.dtype:
    """Sums are in float32, in float64 for float64."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def mask_values(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 and 1 of a hard mask, whatever its non-zero values; the values of a soft one."""
    return mask.to(dtype) if is_soft(mask) else (mask != 0).to(dtype)


def per_channel(tensor: Tensor, parts: Sequence[int]) -> Tensor:
    """What has one channel a mask channel, with one an input channel; a shared one stays, to be broadcast."""
    return tensor if tensor.shape[1] in (1, sum(parts)) else repeat_parts(tensor, parts)


def channel_mask(op: str, x: Tensor, mask: Tensor | None, mask_channels: Sequence[int] | None = None) -> Tensor | None:
    """The checked mask with 1 or C channels, so that it broadcasts to `x`."""
    _check_has_channels(op, x)
    parts = mask_parts(op, x, mask, mask_channels)
    return None if mask is None else per_channel(mask, parts)


def select(x: Tensor, mask: Tensor | None, other: float | Tensor = 0.0) -> Tensor:
    """`x` where the mask is not 0, else `other`, in the dtype and memory format of `x`.

    Not a product: NaN and Inf elsewhere are gone, from the gradient too.
    """
    if mask is None:
        return x
    selected = torch.where(mask != 0, x, other if isinstance(other, Tensor) else x.new_full((), other))
    layout = suggest_memory_format(x)
    # A mask of several channels would impose its own layout.
    return selected if layout == torch.contiguous_format else selected.contiguous(memory_format=layout)


def weigh(x: Tensor, mask: Tensor, parts: Sequence[int]) -> Tensor:
    """`x` times its mask, by selection where that is 0; a soft mask gets its gradient."""
    of_channel = per_channel(mask, parts)
    selected = select(x, of_channel)
    return selected * of_channel.to(x.dtype) if is_soft(mask) else selected
