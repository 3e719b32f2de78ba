"""Sums of weight * mask, one a filter and window: the normaliser of `"weight"`, and what `"confidence"` measures.

Made of the compiled operators and of the framework's, so they have gradients of any order. A channel of the mask that
covers many of the input is convolved once, with the sum of their weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .arguments import Options, is_soft
from .reference import repeat_parts


def weight_sums(input: Tensor, mask: Tensor | None, weight: Tensor, options: Options, channels_last: bool) -> Tensor:
    """(N or 1, K, *O) in float32, in float64 for float64: never of weights that were rounded on the way."""
    compute = torch.float64 if input.dtype == torch.float64 else torch.float32
    w = weight.to(compute)
    if mask is None:
        m = w.new_ones((1, 1, *input.shape[2:]))
    else:
        m = mask.to(compute) if is_soft(mask) else (mask != 0).to(compute)
    geometry, groups = options.geometry, 1
    if options.shared_mask:
        w = w.sum(1, keepdim=True)
    elif options.groups == 1:
        w = torch.stack([part.sum(1) for part in w.split(list(options.mask_channels), 1)], 1)
    else:
        m, groups = repeat_parts(m, options.mask_channels), options.groups
    padding = geometry.flat_padding()
    if options.pad_is_valid and any(padding):
        sides = [side for pair in reversed(geometry.padding) for side in pair]  # F.pad counts axes from the last
        m, padding = F.pad(m, sides, value=1.0), [0] * len(padding)
    # One of our own kernels on CUDA: the framework's may round weights to TF32.
    candidate = "kernels" if input.device.type == "cuda" else ""
    return torch.ops.maskconv_ext.forward(
        m, None, w, None, geometry.stride, padding, geometry.dilation, groups, [], "none", "any", 0.0, 0.0, False,
        channels_last, False, candidate=candidate,
    )[0]  # fmt: skip


def confidence(sums: Tensor, weight: Tensor, mask: Tensor | None) -> Tensor:
    """The output mask of `"confidence"`, (N or 1, K, *O): sums / (sum of weight), 0 where that is 0."""
    total = weight.to(sums.dtype).flatten(1).sum(1).view(-1, *[1] * (weight.dim() - 2))
    share = torch.where(total != 0, sums / torch.where(total != 0, total, 1.0), 0.0)
    return share.to(mask.dtype) if mask is not None and is_soft(mask) else share.float()
