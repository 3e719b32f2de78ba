"""Checks that the functions on masks share. Each error names the function, the argument, what it got and needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..arguments import check_mask_dtype


def is_int(value: Any) -> bool:
    return isinstance(value, int | torch.SymInt) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_tensor(op: str, name: str, value: Any, minimum_dim: int = 3) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{op}: {name}: got {type(value).__name__}, needs a Tensor")
    if value.dim() < minimum_dim:
        raise ValueError(f"{op}: {name}: got shape {tuple(value.shape)}, needs (N, C, *S)")


def holds(dtype: torch.dtype, value: float) -> bool:
    """Whether the dtype can hold a number: torch wraps and rounds others in silence, so that -1 is 255 in uint8."""
    if dtype.is_floating_point or dtype.is_complex:
        return not math.isfinite(value) or abs(value) <= torch.finfo(dtype).max
    low, high = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    return math.isfinite(value) and value == int(value) and low <= value <= high


def check_holds(op: str, name: str, value: Any, dtype: torch.dtype) -> None:
    if not is_number(value):
        raise TypeError(f"{op}: {name}: got {value!r}, needs a number")
    if not holds(dtype, value):
        raise ValueError(f"{op}: {name}: got {value!r}, needs a number that {dtype} holds, the dtype of x")


def check_mask_tensor(op: str, mask: Any) -> None:
    check_tensor(op, "mask", mask)
    check_mask_dtype(op, mask)


def check_shape(op: str, shape: Any, rank: int | None = None) -> tuple[int, ...]:
    """The shape (N, M, *S) of a mask to draw, with `rank` spatial axes or any number of them."""
    valid = isinstance(shape, Sequence) and all(is_int(side) and side >= 0 for side in shape)
    if not valid or (len(shape) < 3 if rank is None else len(shape) != rank + 2) or min(shape[2:]) < 1:
        needed = "(N, M, H, W)" if rank == 2 else "(N, M, *S)"
        raise ValueError(f"{op}: shape: got {shape!r}, needs {needed}, such as x[:, :1].shape")
    return tuple(shape)


def per_axis(op: str, name: str, value: Any, rank: int) -> tuple[int, ...]:
    """One int >= 1 an axis."""
    values = (value,) * rank if is_int(value) else value
    if not isinstance(values, Sequence) or len(values) != rank or not all(is_int(v) and v >= 1 for v in values):
        raise ValueError(f"{op}: {name}: got {value!r}, needs an int >= 1 or a sequence of {rank} of them")
    return tuple(values)


def check_generator(op: str, generator: Any) -> None:
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"{op}: generator: got {type(generator).__name__}, needs a torch.Generator or None")
