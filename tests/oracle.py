"""The specification as plain loops in float64, sharing nothing with the package.

Slow and meant to be obviously right: for every image, output position and tap, find the pixel, ask the mask, add up.
"""

from __future__ import annotations

import dataclasses
import math
from itertools import product

import numpy as np


@dataclasses.dataclass
class Result:
    output: np.ndarray  # (N, K, *O)
    out_mask: np.ndarray  # (N or 1, 1 or groups or K, *O)
    window_sum: np.ndarray  # (N or 1, 1 or groups, *O)
    magnitude: np.ndarray  # like output: |scale| * sum of |w x m| + |b|, what rounding errors are relative to
    terms: int  # products in one sum


def side_pairs(padding, size, kernel, stride, dilation) -> list[tuple[int, int]]:
    """Every padding form as (before, after) an axis."""
    rank = len(size)
    if padding == "valid":
        return [(0, 0)] * rank
    if padding == "same":
        pairs = []
        for n, r, s, d in zip(size, kernel, stride, dilation):
            outputs = math.ceil(n / s)
            total = max(0, (outputs - 1) * s + d * (r - 1) + 1 - n)
            pairs.append((total // 2, total - total // 2))
        return pairs
    if isinstance(padding, int):
        padding = [padding] * rank
    if len(padding) == 1:
        padding = list(padding) * rank
    return [(side, side) if isinstance(side, int) else tuple(side) for side in padding]


def per_axis(value, rank) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * rank if len(values) == 1 else values


def source(p: int, size: int, mode: str) -> int | None:
    """The pixel that position p of one axis stands for; None where it is outside the image."""
    if mode == "zeros":
        return p if 0 <= p < size else None
    if mode == "replicate":
        return min(max(p, 0), size - 1)
    if mode == "circular":
        return p % size
    while not 0 <= p < size:  # reflect, the border pixel not repeated
        p = -p if p < 0 else 2 * (size - 1) - p
    return p


def scale_of(normalization: str, s: float, window_size: int, weight_sum: float) -> float:
    if normalization == "ratio":
        return window_size / s
    if normalization == "mean":
        return 1.0 / s
    if normalization == "sqrt":
        return math.sqrt(window_size / s)
    if normalization == "weight":
        return 1.0 / weight_sum
    assert normalization == "none"
    return 1.0


def masked_conv(
    x, mask, w, b, stride=1, padding=0, dilation=1, groups=1, *, normalization="ratio", mask_update="any", fill=0.0,
    pad_is_valid=False, padding_mode="zeros", mask_channels=None,
) -> Result:  # fmt: skip
    """`x`, `w` and `b` in float64; `mask` None, or an array whose bool or integer values count as != 0."""
    batch, channels, *size = x.shape
    filters, group_channels, *kernel = w.shape
    rank = len(size)
    stride, dilation = per_axis(stride, rank), per_axis(dilation, rank)
    pads = side_pairs(padding, size, kernel, stride, dilation)
    modes = [padding_mode] * rank if isinstance(padding_mode, str) else padding_mode
    outputs = [
        (n + before + after - d * (r - 1) - 1) // s + 1
        for n, (before, after), r, s, d in zip(size, pads, kernel, stride, dilation)
    ]

    if mask is None:
        m, per_channel = np.ones((1, channels, *size)), False
    else:
        per_channel = mask.shape[1] > 1
        values = mask.astype(np.float64) if mask.dtype.kind == "f" else (mask != 0).astype(np.float64)
        parts = (channels,) if not per_channel else mask_channels or (1,) * channels
        covers = [part for part, count in enumerate(parts) for _ in range(count)]
        m = values[:, covers]  # one mask channel an input channel
    window_batch = m.shape[0]
    window_channels = groups if per_channel else 1
    window_size = math.prod(kernel) * (group_channels if per_channel else 1)
    center = tuple((r - 1) // 2 for r in kernel)

    result = Result(
        np.zeros((batch, filters, *outputs)),
        np.zeros((window_batch, filters if mask_update == "confidence" else window_channels, *outputs)),
        np.zeros((window_batch, window_channels, *outputs)),
        np.zeros((batch, filters, *outputs)),
        math.prod(kernel) * group_channels,
    )
    for n, q in product(range(batch), np.ndindex(*outputs)):
        m_of_image = m[n if window_batch > 1 else 0]
        s = np.zeros(groups)
        centre_valid = np.zeros(groups, dtype=bool)
        a, magnitude, weight_sum = np.zeros(filters), np.zeros(filters), np.zeros(filters)
        for t in np.ndindex(*kernel):
            p = [source(q[i] * stride[i] + t[i] * dilation[i] - pads[i][0], size[i], modes[i]) for i in range(rank)]
            if None in p:
                valid, pixel = np.full(channels, float(pad_is_valid)), np.zeros(channels)
            else:
                at = (slice(None), *p)
                valid = m_of_image[at]
                pixel = np.where(valid != 0, x[n][at], 0.0)
            for g in range(groups):
                of_group = slice(g * group_channels, (g + 1) * group_channels)
                s[g] += valid[of_group].sum() if per_channel else valid[0]
                if t == center:
                    centre_valid[g] = (valid[of_group] != 0).any()
            for k in range(filters):
                g = k // (filters // groups)
                of_group = slice(g * group_channels, (g + 1) * group_channels)
                w_of_tap = w[(k, slice(None), *t)]
                products = w_of_tap * pixel[of_group] * valid[of_group]
                a[k] += products.sum()
                magnitude[k] += np.abs(products).sum()
                weight_sum[k] += (w_of_tap * valid[of_group]).sum()

        for g in range(window_channels):
            result.window_sum[(n if window_batch > 1 else 0, g, *q)] = s[g]
        for k in range(filters):
            g = k // (filters // groups)
            valid = {
                "any": s[g] > 0,
                "all": s[g] == window_size,
                "center": centre_valid[g],
                "fraction": s[g] > 0,
                "confidence": weight_sum[k] != 0,
            }.get(mask_update)
            if valid is None:
                valid = s[g] >= mask_update * window_size
            mask_value = float(valid)
            if mask_update == "fraction":
                mask_value = s[g] / window_size
            if mask_update == "confidence":
                total = w[k].sum()  # 0: a kernel that measures no confidence
                mask_value = weight_sum[k] / total if valid and total != 0 else 0.0
            if normalization == "weight" and weight_sum[k] == 0:
                valid = False  # nothing to divide by; the output mask still follows its own rule

            bias = 0.0 if b is None else b[k]
            if valid:
                scale = scale_of(normalization, s[g], window_size, weight_sum[k])
                result.output[(n, k, *q)] = scale * a[k] + bias
                result.magnitude[(n, k, *q)] = abs(scale) * magnitude[k] + abs(bias)
            else:
                result.output[(n, k, *q)] = bias if fill == "bias" else fill
            channel = k if mask_update == "confidence" else g if per_channel else 0
            result.out_mask[(n if window_batch > 1 else 0, channel, *q)] = mask_value
    return result
