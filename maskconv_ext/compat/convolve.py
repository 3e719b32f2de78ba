"""astropy.convolution.convolve on batches of torch tensors."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import masks
from ..functional import masked_conv1d, masked_conv2d, masked_conv3d
from ..masks._checks import check_tensor

CONVOLUTIONS = {1: masked_conv1d, 2: masked_conv2d, 3: masked_conv3d}
PAD_MODES = {"fill": "constant", "extend": "replicate", "wrap": "circular"}
NAN_TREATMENTS = ("interpolate", "fill")
# astropy's, below which a kernel counts as one that sums to 0.
SUM_TOLERANCE = 1e-8


def astropy_convolve(
    x: Tensor,
    kernel: Tensor,
    boundary: str | None = "fill",
    fill_value: float = 0.0,
    nan_treatment: str = "interpolate",
    normalize_kernel: bool = True,
    preserve_nan: bool = False,
) -> Tensor:
    """astropy's convolve, every channel of every image with the one kernel.

    With g the kernel turned around (astropy's is the convolution, not the correlation), over the pixels that are not
    NaN: y = sum(g * x) / sum(g), times the sum of the whole kernel unless `normalize_kernel`; NaN where sum(g) is 0.

    Args:
        x: (N, C, *S), 1 to 3 axes, floating; NaN is missing.
        kernel: one axis a spatial axis, each of odd size, in x's dtype. It is read on the host.
        boundary: outside the image `"fill"`: `fill_value`, which counts as observed unless it is NaN; `"extend"`: the
            nearest pixel; `"wrap"`: the other side. None: 0 wherever a window reaches outside.
        fill_value: of `"fill"`, for both arguments.
        nan_treatment: `"interpolate"`, or `"fill"`: `fill_value` instead of NaN.
        normalize_kernel, preserve_nan: as in astropy.

    Returns:
        (N, C, *S) in x's dtype; sums are in float32, in float64 for float64, where astropy's are always in float64.

    Raises:
        TypeError: as masked_conv2d.
        ValueError: a shape or option that does not fit; a kernel that sums to 0.

    Source: astropy.convolution.convolve of the Astropy Project.

    Example:
        >>> import torch
        >>> from maskconv_ext.compat import astropy_convolve
        >>> astropy_convolve(torch.tensor([[[1.0, float("nan"), 3.0]]]), torch.ones(3), boundary="extend")
        tensor([[[1., 2., 3.]]])
    """
    op = "astropy_convolve"
    for name, tensor in (("x", x), ("kernel", kernel)):
        check_tensor(op, name, tensor, minimum_dim=0)
    rank = x.dim() - 2
    if rank not in CONVOLUTIONS:
        raise ValueError(f"{op}: x: got shape {tuple(x.shape)}, needs (N, C, *S) with 1 to 3 spatial axes")
    if kernel.dim() != rank or any(side % 2 == 0 for side in kernel.shape):
        raise ValueError(f"{op}: kernel: got shape {tuple(kernel.shape)}, needs {rank} axes of odd size")
    if boundary is not None and boundary not in PAD_MODES:
        raise ValueError(f"{op}: boundary: got {boundary!r}, needs one of 'fill', 'extend', 'wrap', or None")
    if nan_treatment not in NAN_TREATMENTS:
        raise ValueError(f"{op}: nan_treatment: got {nan_treatment!r}, needs 'interpolate' or 'fill'")
    total = float(kernel.double().sum())
    if math.isclose(total, 0.0, abs_tol=SUM_TOLERANCE):
        raise ValueError(f"{op}: kernel: got a sum of {total:g}, needs one that is not 0")

    missing = x.isnan()
    images = x.flatten(0, 1)[:, None]
    if nan_treatment == "fill":
        images = masks.apply(images, ~images.isnan(), fill_value)
    margins = [side // 2 for side in kernel.shape]
    sides = [margin for margin in reversed(margins) for _ in range(2)]  # F.pad counts axes from the last
    if boundary is not None:
        value = fill_value if boundary == "fill" else None
        images = F.pad(images, sides, mode=PAD_MODES[boundary], value=value)
    g = kernel.flip(tuple(range(rank)))[None, None]
    y, _ = CONVOLUTIONS[rank](images, ~images.isnan(), g, normalization="weight", fill=math.nan)
    if not normalize_kernel:
        y = y * total
    if boundary is None:
        y = F.pad(y, sides)
    y = y.view(x.shape)
    return torch.where(missing, math.nan, y) if preserve_nan else y
