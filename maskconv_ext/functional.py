"""The public functions, in the manner of torch.nn.functional."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import native, reference
from .arguments import autocasts, check_call, check_soft_values, conv_dtype
from .geometry import pad_by_modes
from .mask_plan import MaskPlan, check_plan, shared_plan

_check_soft_masks = False


def set_mask_checking(enabled: bool) -> None:
    """Turn the check of soft masks' values on or off; off by default.

    On, every call with a float mask raises ValueError where a value is NaN or outside [0, 1]. The check reads the
    mask once more and waits for the device, so it is for debugging.
    """
    global _check_soft_masks
    _check_soft_masks = bool(enabled)


def _masked_conv(
    rank: int,
    input: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    normalization: str,
    mask_update: str | float,
    fill: float | str,
    pad_is_valid: bool,
    padding_mode: Any,
    mask_channels: Any,
    return_window_sum: bool,
    plan: MaskPlan | None,
) -> tuple[Tensor, ...]:
    op = f"masked_conv{rank}d"
    options, modes = check_call(
        op, rank, input, mask, weight, bias, stride, padding, dilation, groups,
        normalization, mask_update, fill, pad_is_valid, padding_mode, mask_channels,
    )  # fmt: skip
    if plan is None:
        plan = shared_plan(mask, input.shape[0], options, modes)
    else:
        check_plan(op, plan, input, options.geometry, modes)
    if _check_soft_masks:
        check_soft_values(op, mask)

    if any(mode != "zeros" for mode in modes):
        input = pad_by_modes(input, options.geometry, modes)
        mask = None if mask is None else pad_by_modes(mask, options.geometry, modes)
        options = dataclasses.replace(options, geometry=options.geometry.after_modes(modes))

    # As F.conv2d under autocast; the mask keeps counting in its own dtype.
    device = input.device.type
    if autocasts(device):
        input, weight = input.to(conv_dtype(input)), weight.to(conv_dtype(weight))
        bias = None if bias is None else bias.to(conv_dtype(bias))
        with torch.autocast(device, enabled=False):
            results = _dispatch(input, mask, weight, bias, options, plan)
    else:
        results = _dispatch(input, mask, weight, bias, options, plan)
    return results if return_window_sum else results[:2]


def _dispatch(
    input: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None, options: Any, plan: MaskPlan | None
) -> tuple[Tensor, Tensor, Tensor]:
    if native.can_run(input, mask, weight, options):
        row_orders = (None, None) if plan is None else plan.row_orders
        return native.masked_conv(input, mask, weight, bias, options, row_orders)
    return reference.masked_conv(input, mask, weight, bias, options)


def masked_conv1d(
    input: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] | Sequence[tuple[int, int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    normalization: str = "ratio",
    mask_update: str | float = "any",
    fill: float | str = 0.0,
    pad_is_valid: bool = False,
    padding_mode: str | Sequence[str] = "zeros",
    mask_channels: Sequence[int] | None = None,
    return_window_sum: bool = False,
    plan: MaskPlan | None = None,
) -> tuple[Tensor, ...]:
    """1-D convolution over the valid samples of `input` (N, C, L); all else as `masked_conv2d`.

    Equivalent to the formula given there with `F.conv1d`.

    Args:
        input: (N, C, L).
        mask: (N or 1, M, L), or None.
        weight: (K, C / groups, R).
        bias: (K,) or None.

    Returns and raises as `masked_conv2d`.
    """
    return _masked_conv(
        1, input, mask, weight, bias, stride, padding, dilation, groups,
        normalization, mask_update, fill, pad_is_valid, padding_mode, mask_channels, return_window_sum, plan,
    )  # fmt: skip


def masked_conv2d(
    input: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] | Sequence[tuple[int, int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    normalization: str = "ratio",
    mask_update: str | float = "any",
    fill: float | str = 0.0,
    pad_is_valid: bool = False,
    padding_mode: str | Sequence[str] = "zeros",
    mask_channels: Sequence[int] | None = None,
    return_window_sum: bool = False,
    plan: MaskPlan | None = None,
) -> tuple[Tensor, ...]:
    """2-D convolution over the valid pixels of `input` (N, C, H, W), where `mask` says which are valid.

    Equivalent to, with W = number of taps of the kernel, `m` as 0.0 and 1.0, and no NaN or Inf under the holes:

        s = F.conv2d(m, ones(1, 1, *kernel), None, stride, padding, dilation)
        a = F.conv2d(input * m, weight, None, stride, padding, dilation, groups)
        output = where(s > 0, a * (W / s) + bias, fill)
        out_mask = s > 0

    Values under `mask == 0` are selected away, not multiplied: NaN and Inf there reach neither the output nor any
    gradient. Sums are in float32 (float64 for float64).

    Args:
        input: (N, C, H, W); float16, bfloat16, float32 or float64.
        mask: valid pixels, (N or 1, M, H, W) with M = 1 (shared by all channels), C (one a channel), or
            `len(mask_channels)`. bool or uint8: non-zero is valid. Floating: a soft mask in [0, 1] whose values
            multiply, and which gets a gradient. None: every pixel is valid.
        weight: (K, C / groups, R, S), in `input`'s dtype.
        bias: (K,) or None. Never scaled.
        stride, dilation: int, or one an axis.
        padding: int, one an axis, a (before, after) pair an axis, `"valid"`, or `"same"` (TensorFlow's rule: output
            size ceil(size / stride), also for strides above 1).
        groups: number of groups, dividing C and K.
        normalization: scale of the sum. `"ratio"`: W / s. `"mean"`: 1 / s. `"sqrt"`: sqrt(W / s), which keeps the
            variance. `"weight"`: 1 / sum of weight * m, for each filter; where that sum is 0 the output is `fill`,
            whatever `out_mask` says. `"none"`: 1.
        mask_update: which outputs are valid. `"any"`: s > 0. `"all"`: s == W. `"center"`: the mask under the window's
            centre. A float t in (0, 1]: s >= t * W. `"fraction"`: s > 0, with the soft output mask s / W.
            `"confidence"`: sum of weight * m is not 0, with the soft output mask (sum of weight * m) / (sum of weight),
            for each filter; 0 for a filter whose weights sum to 0. Meant for weights that are not negative.
        fill: value of outputs that are not valid: a number, NaN included, or `"bias"`.
        pad_is_valid: count positions outside the image as valid zeros.
        padding_mode: `"zeros"`, `"reflect"`, `"replicate"` or `"circular"`, or one an axis; all but zeros pad the mask
            alike.
        mask_channels: input channels covered by each mask channel, as for concatenated tensors with masks of their
            own; they add up to C.
        return_window_sum: also return s.
        plan: a `MaskPlan` of this mask and geometry, which makes CUDA kernels faster and changes no result. None: one
            that the calls within `share_plans` share; outside, none.

    Returns:
        `(output, out_mask)`, or `(output, out_mask, window_sum)`. `output` is (N, K, P, Q) in `input`'s dtype and
        memory format. `out_mask` has the mask's dtype (bool for None; float32 where a soft rule meets a hard mask),
        the mask's batch size (1 for None), and 1 channel; `groups` channels where mask channels differ; K channels for
        `"confidence"`. `window_sum` is int32 for hard masks, else float32 (float64 for float64 input).

    Raises:
        TypeError: a dtype or type that is not supported.
        ValueError: a shape, size, device or option that does not fit. Each message names the argument, what it got and
            what it needs; nothing has been computed.

    Sources: Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions", 2018 (ratio); Uhrig et al.,
    "Sparsity Invariant CNNs", 2017 (mean); Knutsson and Westin, "Normalized and Differential Convolution", 1993
    (weight, confidence).

    Example:
        >>> import torch
        >>> from maskconv_ext import masked_conv2d
        >>> image = torch.tensor([[[[1.0, float("nan"), 3.0]]]])
        >>> mean = torch.full((1, 1, 1, 3), 1 / 3)
        >>> output, out_mask = masked_conv2d(image, ~image.isnan(), mean, padding=(0, 1))
        >>> output
        tensor([[[[1., 2., 3.]]]])
        >>> out_mask
        tensor([[[[True, True, True]]]])
    """
    return _masked_conv(
        2, input, mask, weight, bias, stride, padding, dilation, groups,
        normalization, mask_update, fill, pad_is_valid, padding_mode, mask_channels, return_window_sum, plan,
    )  # fmt: skip


def masked_conv3d(
    input: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] | Sequence[tuple[int, int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    normalization: str = "ratio",
    mask_update: str | float = "any",
    fill: float | str = 0.0,
    pad_is_valid: bool = False,
    padding_mode: str | Sequence[str] = "zeros",
    mask_channels: Sequence[int] | None = None,
    return_window_sum: bool = False,
    plan: MaskPlan | None = None,
) -> tuple[Tensor, ...]:
    """3-D convolution over the valid voxels of `input` (N, C, D, H, W); all else as `masked_conv2d`.

    Equivalent to the formula given there with `F.conv3d`.

    Args:
        input: (N, C, D, H, W).
        mask: (N or 1, M, D, H, W), or None.
        weight: (K, C / groups, Q, R, S).
        bias: (K,) or None.

    Returns and raises as `masked_conv2d`.
    """
    return _masked_conv(
        3, input, mask, weight, bias, stride, padding, dilation, groups,
        normalization, mask_update, fill, pad_is_valid, padding_mode, mask_channels, return_window_sum, plan,
    )  # fmt: skip
