"""The gradients of the forward operator, by the operators that csrc/ops defines for them."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from .. import tuning
from ..arguments import is_soft
from ..precision import conv_allows_tf32
from ..reference import per_filter, repeat_parts, scale_of
from .shapes import Ints, sum_dtype
from .sums import accumulate, through_scale

WEIGHT_SUM = 18  # its place among the inputs of forward; trailing defaults are left out


def forward_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    (input, mask, weight, _, *geometry, ctx.mask_channels, ctx.normalization, ctx.mask_update, _, ctx.fill,
     pad_is_valid, ctx.channels_last, _, _, grad_input_row_order, weight_sum, _) = inputs  # fmt: skip
    ctx.geometry = tuple(geometry)  # stride, padding, dilation, groups
    # Every window is. A padding that is traced as a symbol is not asked: the graph would be bound to the answer.
    unpadded = all(isinstance(side, int) and side == 0 for side in ctx.geometry[1])
    ctx.all_whole = mask is None and (pad_is_valid or unpadded)
    _, out_mask, window_sum = output
    ctx.save_for_backward(input, mask, weight, out_mask, window_sum, weight_sum)
    # Not among what activation checkpointing recomputes, and counts: there may be no plan by then.
    ctx.row_order = grad_input_row_order
    if not (is_soft(mask) and mask.requires_grad):
        ctx.mark_non_differentiable(out_mask, window_sum)
    elif ctx.mask_update != "fraction":
        ctx.mark_non_differentiable(out_mask)


def forward_backward(
    ctx: Any, grad_y: Tensor, grad_out_mask: Tensor | None, grad_window_sum: Tensor | None
) -> tuple[Tensor | None, ...]:
    input, mask, weight, out_mask, s, weight_sum = ctx.saved_tensors
    needs_input, needs_mask, needs_weight, needs_bias = ctx.needs_input_grad[:4]
    input_dtype, compute = input.dtype, sum_dtype(input)
    if weight_sum is not None and input.device.type == "cpu":
        # What is divided by sums of weights would be rounded to 16 bits on its way, or overflow them.
        input, weight, grad_y = input.to(compute), weight.to(compute), grad_y.to(compute)
    allow_tf32 = conv_allows_tf32()
    valid = s > 0 if ctx.mask_update == "fraction" else out_mask != 0

    # y = scale(s) * a + b where valid, else fill
    window_size = _window_size(weight, ctx.geometry[3], ctx.mask_channels)
    grad_y = _channels_last(grad_y)  # once for all that follows, which would each copy any other layout
    grad_of_bias, valid_of_bias = grad_y, None if ctx.fill is None else valid
    if weight_sum is not None:
        # Which decides, and may divide, filter by filter; the operators do neither.
        grad_valid = torch.where(per_filter(valid, weight.shape[0]) & (weight_sum != 0), grad_y, 0.0)
        grad_of_bias, valid_of_bias = grad_y if ctx.fill is None else grad_valid, None
        grad_y = grad_valid
        if ctx.normalization == "weight":
            grad_y = (grad_valid / torch.where(weight_sum != 0, weight_sum, 1.0)).to(grad_y.dtype)
    grad_bias = torch.ops.maskconv_ext.grad_bias(grad_of_bias, valid_of_bias) if needs_bias else None
    scale = None
    if ctx.all_whole and ctx.normalization != "mean":  # s = W, and the scale 1
        valid = None
    elif ctx.normalization not in ("none", "weight"):
        scale = torch.where(valid, scale_of(s.to(compute), window_size, ctx.normalization), 0.0)

    grad_s = s.new_zeros(()) if grad_window_sum is None else grad_window_sum
    if needs_mask and scale is not None:  # first, so that a is freed before what else is as large
        a = accumulate(input, mask, weight, ctx.geometry, ctx.mask_channels, channels_last=True)
        exponent = -0.5 if ctx.normalization == "sqrt" else -1.0
        of_scale = scale * exponent / torch.where(s != 0, s, 1.0)  # d scale / d s
        grad_s = grad_s + through_scale(grad_y, a, valid, scale) * of_scale
        del a

    # a = sum of w * xm, with xm = (x if m != 0 else 0) * m. The operators apply a soft m too, but do not derive
    # for it: where a graph is built, m multiplies here.
    builds = torch.is_grad_enabled() and mask is not None and mask.requires_grad
    read = mask != 0 if needs_mask or builds else mask
    m = repeat_parts(mask, ctx.mask_channels).to(compute) if builds else None
    grad_input = grad_mask = grad_weight = None
    if needs_weight:
        xm, mask_of_xm = input, mask
        if m is not None:
            xm, mask_of_xm = (torch.where(m != 0, input, 0.0) * m).to(input.dtype), read
        grad_weight = tuning.call(
            "grad_weight", grad_y, valid, scale, xm, mask_of_xm, weight.shape, *ctx.geometry, ctx.mask_channels,
            allow_tf32,
        )  # fmt: skip
    if needs_input or needs_mask:
        grad_input = tuning.call(
            "grad_input", grad_y, valid, scale, read, weight, input.shape, *ctx.geometry, ctx.mask_channels,
            ctx.channels_last, allow_tf32, ctx.row_order,
        )  # fmt: skip
    if needs_mask:
        grad_m = torch.ops.maskconv_ext.channel_dot(grad_input, input, read, ctx.mask_channels)
        if ctx.mask_update == "fraction" and grad_out_mask is not None:
            grad_s = grad_s + grad_out_mask / window_size
        grad_m = grad_m.sum_to_size(mask.shape) + _spread_window(grad_s.expand_as(s), input, weight, ctx)
        grad_mask = grad_m.to(mask.dtype)
    if m is not None and grad_input is not None:
        grad_input = (grad_input * m).to(input.dtype)
    elif needs_mask and needs_input:
        torch.ops.maskconv_ext.select_(grad_input, mask, ctx.mask_channels)
    grad_weight_sum = None
    if weight_sum is not None and ctx.needs_input_grad[WEIGHT_SUM] and ctx.normalization == "weight":
        # d (a / weight_sum) / d weight_sum = -(a / weight_sum) / weight_sum, and grad_y is divided already
        quotient = accumulate(input, mask, weight, ctx.geometry, ctx.mask_channels, ctx.channels_last, weight_sum)
        grad_weight_sum = -(grad_y * quotient.to(compute)).sum_to_size(weight_sum.shape)
    wanted = (grad_input if needs_input else None, grad_weight, grad_bias)
    of_input, of_weight, of_bias = (grad if grad is None else grad.to(input_dtype) for grad in wanted)
    return of_input, grad_mask, of_weight, of_bias, *[None] * (WEIGHT_SUM - 4), grad_weight_sum, None


def _channels_last(tensor: Tensor) -> Tensor:
    """With (N, *S, C) in memory."""
    return tensor.movedim(1, -1).contiguous().movedim(-1, 1)


def _window_size(weight: Tensor, groups: int, mask_channels: Ints) -> int:
    per_position = weight.shape[1] if len(mask_channels) > 1 else 1
    return weight[0, 0].numel() * per_position


def _spread_window(grad_s: Tensor, input: Tensor, weight: Tensor, ctx: Any) -> Tensor:
    """The gradient of the window sum for the mask: each position collects from the windows it lies in."""
    stride, padding, dilation, _ = ctx.geometry
    channels = grad_s.shape[1]
    ones = grad_s.new_ones((channels, 1, *weight.shape[2:]))
    size = (grad_s.shape[0], channels, *input.shape[2:])
    # One of our own kernels on CUDA: the framework's may round sums to TF32.
    spread = torch.ops.maskconv_ext.grad_input(
        grad_s, None, None, None, ones, size, stride, padding, dilation, channels, [], False, False,
        candidate="kernels" if grad_s.device.type == "cuda" else "",
    )  # fmt: skip
    return spread if len(ctx.mask_channels) <= 1 else _sum_over_parts(spread, input.shape[1], ctx.mask_channels)


def _sum_over_parts(of_groups: Tensor, channels: int, parts: Ints) -> Tensor:
    """(N, groups, *S), which all channels of a group share, summed over the channels of each part."""
    if len(parts) == channels:
        return per_filter(of_groups, channels)
    width = channels // of_groups.shape[1]
    sums = []
    for begin, end in itertools.pairwise(itertools.accumulate(parts, initial=0)):
        counts = {g: min(end, (g + 1) * width) - max(begin, g * width) for g in range(begin // width, -(-end // width))}
        shares = [count * of_groups[:, g : g + 1] for g, count in counts.items()]
        sums.append(torch.cat(shares, 1).sum(1, keepdim=True))
    return torch.cat(sums, 1)
