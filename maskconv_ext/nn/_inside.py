"""The rule "inside": which outputs an image alone would have, told from where its mask ends.

An image of size h alone has an output q where the last tap of its window lies no further out than the padding after the
image: q * stride + dilation * (kernel - 1) - both paddings <= h - 1. So an output is valid where all of the window is,
less as many positions as both paddings have. No mask grows by it, and under the mask of a padded batch each image gets
the outputs that it has alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import is_soft
from ._checks import mask_values

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def check_inside(op: str, kernel: Sequence[int], padding: Any, dilation: Sequence[int]) -> None:
    """Raises ValueError where a window lies within its padding."""
    if min(_extents(kernel, padding, dilation)) < 0:
        raise ValueError(
            f"{op}: mask_update: got 'inside' with padding {padding!r}, needs a window ({tuple(kernel)}, dilation "
            f"{tuple(dilation)}) larger than the padding on both sides of an axis"
        )


def rule_inside(kernel: Sequence[int], stride: Sequence[int], padding: Any, dilation: Sequence[int]) -> str | None:
    """The rule of `masked_conv2d` that is "inside" for this geometry; None where there is none."""
    if padding == "valid" or (not isinstance(padding, str) and not any(padding)):
        return "all"
    if padding == "same":
        return "center" if all(size % 2 and step == 1 for size, step in zip(kernel, stride)) else None
    at_centre = (2 * pad == spread * (size - 1) for size, pad, spread in zip(kernel, padding, dilation))
    return "center" if all(size % 2 for size in kernel) and all(at_centre) else None


def inside_mask(
    mask: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Any,
    dilation: Sequence[int],
    output_size: Sequence[int],
    ceil_mode: bool = False,
) -> Tensor:
    """(N or 1, M, *O) in the mask's dtype: the least of the mask in each window, less the padding."""
    m = mask_values(mask, mask.dtype if is_soft(mask) else torch.float32)
    taps, spread = [], []
    for axis, (extent, step, apart) in enumerate(zip(_extents(kernel, padding, dilation), stride, dilation)):
        if ceil_mode:  # a window may stick out by stride - 1, if it begins in the image or the padding before it
            extent = max(extent - (step - 1), -padding[axis])
        if extent < 0:
            before = m.narrow(axis + 2, 0, 1)
            m, extent = torch.cat([*[before] * -extent, m], axis + 2), 0
        apart = apart if extent % apart == 0 else 1
        taps.append(extent // apart + 1)
        spread.append(apart)
    least = -MAX[len(taps)](-m, taps, list(stride), 0, spread)
    for axis, size in enumerate(output_size):
        least = least.narrow(axis + 2, 0, size)
    return least.to(mask.dtype)


def _extents(kernel: Sequence[int], padding: Any, dilation: Sequence[int]) -> list[int]:
    """Of the window less both paddings, from its first position to its last one."""
    full = [apart * (size - 1) for size, apart in zip(kernel, dilation)]
    if isinstance(padding, str):
        return full if padding == "valid" else [0] * len(full)
    return [extent - 2 * pad for extent, pad in zip(full, padding)]
