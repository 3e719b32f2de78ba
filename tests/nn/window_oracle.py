"""Loops over the definitions, in NumPy, that the layers are tested against; they share no code with them."""

from __future__ import annotations

import itertools
import math

import numpy as np


def windows(size, kernel, stride, padding, dilation, out_size):
    """Yields each output position with the in-image input positions of its window, of a pooling or a convolution."""
    for q in np.ndindex(*out_size):
        inside = []
        for t in np.ndindex(*kernel):
            p = tuple(a * s + b * d - pad for a, s, b, d, pad in zip(q, stride, t, dilation, padding))
            if all(0 <= a < n for a, n in zip(p, size)):
                inside.append((p, t))
        yield q, inside


def mask_of_channel(mask, channels, parts=None):
    m = mask.astype(np.float64) if mask.dtype.kind == "f" else (mask != 0).astype(np.float64)
    if parts is not None:
        return np.repeat(m, parts, axis=1)
    return np.broadcast_to(m, (m.shape[0], channels, *m.shape[2:]))


def pool(x, mask, kind, size_of_output, windows_of, divisor=None, parts=None):
    """`windows_of()` yields (q, positions); kind is "max" or "avg"; divisor(q, sum of mask) of an average."""
    n, c = x.shape[:2]
    m = np.broadcast_to(mask_of_channel(mask, c, parts), x.shape)
    y = np.zeros((n, c, *size_of_output))
    out = np.zeros((n, c, *size_of_output))
    for image, channel in np.ndindex(n, c):
        for q, positions in windows_of():
            valid = [p for p in positions if m[(image, channel, *p)] != 0]
            if not valid:
                continue
            weights = [m[(image, channel, *p)] for p in valid]
            values = [x[(image, channel, *p)] for p in valid]
            out[(image, channel, *q)] = max(weights)
            if kind == "max":
                y[(image, channel, *q)] = max(values)
            else:
                total = sum(w * v for w, v in zip(weights, values))
                y[(image, channel, *q)] = total / (divisor(q, sum(weights)) if divisor else sum(weights))
    return y, out


def conv_transpose(x, mask, w, b, stride, padding, output_padding, groups, dilation, normalization, rule, fill, parts):
    """Scatters each input position through the kernel. Returns output, output mask (N, K, *O) and window size."""
    n, c = x.shape[:2]
    size, kernel = x.shape[2:], w.shape[2:]
    filters = w.shape[1] * groups
    out_size = tuple(
        (a - 1) * s - 2 * p + d * (k - 1) + e + 1
        for a, s, p, d, k, e in zip(size, stride, padding, dilation, kernel, output_padding)
    )
    shared = mask.shape[1] == 1
    m = np.broadcast_to(mask_of_channel(mask, c, parts), x.shape)
    y, valid = np.zeros((n, filters, *out_size)), np.zeros((n, filters, *out_size))
    for image, group in itertools.product(range(n), range(groups)):
        channels = range(group * (c // groups), (group + 1) * (c // groups))
        outputs = range(group * (filters // groups), (group + 1) * (filters // groups))
        a = np.zeros((len(outputs), *out_size))
        s, full = np.zeros(out_size), np.zeros(out_size)
        for p in np.ndindex(*size):
            for t in np.ndindex(*kernel):
                q = tuple(i * st + j * d - pad for i, st, j, d, pad in zip(p, stride, t, dilation, padding))
                if not all(0 <= i < o for i, o in zip(q, out_size)):
                    continue
                for channel in channels[:1] if shared else channels:
                    s[q] += m[(image, channel, *p)]
                    full[q] += 1
                for channel in channels:
                    if m[(image, channel, *p)] != 0:
                        value = x[(image, channel, *p)] * m[(image, channel, *p)]
                        a[(slice(None), *q)] += w[(channel, slice(None), *t)] * value
        for q in np.ndindex(*out_size):
            enough = s[q] > 0 if rule == "any" else s[q] == full[q] if rule == "all" else s[q] >= rule * full[q]
            ok = enough or full[q] == 0
            scale = 1.0
            if s[q] != 0:
                scale = {
                    "ratio": full[q] / s[q], "mean": 1 / s[q], "sqrt": math.sqrt(full[q] / s[q]), "none": 1.0
                }[normalization]  # fmt: skip
            for i, k in enumerate(outputs):
                bias = 0.0 if b is None else b[k]
                y[(image, k, *q)] = scale * a[(i, *q)] + bias if ok else (bias if fill == "bias" else fill)
                valid[(image, k, *q)] = ok
    return y, valid
