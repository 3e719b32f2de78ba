"""Other implementations' formulas, as options of the operator, or as functions where inputs are prepared as well.

In the symbols of the specification: a = sum of w * x over the valid positions of a window, s = their number, W the
window's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import masks
from ..functional import masked_conv1d, masked_conv2d
from ..masks._checks import check_tensor

# For masked_conv1d, 2d and 3d, and the layers on them.
OPTIONS: dict[str, dict[str, Any]] = {
    "partialconv": dict(normalization="ratio", mask_update="any", fill=0.0),
    "sparsity_invariant": dict(normalization="mean", mask_update="any", fill="bias"),
    "nconv": dict(normalization="weight", mask_update="confidence", fill="bias"),
    "naoto0804": dict(normalization="mean", mask_update="any", fill=0.0),
    "nemo_masked_conv1d": dict(normalization="none", mask_update="any", fill="bias"),
    "spark": dict(normalization="none", mask_update="center", fill=0.0),
}


def naoto0804_pconv2d(
    x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None = None, **geometry: Any
) -> tuple[Tensor, Tensor]:
    """naoto0804's PConv2d: y = a / s + b where s > 0, else 0, with s over all channels of the window.

    Args:
        x: (N, C, H, W).
        mask: (N or 1, 1 or C, H, W); a shared one counts C times, as the C equal channels that the original takes.
        weight, bias: as in masked_conv2d.
        **geometry: stride, padding, dilation.

    Returns:
        (output, mask); the mask has one channel, where the original has K equal ones.

    Raises:
        TypeError, ValueError: as masked_conv2d.

    Source: Liu et al. 2018, as in naoto0804/pytorch-inpainting-with-partial-conv.

    Example:
        >>> import torch
        >>> from maskconv_ext.compat import naoto0804_pconv2d
        >>> x, mask = torch.ones(1, 3, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool)
        >>> y, _ = naoto0804_pconv2d(x, mask, torch.ones(1, 3, 3, 3), torch.ones(1), padding=1)
        >>> y.unique()
        tensor([2.])
    """
    mask = _one_a_channel("naoto0804_pconv2d", x, mask)
    return _pair(masked_conv2d(x, mask, weight, bias, **geometry, **OPTIONS["naoto0804"]))


def pconv_keras(
    x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None = None, **geometry: Any
) -> tuple[Tensor, Tensor]:
    """MathiasGruber's PConv2D: y = a * taps / s + b, the bias in holes too, with s over all channels of the window.

    `taps` is the kernel's area while s counts channels as well, so without holes an inner y is a / C + b.

    Args:
        x: (N, C, H, W).
        mask: (N or 1, 1 or C, H, W); a shared one counts C times, as the C equal channels that the original takes.
        weight: (K, C, R, S): the original's (R, S, C, K) kernel, permuted by (3, 2, 0, 1).
        bias: (K,) or None.
        **geometry: stride, dilation, and padding, which in the original is always ((R - 1) // 2, (S - 1) // 2).

    Returns:
        (output, mask); the mask has one channel, where the original has K equal ones.

    Raises:
        TypeError, ValueError: as masked_conv2d.

    Source: Liu et al. 2018, as in MathiasGruber/PConv-Keras.

    Example:
        >>> import torch
        >>> from maskconv_ext.compat import pconv_keras
        >>> x, mask = torch.ones(1, 3, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.bool)
        >>> y, _ = pconv_keras(x, mask, torch.ones(1, 3, 3, 3), torch.ones(1), padding=1)
        >>> y.unique()
        tensor([1.])
    """
    mask = _one_a_channel("pconv_keras", x, mask)
    check_tensor("pconv_keras", "weight", weight)
    scaled = weight * weight[0, 0].numel()
    return _pair(masked_conv2d(x, mask, scaled, bias, **geometry, normalization="mean", fill="bias"))


def nemo_masked_conv1d(
    x: Tensor,
    lengths: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: int | Sequence[int] = 0,
    dilation: int = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor]:
    """NeMo's MaskedConv1d: y = a + b of the sequences cut at their lengths, and the lengths after it.

    lengths' = (lengths + pad before + pad after - dilation * (R - 1) - 1) / stride, truncated, + 1. Outputs behind
    lengths' are not 0: they hold the bias, and what windows reach of the sequence's end.

    Args:
        x: (N, C, L).
        lengths: (N,) ints.
        weight, bias, stride, dilation, groups: as in masked_conv1d.
        padding: int, or (before, after).

    Returns:
        (output (N, K, P), lengths (N,)).

    Raises:
        TypeError, ValueError: as masks.from_lengths and masked_conv1d.

    Source: MaskedConv1d of NVIDIA NeMo's speech recognition (Jasper, QuartzNet).

    Example:
        >>> import torch
        >>> from maskconv_ext.compat import nemo_masked_conv1d
        >>> y, lengths = nemo_masked_conv1d(torch.ones(1, 1, 5), torch.tensor([3]), torch.ones(1, 1, 3), padding=1)
        >>> y, lengths
        (tensor([[[2., 3., 2., 1., 0.]]]), tensor([3]))
    """
    op = "nemo_masked_conv1d"
    check_tensor(op, "x", x)
    check_tensor(op, "lengths", lengths, minimum_dim=0)
    check_tensor(op, "weight", weight)
    if lengths.shape != x.shape[:1]:
        raise ValueError(f"{op}: lengths: got shape {tuple(lengths.shape)}, needs ({x.shape[0]},), one a sequence of x")
    mask = masks.from_lengths(lengths, x.shape[2], device=x.device)
    before, after = (padding, padding) if isinstance(padding, int) else padding
    y, _ = masked_conv1d(
        x, mask, weight, bias, stride, [(before, after)], dilation, groups, **OPTIONS["nemo_masked_conv1d"]
    )
    reach = lengths + before + after - dilation * (weight.shape[2] - 1) - 1
    return y, torch.div(reach, stride, rounding_mode="trunc") + 1


def spark_conv2d(
    x: Tensor, active: Tensor, weight: Tensor, bias: Tensor | None = None, **geometry: Any
) -> tuple[Tensor, Tensor]:
    """SparK's SparseConv2d: y = (a + b) * m', where m' are the active patches at the output's size.

    Args:
        x: (N, C, H, W).
        active: (N or 1, 1, h, w), a pixel a patch; enlarged to x's size, nearest. H and W are multiples of h and w.
        weight, bias: as in masked_conv2d.
        **geometry: stride, padding, dilation, groups. Every window's centre must lie in the patch that its output lies
            in, as with `padding=(R - 1) // 2` and a stride that divides the patch.

    Returns:
        (output, mask (N or 1, 1, P, Q)).

    Raises:
        TypeError, ValueError: as masked_conv2d; sizes that are no multiples.

    Source: Tian et al., "Designing BERT for Convolutional Networks: Sparse and Hierarchical Masked Modeling", 2023.

    Example:
        >>> import torch
        >>> from maskconv_ext import masks
        >>> from maskconv_ext.compat import spark_conv2d
        >>> active = masks.random_blocks((2, 1, 4, 4), 1, 0.5)
        >>> y, mask = spark_conv2d(torch.rand(2, 3, 32, 32), active, torch.rand(8, 3, 3, 3), stride=2, padding=1)
        >>> torch.equal(mask, masks.resize(active, (16, 16)))
        True
    """
    check_tensor("spark_conv2d", "x", x)
    check_tensor("spark_conv2d", "active", active)
    if (
        active.dim() != x.dim()
        or 0 in active.shape[2:]
        or any(big % small for big, small in zip(x.shape[2:], active.shape[2:]))
    ):
        raise ValueError(
            f"spark_conv2d: active: got shape {tuple(active.shape)} for x {tuple(x.shape)}, needs (N or 1, 1, h, w) "
            f"with h and w dividing x's sizes"
        )
    mask = masks.resize(active, x.shape[2:], "nearest")
    return _pair(masked_conv2d(x, mask, weight, bias, **geometry, **OPTIONS["spark"]))


def mmcv_masked_conv2d(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None = None, padding: Any = 0) -> Tensor:
    """mmcv's MaskedConv2d: the plain convolution where the output's mask is positive, else 0.

    Not a convolution over valid pixels: x is used under the mask's zeros too, NaN included. All of it is computed, and
    selected from; there is a gradient, which the original has not.

    Args:
        x: (N, C, H, W); the original takes N = 1.
        mask: (N or 1, H, W), of the output, which has x's size.
        weight, bias, padding: as in F.conv2d; the stride is 1.

    Returns:
        (N, K, H, W).

    Raises:
        ValueError: the output is not of the mask's size.

    Source: mmcv.ops.MaskedConv2d, of OpenMMLab.

    Example:
        >>> import torch
        >>> from maskconv_ext.compat import mmcv_masked_conv2d
        >>> x, mask = torch.ones(1, 1, 1, 3), torch.tensor([[[1.0, 0.0, 1.0]]])
        >>> mmcv_masked_conv2d(x, mask, torch.ones(1, 1, 1, 3), padding=(0, 1))
        tensor([[[[2., 0., 2.]]]])
    """
    for name, tensor in (("x", x), ("mask", mask), ("weight", weight)):
        check_tensor("mmcv_masked_conv2d", name, tensor, minimum_dim=0)
    y = F.conv2d(x, weight, bias, padding=padding)
    if mask.dim() != 3 or mask.shape[1:] != y.shape[2:]:
        raise ValueError(
            f"mmcv_masked_conv2d: mask: got shape {tuple(mask.shape)}, needs (N or 1, {y.shape[2]}, {y.shape[3]}), the "
            f"size of the output"
        )
    return masks.apply(y, (mask > 0)[:, None])


def _one_a_channel(op: str, x: Tensor, mask: Tensor) -> Tensor:
    """A shared mask as C equal channels: windows sum over all of them."""
    check_tensor(op, "x", x)
    check_tensor(op, "mask", mask)
    return mask.expand(-1, x.shape[1], *mask.shape[2:]) if mask.shape[1] == 1 else mask


def _pair(results: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    return results[0], results[1]
