"""What torch needs to know of the compiled operators besides their kernels: shapes for tracing, and gradients.

`csrc/ops/library.cpp` defines them. Every backward pass is made of operations that have gradients themselves, so
derivatives of any order work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .arguments import is_soft
from .precision import conv_allows_tf32
from .reference import per_filter, repeat_parts, scale_of

Ints = Sequence[int]
WEIGHT_SUM = 18  # its place among the inputs of forward; trailing defaults are left out


def _output_size(input_size: Ints, weight_size: Ints, stride: Ints, padding: Ints, dilation: Ints) -> list[int]:
    spatial = [
        (size + padding[2 * i] + padding[2 * i + 1] - dilation[i] * (kernel - 1) - 1) // stride[i] + 1
        for i, (size, kernel) in enumerate(zip(input_size[2:], weight_size[2:], strict=True))
    ]
    return [input_size[0], weight_size[0], *spatial]


def _empty(like: Tensor, size: Ints, dtype: torch.dtype, channels_last: bool) -> Tensor:
    if channels_last:
        return like.new_empty((size[0], *size[2:], size[1]), dtype=dtype).movedim(-1, 1)
    return like.new_empty(tuple(size), dtype=dtype)


def _forward_fake(
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
    sum_dtype, mask_dtype = torch.int32, torch.bool if mask is None else mask.dtype
    if mask is not None and is_soft(mask):
        sum_dtype = torch.float64 if input.dtype == torch.float64 else torch.float32
    elif mask_update == "fraction":
        mask_dtype = torch.float32
    return (
        _empty(input, size, input.dtype, channels_last),
        _empty(input, window, mask_dtype, window_channels > 1),
        _empty(input, window, sum_dtype, window_channels > 1),
    )


def _scale_grad_fake(
    grad: Tensor,
    valid: Tensor,
    window_sum: Tensor,
    window_size: int,
    normalization: str,
    needs_bias: bool,
    bias_from_all: bool,
) -> tuple[Tensor, Tensor]:
    return _empty(grad, grad.shape, grad.dtype, True), grad.new_empty((grad.shape[1] if needs_bias else 0,))


def _grad_input_fake(
    grad: Tensor,
    valid: Tensor | None,
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
) -> Tensor:
    return _empty(grad, input_size, grad.dtype, channels_last)


def _grad_weight_fake(
    grad: Tensor,
    valid: Tensor | None,
    input: Tensor,
    mask: Tensor | None,
    weight_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    mask_channels: Ints,
    allow_tf32: bool,
) -> Tensor:
    return grad.new_empty(tuple(weight_size))


def _forward_row_order_fake(
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


def _grad_input_row_order_fake(
    valid: Tensor,
    mask: Tensor,
    batch: int,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
) -> Tensor:
    return mask.new_empty((batch * math.prod(mask.shape[2:]),), dtype=torch.int32)


def _forward_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    (input, mask, weight, _, *geometry, ctx.mask_channels, ctx.normalization, ctx.mask_update, _, ctx.fill, _,
     ctx.channels_last, _, _, grad_input_row_order, weight_sum, _) = inputs  # fmt: skip
    ctx.geometry = tuple(geometry)  # stride, padding, dilation, groups
    _, out_mask, window_sum = output
    ctx.save_for_backward(input, mask, weight, out_mask, window_sum, weight_sum)
    # Not among what activation checkpointing recomputes, and counts: there may be no plan by then.
    ctx.row_order = grad_input_row_order
    if not (is_soft(mask) and mask.requires_grad):
        ctx.mark_non_differentiable(out_mask, window_sum)
    elif ctx.mask_update != "fraction":
        ctx.mark_non_differentiable(out_mask)


def _forward_backward(
    ctx: Any, grad_y: Tensor, grad_out_mask: Tensor | None, grad_window_sum: Tensor | None
) -> tuple[Tensor | None, ...]:
    input, mask, weight, out_mask, s, weight_sum = ctx.saved_tensors
    needs_input, needs_mask, needs_weight, needs_bias = ctx.needs_input_grad[:4]
    dtype = input.dtype
    compute = torch.float64 if dtype == torch.float64 else torch.float32
    if input.device.type == "cpu":
        # Scaled gradients would be rounded to 16 bits, or overflow them, on their way to kernels that widen them.
        input, weight, grad_y = input.to(compute), weight.to(compute), grad_y.to(compute)
    filters = weight.shape[0]
    allow_tf32 = conv_allows_tf32()
    valid = s > 0 if ctx.mask_update == "fraction" else out_mask != 0

    # y = scale(s) * a + b where valid, else fill
    window_size = _window_size(weight, ctx.geometry[3], ctx.mask_channels)
    scale_has_grad = torch.is_grad_enabled() and s.requires_grad
    if weight_sum is not None or scale_has_grad:  # which scale_grad does not know, or takes as given
        valid_output = per_filter(valid, filters)
        scale = per_filter(scale_of(s, window_size, ctx.normalization), filters)
        if weight_sum is not None:
            valid_output = valid_output & (weight_sum != 0)
            if ctx.normalization == "weight":
                scale = 1.0 / torch.where(weight_sum != 0, weight_sum, 1.0)
        grad_valid = torch.where(valid_output, grad_y, 0.0)
        grad_a = (grad_valid * scale).to(grad_y.dtype)
        grad_bias = (grad_y if ctx.fill is None else grad_valid).transpose(0, 1).flatten(1).sum(1)
    else:
        grad_a, grad_bias = torch.ops.maskconv_ext.scale_grad(
            grad_y, valid, s, window_size, ctx.normalization, needs_bias, ctx.fill is None
        )

    # a = sum of w * xm, with xm = (x if m != 0 else 0) * m; a soft m multiplies here, outside the operators
    hard, xm = mask, input
    if is_soft(mask):
        m = repeat_parts(mask, ctx.mask_channels).to(compute)
        hard, selected = mask != 0, torch.where(m != 0, input, 0.0)
        xm = (selected * m).to(input.dtype)
    grad_input = grad_mask = grad_weight = None
    if needs_weight:
        grad_weight = torch.ops.maskconv_ext.grad_weight(
            grad_a, valid, xm, hard, weight.shape, *ctx.geometry, ctx.mask_channels, allow_tf32
        )
    if needs_input or needs_mask:
        grad_input = grad_xm = torch.ops.maskconv_ext.grad_input(
            grad_a,
            valid,
            hard,
            weight,
            input.shape,
            *ctx.geometry,
            ctx.mask_channels,
            ctx.channels_last,
            allow_tf32,
            ctx.row_order,
        )
    if is_soft(mask) and (needs_input or needs_mask):
        grad_input = grad_xm * m
    if needs_mask:
        grad_m = _sum_to_parts(grad_xm.to(compute) * selected, ctx.mask_channels)
        if grad_m.shape[0] != mask.shape[0]:
            grad_m = grad_m.sum(0, keepdim=True)
        grad_s = s.new_zeros(()) if grad_window_sum is None else grad_window_sum
        if ctx.normalization not in ("none", "weight"):
            a = _accumulate(input, mask, weight, ctx.geometry, ctx.mask_channels, valid, ctx.channels_last)
            through_scale = (grad_a.to(compute) * a).unflatten(1, (s.shape[1], -1)).sum(2)
            if s.shape[0] == 1:
                through_scale = through_scale.sum(0, keepdim=True)
            # d scale / d s = scale * exponent / s, and grad_a has the scale already
            exponent = -0.5 if ctx.normalization == "sqrt" else -1.0
            grad_s = grad_s + through_scale * exponent / torch.where(s != 0, s, 1.0)
        if ctx.mask_update == "fraction" and grad_out_mask is not None:
            grad_s = grad_s + grad_out_mask / window_size
        grad_mask = (grad_m + _spread_window(grad_s.expand_as(s), input, weight, ctx)).to(mask.dtype)
    wanted = (grad_input if needs_input else None, grad_weight, grad_bias if needs_bias else None)
    of_input, of_weight, of_bias = (grad if grad is None else grad.to(dtype) for grad in wanted)
    grad_weight_sum = None
    if weight_sum is not None and ctx.needs_input_grad[WEIGHT_SUM] and ctx.normalization == "weight":
        # d (a / weight_sum) / d weight_sum = -(a / weight_sum) / weight_sum, and grad_a is divided already
        quotient = _accumulate(
            input, mask, weight, ctx.geometry, ctx.mask_channels, None, ctx.channels_last, weight_sum
        )
        grad_weight_sum = -(grad_a * quotient.to(compute))
        if weight_sum.shape[0] == 1:
            grad_weight_sum = grad_weight_sum.sum(0, keepdim=True)
    return of_input, grad_mask, of_weight, of_bias, *[None] * (WEIGHT_SUM - 4), grad_weight_sum, None


def _scale_grad_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, valid, window_sum, ctx.window_size, ctx.normalization, ctx.needs_bias, ctx.bias_from_all = inputs
    assert not window_sum.requires_grad, "scale_grad takes the window sum as given"
    ctx.save_for_backward(valid, window_sum)


def _scale_grad_backward(ctx: Any, grad_a: Tensor, grad_bias: Tensor) -> tuple[Tensor | None, ...]:
    valid, window_sum = ctx.saved_tensors
    grad, _ = torch.ops.maskconv_ext.scale_grad(
        grad_a, valid, window_sum, ctx.window_size, ctx.normalization, False, False
    )
    if ctx.needs_bias:
        spread = grad_bias.view(-1, *[1] * (grad.dim() - 2))
        if not ctx.bias_from_all:
            spread = torch.where(per_filter(valid, grad.shape[1]), spread, 0.0)
        grad = grad + spread
    return grad, *[None] * 6


def _window_size(weight: Tensor, groups: int, mask_channels: Ints) -> int:
    per_position = weight.shape[1] if len(mask_channels) > 1 else 1
    return weight[0, 0].numel() * per_position


def _sum_to_parts(tensor: Tensor, mask_channels: Ints) -> Tensor:
    """Sum (N, C, *S) over the channels of each mask channel."""
    if len(mask_channels) <= 1:
        return tensor.sum(1, keepdim=True)
    return torch.cat([part.sum(1, keepdim=True) for part in tensor.split(list(mask_channels), 1)], 1)


def _spread_window(grad_s: Tensor, input: Tensor, weight: Tensor, ctx: Any) -> Tensor:
    """The gradient of the window sum for the mask: each position collects from the windows it lies in."""
    stride, padding, dilation, _ = ctx.geometry
    channels = grad_s.shape[1]
    ones = grad_s.new_ones((channels, 1, *weight.shape[2:]))
    size = (grad_s.shape[0], channels, *input.shape[2:])
    spread = torch.ops.maskconv_ext.grad_input(
        grad_s, None, None, ones, size, stride, padding, dilation, channels, [], False, False
    )
    if len(ctx.mask_channels) <= 1:
        return spread
    return _sum_to_parts(per_filter(spread, input.shape[1]).expand(-1, *input.shape[1:]), ctx.mask_channels)


def _accumulate(
    input: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    geometry: tuple[Any, ...],
    mask_channels: Ints,
    valid: Tensor | None,
    channels_last: bool,
    weight_sum: Tensor | None = None,
) -> Tensor:
    """a, or a / weight_sum, where valid, else 0."""
    normalization = "none" if weight_sum is None else "weight"
    a = torch.ops.maskconv_ext.forward(
        input, mask, weight, None, *geometry, mask_channels, normalization, "any", 0.0, 0.0, False, channels_last,
        conv_allows_tf32(), None, None, weight_sum,
    )[0]  # fmt: skip
    return a if valid is None else torch.where(per_filter(valid, a.shape[1]), a, 0.0)


def _grad_input_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, valid, mask, weight, _, *geometry, ctx.mask_channels, ctx.channels_last, _, _ = inputs
    ctx.geometry = tuple(geometry)
    ctx.save_for_backward(grad, valid, mask, weight)


def _grad_input_backward(ctx: Any, grad_grad_input: Tensor) -> tuple[Tensor | None, ...]:
    grad, valid, mask, weight = ctx.saved_tensors
    grad_grad = grad_weight = None
    if ctx.needs_input_grad[0]:
        grad_grad = _accumulate(
            grad_grad_input, mask, weight, ctx.geometry, ctx.mask_channels, valid, ctx.channels_last
        )
    if ctx.needs_input_grad[3]:
        grad_weight = torch.ops.maskconv_ext.grad_weight(
            grad, valid, grad_grad_input, mask, weight.shape, *ctx.geometry, ctx.mask_channels, conv_allows_tf32()
        )
    return grad_grad, None, None, grad_weight, *[None] * 9


def _grad_weight_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, valid, input, mask, _, *geometry, ctx.mask_channels, _ = inputs
    ctx.geometry = tuple(geometry)
    ctx.save_for_backward(grad, valid, input, mask)


def _grad_weight_backward(ctx: Any, grad_grad_weight: Tensor) -> tuple[Tensor | None, ...]:
    grad, valid, input, mask = ctx.saved_tensors
    grad_grad = grad_input = None
    if ctx.needs_input_grad[0]:
        grad_grad = _accumulate(input, mask, grad_grad_weight, ctx.geometry, ctx.mask_channels, valid, False)
    if ctx.needs_input_grad[2]:
        grad_input = torch.ops.maskconv_ext.grad_input(
            grad, valid, mask, grad_grad_weight, input.shape, *ctx.geometry, ctx.mask_channels, False,
            conv_allows_tf32(),
        )  # fmt: skip
    return grad_grad, None, grad_input, *[None] * 8


def register() -> None:
    """Tell torch, once the library is loaded."""
    library = torch.library
    for name, fake, setup, backward in (
        ("forward", _forward_fake, _forward_setup, _forward_backward),
        ("scale_grad", _scale_grad_fake, _scale_grad_setup, _scale_grad_backward),
        ("grad_input", _grad_input_fake, _grad_input_setup, _grad_input_backward),
        ("grad_weight", _grad_weight_fake, _grad_weight_setup, _grad_weight_backward),
    ):
        library.register_fake(f"maskconv_ext::{name}", fake)
        library.register_autograd(f"maskconv_ext::{name}", backward, setup_context=setup)
    library.register_fake("maskconv_ext::forward_row_order", _forward_row_order_fake)
    library.register_fake("maskconv_ext::grad_input_row_order", _grad_input_row_order_fake)
