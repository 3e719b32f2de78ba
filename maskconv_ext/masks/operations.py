"""Applying a mask, and resizing it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_mask, is_soft
from ._checks import check_holds, check_mask_tensor, check_tensor, per_axis

# F.interpolate's and F.adaptive_max_pool's, by rank.
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
ADAPTIVE_MAX_POOL = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}


def apply(x: Tensor, mask: Tensor, fill: float | Tensor = 0.0) -> Tensor:
    """`x` where the mask is not 0, else `fill`.

    A selection, not a product: NaN and Inf in the holes are gone, and their gradient is 0. A soft mask selects too,
    and does not scale: write `apply(x, mask) * mask` for that.

    Args:
        x: (N, C, *S), any dtype.
        mask: (N or 1, 1 or C, *S); bool, uint8 or floating.
        fill: a number that `x`'s dtype holds, or a tensor that broadcasts with `x`, such as (1, C, 1, 1).

    Returns:
        (N, C, *S) in `x`'s dtype.

    Raises:
        TypeError: a dtype or type that is not supported.
        ValueError: a shape or device that does not fit.

    Example:
        >>> import torch
        >>> from maskconv_ext import masks
        >>> masks.apply(torch.tensor([[[1.0, float("nan")]]]), torch.tensor([[[True, False]]]))
        tensor([[[1., 0.]]])
    """
    op = "apply"
    check_tensor(op, "x", x)
    check_mask_tensor(op, mask)
    if mask.device != x.device:
        raise ValueError(f"{op}: mask: got device {mask.device}, needs {x.device}, the device of x")
    check_mask(op, x, mask, None)
    if isinstance(fill, Tensor):
        fill = fill.to(x.dtype)
    else:
        check_holds(op, "fill", fill, x.dtype)
    return torch.where(mask != 0, x, fill)


def resize(mask: Tensor, size: int | Sequence[int], mode: str = "nearest") -> Tensor:
    """The mask at another size, whatever the ratio.

    For the mask of a convolution's output, take the one that the convolution returns: no resizing knows which pixels a
    window has seen. This is for what has no window: coarse block masks, labels, other resolutions.

    Args:
        mask: (N, M, *S), 1 to 3 spatial axes; bool, uint8 or floating.
        size: one int an axis, or one for all.
        mode: `"nearest"`: the pixel under the centre of the new one, as F.interpolate's nearest-exact.
            `"bilinear"` (`"linear"` and `"trilinear"` on one and three axes): F.interpolate's, with
            align_corners=False and no antialiasing; the result is a soft mask, and has a gradient.
            `"any"` and `"all"`: valid where any, or all, of the old pixels that the new one touches are valid: those
            from floor(i * old / new) to ceil((i + 1) * old / new), exact at ratios that are not whole. Of soft masks
            the maximum and the minimum, with gradients.

    Returns:
        (N, M, *size) in the mask's dtype; float32 for a hard mask resized linearly. uint8 masks become 0 and 1, but
        for `"nearest"`, which copies.

    Raises:
        TypeError: a dtype or type that is not supported.
        ValueError: a size or mode that does not fit.

    Example:
        >>> import torch
        >>> from maskconv_ext import masks
        >>> mask = torch.tensor([[[True, True, False, False, False]]])
        >>> masks.resize(mask, 3, "any")
        tensor([[[ True,  True, False]]])
        >>> masks.resize(mask, 3, "all")
        tensor([[[ True, False, False]]])
    """
    op = "resize"
    check_mask_tensor(op, mask)
    rank = mask.dim() - 2
    if rank not in LINEAR:
        raise ValueError(f"{op}: mask: got shape {tuple(mask.shape)}, needs 1 to 3 spatial axes")
    modes = ("nearest", LINEAR[rank], "any", "all")
    if mode not in modes:
        raise ValueError(f"{op}: mode: got {mode!r}, needs one of {', '.join(map(repr, modes))}")
    sides = per_axis(op, "size", size, rank)
    if 0 in mask.shape[2:]:
        raise ValueError(f"{op}: mask: got shape {tuple(mask.shape)}, needs spatial axes of 1 or more")

    if mode == "nearest":
        for axis, (new, old) in enumerate(zip(sides, mask.shape[2:])):
            centre = torch.arange(new, device=mask.device).mul_(2).add_(1)
            index = torch.div(centre * old, 2 * new, rounding_mode="floor")
            mask = mask.index_select(axis + 2, index)
        return mask
    soft = mask if is_soft(mask) else (mask != 0).float()
    if mode == LINEAR[rank]:
        return F.interpolate(soft, sides, mode=mode, align_corners=False)
    sign = 1.0 if mode == "any" else -1.0
    result = ADAPTIVE_MAX_POOL[rank](soft * sign, sides) * sign
    return result if is_soft(mask) else (result != 0).to(mask.dtype)
