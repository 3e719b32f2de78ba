"""What torch needs to know of the compiled operators besides their kernels: shapes for tracing, and gradients.

`csrc/ops/library.cpp` defines them. Every backward pass is made of operations that have gradients themselves, so
derivatives of any order work.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import tuning
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


def _sum_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


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
        sum_dtype = _sum_dtype(input)
    elif mask_update == "fraction":
        mask_dtype = torch.float32
    return (
        _empty(input, size, input.dtype, channels_last),
        _empty(input, window, mask_dtype, window_channels > 1),
        _empty(input, window, sum_dtype, window_channels > 1),
    )


def _grad_bias_fake(grad: Tensor, valid: Tensor | None) -> Tensor:
    return grad.new_empty((grad.shape[1],))


def _channel_dot_fake(a: Tensor, b: Tensor, mask: Tensor, mask_channels: Ints) -> Tensor:
    return _empty(a, (a.shape[0], mask.shape[1], *a.shape[2:]), _sum_dtype(a), channels_last=True)


def _select_fake(input: Tensor, mask: Tensor, mask_channels: Ints) -> None:
    return None


def _grad_input_fake(
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


def _grad_weight_fake(
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


def _forward_backward(
    ctx: Any, grad_y: Tensor, grad_out_mask: Tensor | None, grad_window_sum: Tensor | None
) -> tuple[Tensor | None, ...]:
    input, mask, weight, out_mask, s, weight_sum = ctx.saved_tensors
    needs_input, needs_mask, needs_weight, needs_bias = ctx.needs_input_grad[:4]
    input_dtype, compute = input.dtype, _sum_dtype(input)
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
        a = _accumulate(input, mask, weight, ctx.geometry, ctx.mask_channels, channels_last=True)
        exponent = -0.5 if ctx.normalization == "sqrt" else -1.0
        of_scale = scale * exponent / torch.where(s != 0, s, 1.0)  # d scale / d s
        grad_s = grad_s + _through_scale(grad_y, a, valid, scale) * of_scale
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
        quotient = _accumulate(input, mask, weight, ctx.geometry, ctx.mask_channels, ctx.channels_last, weight_sum)
        grad_weight_sum = -(grad_y * quotient.to(compute)).sum_to_size(weight_sum.shape)
    wanted = (grad_input if needs_input else None, grad_weight, grad_bias)
    of_input, of_weight, of_bias = (grad if grad is None else grad.to(input_dtype) for grad in wanted)
    return of_input, grad_mask, of_weight, of_bias, *[None] * (WEIGHT_SUM - 4), grad_weight_sum, None


def _channels_last(tensor: Tensor) -> Tensor:
    """With (N, *S, C) in memory."""
    return tensor.movedim(1, -1).contiguous().movedim(-1, 1)


def _through_scale(grad: Tensor, a: Tensor, valid: Tensor, scale: Tensor) -> Tensor:
    """The gradient of scale, by which a is multiplied where valid."""
    windows = valid.shape[1]
    filters_of_each = [a.shape[1] // windows] * windows if windows > 1 else []
    dots: Tensor = torch.ops.maskconv_ext.channel_dot(grad, a, valid, filters_of_each)
    return dots.sum_to_size(scale.shape)


def _channel_dot_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    a, b, mask, ctx.mask_channels = inputs
    ctx.save_for_backward(a, b, mask)


def _channel_dot_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    a, b, mask = ctx.saved_tensors
    mask = mask != 0
    # Selected first: what lies under 0 is in no product, of whatever order.
    factor = repeat_parts(torch.where(mask, grad, 0.0), ctx.mask_channels)
    selected = repeat_parts(mask, ctx.mask_channels)
    wanted = zip(ctx.needs_input_grad, (b, a))
    grads = [(torch.where(selected, other, 0.0) * factor).to(other.dtype) if needs else None for needs, other in wanted]
    return *grads, None, None


def _grad_bias_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, valid = inputs
    ctx.size = grad.shape
    ctx.save_for_backward(valid)


def _grad_bias_backward(ctx: Any, grad_grad_bias: Tensor) -> tuple[Tensor | None, None]:
    (valid,) = ctx.saved_tensors
    spread = grad_grad_bias.view(-1, *[1] * (len(ctx.size) - 2))
    if valid is not None:
        spread = torch.where(per_filter(valid, ctx.size[1]), spread, 0.0)
    return spread.expand(ctx.size), None


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


def _accumulate(
    input: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    geometry: tuple[Any, ...],
    mask_channels: Ints,
    channels_last: bool,
    weight_sum: Tensor | None = None,
) -> Tensor:
    """a, or a / weight_sum where that is not 0, at every output."""
    normalization = "none" if weight_sum is None else "weight"
    a: Tensor = tuning.call(
        "forward", input, mask, weight, None, *geometry, mask_channels, normalization, "any", 0.0, 0.0, False,
        channels_last, conv_allows_tf32(), None, None, weight_sum,
    )[0]  # fmt: skip
    return a


def _through_gradient(
    ctx: Any, a: Tensor, grad: Tensor, valid: Tensor | None, scale: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The gradients of grad and scale, where a multiplies scale * grad of the valid outputs."""
    filters = a.shape[1]
    grad_scale = None
    if scale is not None and valid is not None and ctx.needs_input_grad[2]:
        grad_scale = _through_scale(grad, a, valid, scale)
    if scale is not None:
        a = (a * per_filter(scale, filters)).to(a.dtype)
    return a if valid is None else torch.where(per_filter(valid, filters), a, 0.0), grad_scale


def _grad_input_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, valid, scale, mask, weight, _, *geometry, ctx.mask_channels, ctx.channels_last, _, _, _ = inputs
    assert mask is None or not mask.requires_grad, "grad_input takes the mask as given"
    ctx.geometry = tuple(geometry)
    ctx.save_for_backward(grad, valid, scale, mask, weight)


def _grad_input_backward(ctx: Any, grad_grad_input: Tensor) -> tuple[Tensor | None, ...]:
    grad, valid, scale, mask, weight = ctx.saved_tensors
    grad_grad = grad_scale = grad_weight = None
    if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
        a = _accumulate(grad_grad_input, mask, weight, ctx.geometry, ctx.mask_channels, ctx.channels_last)
        grad_grad, grad_scale = _through_gradient(ctx, a, grad, valid, scale)
    if ctx.needs_input_grad[4]:
        grad_weight = tuning.call(
            "grad_weight", grad, valid, scale, grad_grad_input, mask, weight.shape, *ctx.geometry, ctx.mask_channels,
            conv_allows_tf32(),
        )  # fmt: skip
    return grad_grad, None, grad_scale, None, grad_weight, *[None] * 10


def _grad_weight_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, valid, scale, input, mask, _, *geometry, ctx.mask_channels, _, _ = inputs
    assert mask is None or not mask.requires_grad, "grad_weight takes the mask as given"
    ctx.geometry = tuple(geometry)
    ctx.save_for_backward(grad, valid, scale, input, mask)


def _grad_weight_backward(ctx: Any, grad_grad_weight: Tensor) -> tuple[Tensor | None, ...]:
    grad, valid, scale, input, mask = ctx.saved_tensors
    grad_grad = grad_scale = grad_input = None
    if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
        a = _accumulate(input, mask, grad_grad_weight, ctx.geometry, ctx.mask_channels, False)
        grad_grad, grad_scale = _through_gradient(ctx, a, grad, valid, scale)
    if ctx.needs_input_grad[3]:
        grad_input = tuning.call(
            "grad_input", grad, valid, scale, mask, grad_grad_weight, input.shape, *ctx.geometry, ctx.mask_channels,
            False, conv_allows_tf32(),
        )  # fmt: skip
    return grad_grad, None, grad_scale, grad_input, *[None] * 9


def register() -> None:
    """Tell torch, once the library is loaded."""
    library = torch.library
    for name, fake, setup, backward in (
        ("forward", _forward_fake, _forward_setup, _forward_backward),
        ("grad_bias", _grad_bias_fake, _grad_bias_setup, _grad_bias_backward),
        ("channel_dot", _channel_dot_fake, _channel_dot_setup, _channel_dot_backward),
        ("grad_input", _grad_input_fake, _grad_input_setup, _grad_input_backward),
        ("grad_weight", _grad_weight_fake, _grad_weight_setup, _grad_weight_backward),
    ):
        library.register_fake(f"maskconv_ext::{name}", fake)
        library.register_autograd(f"maskconv_ext::{name}", backward, setup_context=setup)
    library.register_fake("maskconv_ext::select_", _select_fake)
    library.register_fake("maskconv_ext::forward_row_order", _forward_row_order_fake)
    library.register_fake("maskconv_ext::grad_input_row_order", _grad_input_row_order_fake)
