"""Masked transposed convolution: the masked convolution of the zero-inserted input and mask.

Input position p and tap t meet at output position q = p * stride + t * dilation - padding. Then

    window sum   s[q]   = sum of m[p] over the pairs (p, t) that meet at q
    window size  W[q]   = s[q] under an all-ones mask: it differs between positions at borders and for strides above 1
    accumulate   a[k,q] = sum over those pairs and c of w[c,k,t] * (x[c,p] if m[p] != 0 else 0) * m[p]
    output       y[k,q] = scale(q) * a[k,q] + b[k]              where valid(q), else fill
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from ..arguments import check_choice, check_tensors, conv_dtype, parse_fill, parse_parts
from ..geometry import per_axis
from ..reference import per_filter, scale_of
from ._checks import Pair, check_input, compute_dtype, mask_parts, mask_values, parse_rule, per_channel, select, weigh
from .conv import UNSCALED_WHEN_FULL, MaskOptions

CONVOLUTIONS = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
NORMALIZATIONS = ("ratio", "mean", "sqrt", "none")


def masked_conv_transpose(
    input: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    normalization: str = "ratio",
    mask_update: str | float = "any",
    fill: float | str = 0.0,
    mask_channels: Sequence[int] | None = None,
) -> Pair:
    """Transposed convolution over the valid positions of `input` (N, C, *S), of 1 to 3 spatial axes.

    It is the masked convolution of the input and mask with stride - 1 zeros inserted between their positions, except
    that W[q] counts what an all-ones mask would count at q instead of all taps: so an all-ones mask gives
    `F.conv_transpose*d` everywhere, its borders included. An output that no tap reaches, all-ones mask or not (strides
    above the kernel size, output padding), misses nothing: it is valid and holds the bias, as there.

    Args:
        input: (N, C, *S); float16, bfloat16, float32 or float64.
        mask: (N or 1, M, *S) with M = 1, C or `len(mask_channels)`; bool, uint8, or floating (soft, gets a gradient).
            None: every position is valid.
        weight: (C, K / groups, *R), in `input`'s dtype.
        bias: (K,) or None. Never scaled.
        stride, padding, output_padding, groups, dilation: as `F.conv_transpose2d`.
        normalization: scale of the sum: `"ratio"` W / s, `"mean"` 1 / s, `"sqrt"` sqrt(W / s), `"none"` 1.
        mask_update: which outputs are valid: `"any"` s > 0, `"all"` s == W, a float t in (0, 1] s >= t * W; and all
            with W = 0. `"inside"`, for padded batches: those that an image has alone which ends where the mask does.
        fill: value of outputs that are not valid: a number, or `"bias"`.
        mask_channels: input channels covered by each mask channel; they add up to C.

    Returns:
        `(output, out_mask)`: (N, K, *O) as `F.conv_transpose*d`, and (N or 1, 1 or groups, *O) in the mask's dtype,
        with `groups` channels where mask channels differ. out_mask is None for mask None.

    Raises:
        TypeError, ValueError: what does not fit, by its argument's name. `masked_conv2d` has rules that have no meaning
            here: there is no centre, and no constant window for a confidence.

    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016 (zero insertion), with the
    scale of Liu et al. 2018.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import masked_conv_transpose
        >>> x = torch.tensor([[[2.0, float("nan"), 4.0]]])
        >>> y, out_mask = masked_conv_transpose(x, ~x.isnan(), torch.ones(1, 1, 2), stride=2)
        >>> y
        tensor([[[2., 2., 0., 0., 4., 4.]]])
        >>> out_mask.int()
        tensor([[[1, 1, 0, 0, 1, 1]]], dtype=torch.int32)
    """
    op = "masked_conv_transpose"
    check_input(op, input)
    rank = input.dim() - 2
    check_tensors(op, rank, input, mask, weight, None)
    if weight.shape[0] != input.shape[1]:
        raise ValueError(
            f"{op}: weight: got shape {tuple(weight.shape)}, needs {input.shape[1]} in dimension 0, the channels "
            f"of input"
        )
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1 or input.shape[1] % groups:
        raise ValueError(f"{op}: groups: got {groups!r}, needs a divisor of the {input.shape[1]} channels of input")
    filters = weight.shape[1] * groups
    if bias is not None and (not isinstance(bias, Tensor) or tuple(bias.shape) != (filters,)):
        got = f"shape {tuple(bias.shape)}" if isinstance(bias, Tensor) else type(bias).__name__
        raise ValueError(f"{op}: bias: got {got}, needs ({filters},), one a filter of weight, or None")
    strides, dilations = per_axis(op, "stride", stride, rank, 1), per_axis(op, "dilation", dilation, rank, 1)
    paddings = per_axis(op, "padding", padding, rank, 0)
    extras = per_axis(op, "output_padding", output_padding, rank, 0)
    for axis, (extra, step, spread) in enumerate(zip(extras, strides, dilations)):
        if extra >= max(step, spread):
            raise ValueError(
                f"{op}: output_padding: got {extra} on axis {axis}, needs less than the stride {step} or the dilation "
                f"{spread}"
            )
    parts = mask_parts(op, input, mask, mask_channels)
    check_choice(op, "normalization", normalization, NORMALIZATIONS)
    share = parse_rule(op, mask_update)
    fill_value = parse_fill(op, fill, conv_dtype(input))

    selected = input if mask is None else weigh(input, mask, parts)
    convolution = CONVOLUTIONS[rank]
    if mask is None and normalization in UNSCALED_WHEN_FULL:
        return convolution(selected, weight, bias, strides, paddings, extras, groups, dilations), None
    a = convolution(selected, weight, None, strides, paddings, extras, groups, dilations)

    compute = compute_dtype(a)
    kernel = tuple(weight.shape[2:])
    full = input.new_ones((1, 1, *input.shape[2:]), dtype=compute)
    window = _transposed_window_sum(full, kernel, strides, paddings, extras, dilations)
    s = window
    if mask is not None:
        m = mask_values(mask, compute)
        if len(parts) > 1:
            m = per_channel(m, parts).unflatten(1, (groups, -1)).sum(2)
            window = window * (input.shape[1] // groups)
        s = _transposed_window_sum(m, kernel, strides, paddings, extras, dilations)
    scale = _scale(s, window, normalization)
    b = scale.new_zeros(filters) if bias is None else bias.to(compute)
    b = b.view(-1, *[1] * rank)
    y = a.to(compute) * per_filter(scale, filters) + b
    if mask is None:
        return y.to(a.dtype), None
    # As in the reference, thresholds are compared in float64.
    valid = (s.double() >= share * window.double() if share else s > 0) | (window == 0)
    if mask_update == "inside":
        of_group = mask if len(parts) == 1 else per_channel(mask, parts).unflatten(1, (groups, -1)).amin(2)
        valid = _inside(of_group != 0, valid, kernel, strides, paddings, extras, dilations)
    y = select(y, per_filter(valid, filters), b if fill_value is None else fill_value)
    return y.to(a.dtype), valid.to(mask.dtype)


def _inside(
    m: Tensor,
    valid: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """The outputs of an image alone: along an axis, of one of size h, those up to (h - 1) * stride + last."""
    for axis, step in enumerate(stride):
        last = dilation[axis] * (kernel[axis] - 1) - 2 * padding[axis] + output_padding[axis]
        q = torch.arange(valid.shape[axis + 2], device=m.device)
        at = (q - last + step - 1).div(step, rounding_mode="floor").clamp(0, m.shape[axis + 2] - 1)
        m = m.index_select(axis + 2, at)
    return m


def _scale(s: Tensor, window: Tensor, normalization: str) -> Tensor:
    """scale(q) with a window size for each position; 1 where nothing lands."""
    if normalization == "mean":
        return scale_of(s, 1, "mean")
    if normalization == "none":
        return torch.ones_like(s)
    ratio = torch.where(s != 0, window, 1.0) / torch.where(s != 0, s, 1.0)
    return ratio.sqrt() if normalization == "sqrt" else ratio


def _transposed_window_sum(
    m: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """s[q] of each channel of `m`, along one axis after the other; exact for hard masks, on any device."""
    for axis in range(len(kernel)):
        m = m.movedim(axis + 2, -1)
        extent = dilation[axis] * (kernel[axis] - 1)
        # stride - 1 zeros after each position; those after the last one are cut off again.
        m = F.pad(m.unsqueeze(-1), (0, stride[axis] - 1)).flatten(-2)
        after = extent - padding[axis] + output_padding[axis] - (stride[axis] - 1)
        m = F.pad(m, (extent - padding[axis], after))
        m = m.unfold(-1, extent + 1, 1)[..., :: dilation[axis]].sum(-1)
        m = m.movedim(-1, axis + 2)
    return m


class _MaskedConvTranspose(MaskOptions, _ConvTransposeNd):
    """Options of the mask, checked when the module is made; the rest comes from torch.nn's class."""

    mask_defaults: ClassVar[dict[str, Any]] = {
        "normalization": "ratio", "mask_update": "any", "fill": 0.0, "mask_channels": None
    }  # fmt: skip
    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any

    def __init__(
        self,
        *args: Any,
        normalization: str = "ratio",
        mask_update: str | float = "any",
        fill: float | str = 0.0,
        mask_channels: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        op = type(self).__name__
        check_choice(op, "normalization", normalization, NORMALIZATIONS)
        parse_rule(op, mask_update)
        parse_fill(op, fill, self.weight.dtype)
        self.normalization = normalization
        self.mask_update = mask_update
        self.fill = fill
        self.mask_channels = parse_parts(op, mask_channels, self.in_channels)

    def forward(self, input: Tensor, mask: Tensor | None = None, output_size: list[int] | None = None) -> Pair:
        check_input(type(self).__name__, input, len(self.kernel_size))
        extras = self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, len(self.kernel_size), self.dilation
        )
        return masked_conv_transpose(
            input, mask, self.weight, self.bias, self.stride, self.padding, tuple(extras), self.groups, self.dilation,
            normalization=self.normalization, mask_update=self.mask_update, fill=self.fill,
            mask_channels=self.mask_channels,
        )  # fmt: skip


class MaskedConvTranspose1d(_MaskedConvTranspose, nn.ConvTranspose1d):  # type: ignore[misc]
    """1-D transposed convolution over the valid samples of (N, C, L); all else as `MaskedConvTranspose2d`."""


class MaskedConvTranspose2d(_MaskedConvTranspose, nn.ConvTranspose2d):  # type: ignore[misc]
    """2-D transposed convolution over the valid pixels, as `masked_conv_transpose`; arguments and state_dict of
    nn.ConvTranspose2d.

    Called with `(input, mask=None, output_size=None)`, it returns `(output, out_mask)`: (N, K, *O) and
    (N or 1, 1 or groups, *O) in the mask's dtype. Without a mask, and under one of ones, it is nn.ConvTranspose2d
    (`"mean"` divides by the number of taps that land); without one, out_mask is None.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode,
            device, dtype: as nn.ConvTranspose2d.
        normalization, mask_update, fill, mask_channels: keyword options of `masked_conv_transpose`.

    Raises:
        TypeError, ValueError: an option or a mask that does not fit; the message names the argument.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedConvTranspose2d
        >>> up = MaskedConvTranspose2d(8, 4, 2, stride=2, mask_update="all")
        >>> mask = torch.tensor([[True, False]]).view(1, 1, 1, 2)
        >>> output, out_mask = up(torch.rand(1, 8, 1, 2), mask)
        >>> out_mask[0, 0].int()
        tensor([[1, 1, 0, 0],
                [1, 1, 0, 0]], dtype=torch.int32)
    """


class MaskedConvTranspose3d(_MaskedConvTranspose, nn.ConvTranspose3d):  # type: ignore[misc]
    """3-D transposed convolution over the valid voxels of (N, C, D, H, W); all else as `MaskedConvTranspose2d`."""
