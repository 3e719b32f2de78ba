"""What the formulas of first and second gradients are made of: the sums before they are scaled, and their scale."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import tuning
from ..precision import conv_allows_tf32
from .shapes import Ints


def accumulate(
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


def through_scale(grad: Tensor, a: Tensor, valid: Tensor, scale: Tensor) -> Tensor:
    """The gradient of scale, by which a is multiplied where valid."""
    windows = valid.shape[1]
    filters_of_each = [a.shape[1] // windows] * windows if windows > 1 else []
    dots: Tensor = torch.ops.maskconv_ext.channel_dot(grad, a, valid, filters_of_each)
    return dots.sum_to_size(scale.shape)
