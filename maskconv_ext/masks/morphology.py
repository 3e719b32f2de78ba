"""Growing and shrinking masks: a margin around clouds, a rim around an object."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ._checks import check_mask_tensor, is_number

Offset = tuple[int, ...]


def dilate(mask: Tensor, radius: float | None = None, *, kernel: Tensor | None = None) -> Tensor:
    """Valid where a valid pixel reaches: the valid region grows.

    What lies outside the image reaches nothing. Of a soft mask the maximum within reach, with its gradient. One pass
    over the mask for each pixel of the reach.

    Args:
        mask: (N, M, *S); bool, uint8 or floating.
        radius: the reach is a ball: all offsets with a Euclidean norm of at most `radius` pixels.
        kernel: instead of a radius, the reach itself: a bool tensor of odd sizes, one axis a spatial axis, as
            `torch.ones(3, 3, dtype=torch.bool)` for a square. It is read on the host.

    Returns:
        In the mask's shape and dtype.

    Raises:
        TypeError: a dtype or type that is not supported.
        ValueError: both or neither of `radius` and `kernel`, or one that does not fit.

    Example:
        >>> import torch
        >>> from maskconv_ext import masks
        >>> masks.dilate(torch.tensor([[[0.0, 0.0, 0.5, 0.0, 1.0]]]), 1)
        tensor([[[0.0000, 0.5000, 0.5000, 1.0000, 1.0000]]])
    """
    offsets = _offsets("dilate", mask, radius, kernel)
    # Every valid pixel spreads to its offsets; seen from where it arrives, it lies at the opposite ones.
    return _extreme(mask, [tuple(-o for o in offset) for offset in offsets], torch.maximum, 0)


def erode(mask: Tensor, radius: float | None = None, *, kernel: Tensor | None = None) -> Tensor:
    """Valid where all pixels within reach are valid: the holes grow. Arguments and errors are those of `dilate`.

    What lies outside the image takes nothing away, unlike SciPy's default: the image's border is not a hole. Of a soft
    mask the minimum within reach, with its gradient.

    Example:
        >>> import torch
        >>> from maskconv_ext import masks
        >>> clear = torch.tensor([[[True, True, True, False, True]]])
        >>> masks.erode(clear, 1)
        tensor([[[ True,  True, False, False, False]]])
    """
    outside = 255 if isinstance(mask, Tensor) and mask.dtype == torch.uint8 else 1
    return _extreme(mask, _offsets("erode", mask, radius, kernel), torch.minimum, outside)


def _extreme(mask: Tensor, offsets: list[Offset], extreme: Callable[[Tensor, Tensor], Tensor], outside: int) -> Tensor:
    """The extreme over the mask shifted by every offset."""
    size = mask.shape[2:]
    reach = [max(abs(offset[axis]) for offset in offsets) for axis in range(len(size))]
    padded = F.pad(mask, [side for side in reversed(reach) for _ in range(2)], value=outside)
    result: Tensor | None = None
    for offset in offsets:
        shifted = padded
        for axis, (shift, margin, side) in enumerate(zip(offset, reach, size)):
            shifted = shifted.narrow(axis + 2, margin + shift, side)
        result = shifted if result is None else extreme(result, shifted)
    assert result is not None
    return result.contiguous()


def _offsets(op: str, mask: Tensor, radius: float | None, kernel: Tensor | None) -> list[Offset]:
    check_mask_tensor(op, mask)
    rank = mask.dim() - 2
    if (radius is None) == (kernel is None):
        raise ValueError(f"{op}: radius, kernel: got {'neither' if radius is None else 'both'}, needs one of them")
    if radius is not None:
        if not is_number(radius) or not 0 <= radius < math.inf:
            raise ValueError(f"{op}: radius: got {radius!r}, needs a number >= 0")
        reach = math.floor(radius)
        cube = itertools.product(range(-reach, reach + 1), repeat=rank)
        return [offset for offset in cube if sum(o * o for o in offset) <= radius**2]
    if not isinstance(kernel, Tensor) or kernel.dtype != torch.bool:
        got = kernel.dtype if isinstance(kernel, Tensor) else type(kernel).__name__
        raise TypeError(f"{op}: kernel: got {got}, needs a bool tensor")
    if kernel.dim() != rank or any(side % 2 == 0 for side in kernel.shape) or not kernel.any():
        raise ValueError(
            f"{op}: kernel: got shape {tuple(kernel.shape)}, needs {rank} axes of odd size, and one True or more"
        )
    return [tuple(i - side // 2 for i, side in zip(index, kernel.shape)) for index in kernel.nonzero().tolist()]
