"""What the layers ask of a mask; each error names the layer, what it got and what it needs."""

from __future__ import annotations

from torch import Tensor

from ..arguments import HARD_MASK_DTYPES, INPUT_DTYPES


def check_mask(op: str, x: Tensor, mask: Tensor | None, *, parts: int | None = None) -> None:
    """`mask` must be None or (N or 1, M, *S) beside `x` (N, C, *S), with M = 1 or C; with `parts`, M = 1 or `parts`."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: input: got {type(x).__name__}, needs a Tensor")
    if x.dim() < 2:
        raise ValueError(f"{op}: input: got shape {tuple(x.shape)}, needs 2 or more dimensions (N, C, *S)")
    if mask is None:
        return
    check_mask_type(op, x, mask)
    batches, channels = (1, x.shape[0]), (1, x.shape[1] if parts is None else parts)
    if (
        mask.dim() != x.dim()
        or mask.shape[0] not in batches
        or mask.shape[1] not in channels
        or mask.shape[2:] != x.shape[2:]
    ):
        needed = ", ".join([_either(batches), _either(channels), *map(str, x.shape[2:])])
        raise ValueError(f"{op}: mask: got shape {tuple(mask.shape)} for input {tuple(x.shape)}, needs ({needed})")


def check_mask_type(op: str, x: Tensor, mask: Tensor) -> None:
    """Of any shape: a tensor of a mask's dtype on the input's device."""
    if not isinstance(mask, Tensor):
        raise TypeError(f"{op}: mask: got {type(mask).__name__}, needs a Tensor or None")
    if mask.dtype not in HARD_MASK_DTYPES and mask.dtype not in INPUT_DTYPES:
        raise TypeError(
            f"{op}: mask: got {mask.dtype}, needs bool, uint8 or a floating dtype; write mask != 0 for a mask of 0 and "
            f"1, mask.float() for a soft mask"
        )
    if mask.device != x.device:
        raise ValueError(f"{op}: mask: got device {mask.device}, needs {x.device}, the device of input")


def _either(values: tuple[int, int]) -> str:
    return " or ".join(str(value) for value in dict.fromkeys(values))
