"""The truth: masked convolution in plain PyTorch, to be read beside the specification.

For an output position q and a tap t, with p = q * stride + t * dilation - padding:

    window sum   s[q]   = sum over t of m[p]                       W = number of taps
    accumulate   a[k,q] = sum over t, c of w[k,c,t] * (x[c,p] if m[p] != 0 else 0) * m[p]
    output       y[k,q] = scale(q) * a[k,q] + b[k]                 where valid(q), else fill

Any device, any dtype, differentiable to any order, and independent of the compiled engines.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._prims_common import suggest_memory_format

from .arguments import Options, is_soft

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def masked_conv(
    input: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Output (N, K, *O), output mask and window sum (N or 1, 1 or groups, *O) of zero-padded `input`.

    Sums are in float32, in float64 for float64. The output mask of `"confidence"` has K channels.
    """
    compute = torch.float64 if input.dtype == torch.float64 else torch.float32
    x, w = input.to(compute), weight.to(compute)
    filters = weight.shape[0]
    hard = not is_soft(mask)
    if mask is None:
        m = x.new_ones((1, 1, *x.shape[2:]))
    else:
        m = (mask != 0).to(compute) if hard else mask.to(compute)
    x, m = _pad(x, options, 0.0), _pad(m, options, float(options.pad_is_valid))

    # Selection comes before multiplication: what lies under m == 0 is never read into arithmetic.
    m_of_channel = repeat_parts(m, options.mask_channels)
    selected = torch.where(m_of_channel != 0, x, 0.0) * m_of_channel
    a = _convolve(selected, w, options)

    s = _window_sum(m_of_channel, options)
    valid, out_mask = _update_mask(m_of_channel, s, options)
    scale = scale_of(s, options.window_size, options.normalization)
    if options.needs_weight_sum:
        per_channel = m_of_channel.expand(-1, input.shape[1], *m.shape[2:])
        weight_sum = _convolve(per_channel, w, options)
        if options.normalization == "weight":
            valid = per_filter(valid, filters) & (weight_sum != 0)
            scale = 1.0 / torch.where(weight_sum != 0, weight_sum, 1.0)
        if options.mask_update == "confidence":
            valid = per_filter(valid, filters) & (weight_sum != 0)
            total = w.flatten(1).sum(1).view(-1, *[1] * (w.dim() - 2))
            # A kernel that sums to 0 measures no confidence.
            out_mask = torch.where(total != 0, weight_sum / torch.where(total != 0, total, 1.0), 0.0)

    b = (w.new_zeros(w.shape[0]) if bias is None else bias.to(compute)).view(-1, *[1] * (w.dim() - 2))
    fill = b if options.fill is None else torch.full_like(b, options.fill)
    y = torch.where(per_filter(valid, filters), a * per_filter(scale, filters) + b, fill)

    if not hard:
        out_mask = out_mask.to(mask.dtype)  # type: ignore[union-attr]
    elif options.mask_update in ("fraction", "confidence"):
        out_mask = out_mask.float()
    else:
        out_mask = out_mask.to(torch.bool if mask is None else mask.dtype)
    # The memory format is the plain convolution's, whatever that of weight_sum did to y.
    y = y.to(input.dtype, memory_format=suggest_memory_format(a))
    return y, out_mask, s.round().to(torch.int32) if hard else s


def valid_share(mask: Tensor | None, options: Options) -> float:
    """Share of the output positions that are valid; options without a sum of weights."""
    if mask is None:
        return 1.0
    m = _pad(mask.double() if is_soft(mask) else (mask != 0).double(), options, float(options.pad_is_valid))
    m = repeat_parts(m, options.mask_channels)
    valid, _ = _update_mask(m, _window_sum(m, options), options)
    return valid.double().mean().item()


def scale_of(s: Tensor, window_size: int, normalization: str) -> Tensor:
    """scale(q); 1 where s == 0, which no valid output has."""
    counted = torch.where(s != 0, s, 1.0)
    if normalization == "ratio":
        return window_size / counted
    if normalization == "mean":
        return 1.0 / counted
    if normalization == "sqrt":
        return (window_size / counted).sqrt()
    return torch.ones_like(s)


def _update_mask(m: Tensor, s: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """valid(q) and the output mask; `m` is padded, one channel or one an input channel."""
    if options.mask_update == "all":
        valid = s == options.window_size
    elif options.mask_update == "threshold":
        valid = s.double() >= options.threshold * options.window_size
    elif options.mask_update == "center":
        centre = _tap(m != 0, options.geometry.center, options)
        valid = centre.unflatten(1, (s.shape[1], -1)).any(2)
    else:
        valid = s > 0
    return valid, s / options.window_size if options.mask_update == "fraction" else valid


def _window_sum(m: Tensor, options: Options) -> Tensor:
    """s[q]: over channels of a group first, then along one axis after the other."""
    total = m.unflatten(1, (options.window_channels, -1)).sum(2)
    geometry = options.geometry
    for axis, (kernel, stride, dilation) in enumerate(
        zip(geometry.kernel, geometry.stride, geometry.dilation, strict=True)
    ):
        windows = total.unfold(axis + 2, dilation * (kernel - 1) + 1, stride)
        total = windows[..., ::dilation].sum(-1)
    return total


def _tap(padded: Tensor, tap: tuple[int, ...], options: Options) -> Tensor:
    """The pixel under one tap, for every output position."""
    geometry = options.geometry
    for axis, (kernel, stride, dilation) in enumerate(
        zip(geometry.kernel, geometry.stride, geometry.dilation, strict=True)
    ):
        windows = padded.unfold(axis + 2, dilation * (kernel - 1) + 1, stride)
        padded = windows[..., tap[axis] * dilation]
    return padded


def _convolve(x: Tensor, w: Tensor, options: Options) -> Tensor:
    convolution = CONVOLUTIONS[x.dim() - 2]
    geometry = options.geometry
    return convolution(x, w, None, geometry.stride, 0, geometry.dilation, options.groups)


def _pad(tensor: Tensor, options: Options, value: float) -> Tensor:
    # F.pad counts axes from the last.
    sides = [side for pair in reversed(options.geometry.padding) for side in pair]
    return F.pad(tensor, sides, value=value)


def repeat_parts(m: Tensor, parts: Sequence[int]) -> Tensor:
    """One mask channel an input channel; a shared mask stays as it is, to be broadcast."""
    if len(parts) <= 1:
        return m
    return torch.cat([m[:, i : i + 1].expand(-1, count, *m.shape[2:]) for i, count in enumerate(parts)], 1)


def per_filter(tensor: Tensor, filters: int) -> Tensor:
    """Broadcast one channel, or one a group, to `filters` channels."""
    channels = tensor.shape[1]
    if channels in (1, filters):
        return tensor
    return tensor.repeat_interleave(filters // channels, dim=1)
