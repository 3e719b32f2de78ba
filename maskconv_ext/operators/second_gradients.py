"""The gradients of the operators that compute gradients, so that derivatives of any order work."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import tuning
from ..precision import conv_allows_tf32
from ..reference import per_filter, repeat_parts
from .sums import accumulate, through_scale


def channel_dot_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    a, b, mask, ctx.mask_channels = inputs
    ctx.save_for_backward(a, b, mask)


def channel_dot_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    a, b, mask = ctx.saved_tensors
    mask = mask != 0
    # Selected first: what lies under 0 is in no product, of whatever order.
    factor = repeat_parts(torch.where(mask, grad, 0.0), ctx.mask_channels)
    selected = repeat_parts(mask, ctx.mask_channels)
    wanted = zip(ctx.needs_input_grad, (b, a))
    grads = [(torch.where(selected, other, 0.0) * factor).to(other.dtype) if needs else None for needs, other in wanted]
    return *grads, None, None


def grad_bias_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, valid = inputs
    ctx.size = grad.shape
    ctx.save_for_backward(valid)


def grad_bias_backward(ctx: Any, grad_grad_bias: Tensor) -> tuple[Tensor | None, None]:
    (valid,) = ctx.saved_tensors
    spread = grad_grad_bias.view(-1, *[1] * (len(ctx.size) - 2))
    if valid is not None:
        spread = torch.where(per_filter(valid, ctx.size[1]), spread, 0.0)
    return spread.expand(ctx.size), None


def _through_gradient(
    ctx: Any, a: Tensor, grad: Tensor, valid: Tensor | None, scale: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The gradients of grad and scale, where a multiplies scale * grad of the valid outputs."""
    filters = a.shape[1]
    grad_scale = None
    if scale is not None and valid is not None and ctx.needs_input_grad[2]:
        grad_scale = through_scale(grad, a, valid, scale)
    if scale is not None:
        a = (a * per_filter(scale, filters)).to(a.dtype)
    return a if valid is None else torch.where(per_filter(valid, filters), a, 0.0), grad_scale


def grad_input_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, valid, scale, mask, weight, _, *geometry, ctx.mask_channels, ctx.channels_last, _, _, _ = inputs
    assert mask is None or not mask.requires_grad, "grad_input takes the mask as given"
    ctx.geometry = tuple(geometry)
    ctx.save_for_backward(grad, valid, scale, mask, weight)


def grad_input_backward(ctx: Any, grad_grad_input: Tensor) -> tuple[Tensor | None, ...]:
    grad, valid, scale, mask, weight = ctx.saved_tensors
    grad_grad = grad_scale = grad_weight = None
    if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
        a = accumulate(grad_grad_input, mask, weight, ctx.geometry, ctx.mask_channels, ctx.channels_last)
        grad_grad, grad_scale = _through_gradient(ctx, a, grad, valid, scale)
    if ctx.needs_input_grad[4]:
        grad_weight = tuning.call(
            "grad_weight", grad, valid, scale, grad_grad_input, mask, weight.shape, *ctx.geometry, ctx.mask_channels,
            conv_allows_tf32(),
        )  # fmt: skip
    return grad_grad, None, grad_scale, None, grad_weight, *[None] * 10


def grad_weight_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, valid, scale, input, mask, _, *geometry, ctx.mask_channels, _, _ = inputs
    assert mask is None or not mask.requires_grad, "grad_weight takes the mask as given"
    ctx.geometry = tuple(geometry)
    ctx.save_for_backward(grad, valid, scale, input, mask)


def grad_weight_backward(ctx: Any, grad_grad_weight: Tensor) -> tuple[Tensor | None, ...]:
    grad, valid, scale, input, mask = ctx.saved_tensors
    grad_grad = grad_scale = grad_input = None
    if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
        a = accumulate(input, mask, grad_grad_weight, ctx.geometry, ctx.mask_channels, False)
        grad_grad, grad_scale = _through_gradient(ctx, a, grad, valid, scale)
    if ctx.needs_input_grad[3]:
        grad_input = tuning.call(
            "grad_input", grad, valid, scale, mask, grad_grad_weight, input.shape, *ctx.geometry, ctx.mask_channels,
            False, conv_allows_tf32(),
        )  # fmt: skip
    return grad_grad, None, grad_scale, grad_input, *[None] * 9
