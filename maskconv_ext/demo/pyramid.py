"""Filling holes coarse to fine, each step one masked convolution.

Down: every level is the mean of what is known in 4x4 windows, weighted by how well it is known. Up: what is not known
is the mean of its known neighbours, where the coarser level counts as one more, very uncertain neighbour. So a hole's
rim follows its nearest pixels, as nearest-neighbour interpolation does, and its middle the large scales, smoothly.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import masked_conv2d

# Four children give a parent its confidence: known ones add up to a known parent.
CHILDREN = 4
# Weight of the coarser level's estimate in the mean of a pixel's neighbours; a direct neighbour weighs 0.1. Small: it
# decides only where the window sees next to nothing.
COARSER_WEIGHT = 1e-3

Window = Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]


def gaussian(size: int, sigma: float) -> Tensor:
    """A normalised (size, size) kernel."""
    t = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    row = torch.exp(-0.5 * (t / sigma) ** 2)
    kernel = torch.outer(row, row)
    return (kernel / kernel.sum()).float()


# Narrow, so that what is near decides: wider ones blur edges, which costs more than their smoothness gains.
REDUCE = gaussian(4, 0.7)
NEIGHBORS = gaussian(5, 0.6)


def masked_window(x: Tensor, confidence: Tensor, kernel: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Sums over each window of kernel * confidence * x, and of kernel * confidence.

    One masked convolution: an appended channel of ones collects the weights of the pixels that were seen. Pixels of
    confidence 0 may be NaN or Inf.
    """
    channels = x.shape[1] + 1
    weight = kernel.to(x.dtype).expand(channels, 1, *kernel.shape).contiguous()
    sums, _ = masked_conv2d(
        torch.cat([x, torch.ones_like(x[:, :1])], 1),
        confidence,
        weight,
        stride=stride,
        padding="same",
        groups=channels,
        normalization="none",
    )
    return sums[:, :-1], sums[:, -1:]


def composed_window(x: Tensor, confidence: Tensor, kernel: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """`masked_window` composed of framework operations; needs finite numbers in the holes."""
    confidence = confidence.to(x.dtype)
    return _convolve(x * confidence, kernel, stride), _convolve(confidence, kernel, stride)


def plain_window(x: Tensor, confidence: Tensor, kernel: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """The same sums where nothing is known of holes: every pixel counts, whatever fills it, and none asks for help."""
    return _convolve(x, kernel, stride), _convolve(torch.ones_like(x[:, :1]), kernel, stride)


def _convolve(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    sides: list[int] = []
    for size, taps in zip(reversed(x.shape[2:]), reversed(kernel.shape)):
        total = max((-(-size // stride) - 1) * stride + taps - size, 0)
        sides += [total // 2, total - total // 2]
    weight = kernel.to(x.dtype).expand(x.shape[1], 1, *kernel.shape).contiguous()
    return F.conv2d(F.pad(x, sides), weight, stride=stride, groups=x.shape[1])


def fill_holes(x: Tensor, mask: Tensor, window: Window = masked_window) -> Tensor:
    """`x` (1, C, H, W) with every pixel under `mask == 0` (1, 1, H, W, bool) estimated from the others.

    `window` says how one level is convolved. Needs one valid pixel at least.
    """
    tiny = torch.finfo(x.dtype).tiny
    levels = [(x, mask)]
    while max(levels[-1][0].shape[2:]) > 1:
        total, seen = window(*levels[-1], REDUCE, 2)
        levels.append((total / seen.clamp(min=tiny), (CHILDREN * seen).clamp(max=1)))

    estimate = levels.pop()[0]
    for x, confidence in reversed(levels):
        coarser = _upsample(estimate, x.shape[2:])
        total, seen = window(x, confidence, NEIGHBORS, 1)
        neighbors = (total + COARSER_WEIGHT * coarser) / (seen + COARSER_WEIGHT)
        # Selected, not multiplied: at the finest level what is not known may be NaN.
        known = torch.where(confidence != 0, x, neighbors)
        estimate = torch.lerp(neighbors, known, confidence.to(x.dtype).expand_as(x))
    return estimate


def _upsample(x: Tensor, size: torch.Size) -> Tensor:
    """Twice as large, then cut: an odd size was padded at its end on the way down."""
    doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return doubled[..., : size[0], : size[1]]
