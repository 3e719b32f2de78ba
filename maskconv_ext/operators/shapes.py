"""Shapes, dtypes and memory formats of what the operators return: what tracing runs instead of their kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..arguments import is_soft

Ints = Sequence[int]


def _output_size(input_size: Ints, weight_size: Ints, stride: Ints, padding: Ints, dilation: Ints) -> list[int]:
    spatial = [
        (size + padding[2 * i] + padding[2 * i + 1] - dilation[i] * (kernel - 1) - 1) // stride[i] + 1
        for i, (size, kernel) in enumerate(zip(input_size[2:], weight_size[2:], strict=True))
    ]
    return [input_size[0], weight_size[0], *spatial]


def sum_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _empty(like: Tensor, size: Ints, dtype: torch.dtype, channels_last: bool) -> Tensor:
    if channels_last:
        return like.new_empty((size[0], *size[2:], size[1]), dtype=dtype).movedim(-1, 1)
    return like.new_empty(tuple(size), dtype=dtype)


def forward(
    input: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    mask_channels: Ints,
    normalization: str,
    mask_update: str,
    threshold: float,
    fill: float | None,
    pad_is_valid: bool,
    channels_last: bool,
    allow_tf32: bool,
    row_order: Tensor | None = None,
    grad_input_row_order: Tensor | None = None,
    weight_sum: Tensor | None = None,
    candidate: str = "",
) -> tuple[Tensor, Tensor, Tensor]:
    size = _output_size(input.shape, weight.shape, stride, padding, dilation)
    window_channels = groups if len(mask_channels) > 1 else 1
    window = [1 if mask is None else mask.shape[0], window_channels, *size[2:]]
    dtype_of_sum, mask_dtype = torch.int32, torch.bool if mask is None else mask.dtype
    if mask is not None and is_soft(mask):
        dtype_of_sum = sum_dtype(input)
    elif mask_update == "fraction":
        mask_dtype = torch.float32
    return (
        _empty(input, size, input.dtype, channels_last),
        _empty(input, window, mask_dtype, window_channels > 1),
        _empty(input, window, dtype_of_sum, window_channels > 1),
    )


def grad_bias(grad: Tensor, valid: Tensor | None) -> Tensor:
    return grad.new_empty((grad.shape[1],))


def channel_dot(a: Tensor, b: Tensor, mask: Tensor, mask_channels: Ints) -> Tensor:
    return _empty(a, (a.shape[0], mask.shape[1], *a.shape[2:]), sum_dtype(a), channels_last=True)


def select_(input: Tensor, mask: Tensor, mask_channels: Ints) -> None:
    return None


def grad_input(
    grad: Tensor,
    valid: Tensor | None,
    scale: Tensor | None,
    mask: Tensor | None,
    weight: Tensor,
    input_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    mask_channels: Ints,
    channels_last: bool,
    allow_tf32: bool,
    row_order: Tensor | None = None,
    candidate: str = "",
) -> Tensor:
    return _empty(grad, input_size, grad.dtype, channels_last)


def grad_weight(
    grad: Tensor,
    valid: Tensor | None,
    scale: Tensor | None,
    input: Tensor,
    mask: Tensor | None,
    weight_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    mask_channels: Ints,
    allow_tf32: bool,
    candidate: str = "",
) -> Tensor:
    return grad.new_empty(tuple(weight_size))


def forward_row_order(
    mask: Tensor,
    batch: int,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    mask_update: str,
    threshold: float,
    pad_is_valid: bool,
) -> Tensor:
    size = _output_size((batch, 1, *mask.shape[2:]), (1, 1, *kernel_size), stride, padding, dilation)
    return mask.new_empty((math.prod(size),), dtype=torch.int32)


def grad_input_row_order(
    valid: Tensor,
    mask: Tensor,
    batch: int,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
) -> Tensor:
    return mask.new_empty((batch * math.prod(mask.shape[2:]),), dtype=torch.int32)
