"""Gradients composed from framework operators, for devices whose own kernels are not written yet.

Same arguments and results as the operators of the same name in `csrc/ops/library.cpp`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .reference import per_filter, repeat_parts


def grad_input(
    grad: Tensor,
    valid: Tensor | None,
    mask: Tensor | None,
    weight: Tensor,
    input_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    mask_channels: Sequence[int],
    channels_last: bool,
) -> Tensor:
    """Gradient of the accumulator for the input, (N, C, *S); exactly 0 where the mask is 0."""
    padded_size = [size + padding[2 * i] + padding[2 * i + 1] for i, size in enumerate(input_size[2:])]
    like_input = grad.new_empty((1,)).expand(*input_size[:2], *padded_size)
    padded, _, _ = torch.ops.aten.convolution_backward(
        _where_valid(grad, valid), like_input, weight, None, stride, [0] * len(stride), dilation,
        False, [0] * len(stride), groups, [True, False, False],
    )  # fmt: skip
    for axis, size in enumerate(input_size[2:]):
        padded = padded.narrow(axis + 2, padding[2 * axis], size)
    if mask is not None:
        padded = torch.where(repeat_parts(mask, mask_channels) != 0, padded, 0.0)
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    memory_format = formats[padded.dim()] if channels_last else torch.contiguous_format
    return padded.clone(memory_format=memory_format)


def grad_weight(
    grad: Tensor,
    valid: Tensor | None,
    input: Tensor,
    mask: Tensor | None,
    weight_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    mask_channels: Sequence[int],
) -> Tensor:
    """Gradient of the accumulator for the weight, (K, C / groups, *R)."""
    if mask is not None:
        input = torch.where(repeat_parts(mask, mask_channels) != 0, input, 0.0)
    sides = [side for i in reversed(range(len(stride))) for side in (padding[2 * i], padding[2 * i + 1])]
    like_weight = grad.new_empty((1,)).expand(tuple(weight_size))
    _, result, _ = torch.ops.aten.convolution_backward(
        _where_valid(grad, valid), F.pad(input, sides), like_weight, None, stride, [0] * len(stride), dilation,
        False, [0] * len(stride), groups, [False, True, False],
    )  # fmt: skip
    return result.contiguous()


def _where_valid(grad: Tensor, valid: Tensor | None) -> Tensor:
    return grad if valid is None else torch.where(per_filter(valid, grad.shape[1]), grad, 0.0)
