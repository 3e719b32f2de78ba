"""Interpolation between valid positions, renormalised by the interpolated mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import is_soft, parse_parts
from ._checks import Pair, check_input, compute_dtype, mask_parts, mask_values, parse_rule, per_channel, select, weigh

COPYING = ("nearest", "nearest-exact")
MODES = {1: (*COPYING, "linear"), 2: (*COPYING, "bilinear"), 3: (*COPYING, "trilinear")}


def masked_upsample(
    input: Tensor,
    mask: Tensor | None,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    *,
    mask_update: str | float = "any",
    mask_channels: Sequence[int] | None = None,
) -> Pair:
    """Resize `input` by interpolation between its valid positions. With up() the plain interpolation:

        output = up(input * mask) / up(mask)      where valid, else 0

    Args:
        input: (N, C, *S) with 1 to 3 spatial axes; floating.
        mask: (N or 1, M, *S) with M = 1, C or `len(mask_channels)`; bool, uint8, or floating (soft, gets a gradient).
            None: plain interpolation.
        size, scale_factor, align_corners, recompute_scale_factor: as `F.interpolate`.
        mode: `"nearest"`, `"nearest-exact"`, or that of the rank: `"linear"`, `"bilinear"`, `"trilinear"`. Not
            `"bicubic"`, whose negative weights would divide by almost nothing.
        mask_update: which outputs are valid: `"any"` up(mask) > 0, `"all"` up(mask) == 1, a float t up(mask) >= t;
            `"inside"`, for padded batches, where the nearest input is.
        mask_channels: input channels covered by each mask channel; they add up to C.

    Returns:
        `(output, out_mask)`: (N, C, *O) in `input`'s dtype; out_mask (N or 1, M, *O) in the mask's dtype: where valid,
        1 for a hard mask and up(mask) for a soft one, else 0. None for None.

    Raises:
        TypeError, ValueError: what does not fit, by its argument's name; and what `F.interpolate` raises.

    Source: Knutsson and Westin, "Normalized and Differential Convolution", 1993, with interpolation for the
    convolution.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import masked_upsample
        >>> x = torch.tensor([[[2.0, float("nan"), 4.0]]])
        >>> y, out_mask = masked_upsample(x, ~x.isnan(), scale_factor=2, mode="linear")
        >>> y
        tensor([[[2., 2., 2., 4., 4., 4.]]])
    """
    return _upsample(
        "masked_upsample", input, mask, mask_update, mask_channels,
        dict(size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners,
             recompute_scale_factor=recompute_scale_factor),
    )  # fmt: skip


def _upsample(
    op: str,
    input: Tensor,
    mask: Tensor | None,
    mask_update: str | float,
    mask_channels: Sequence[int] | None,
    options: dict[str, Any],
) -> Pair:
    check_input(op, input)
    mode, modes = options["mode"], MODES[input.dim() - 2]
    if mode not in modes:
        raise ValueError(
            f"{op}: mode: got {mode!r} for input {tuple(input.shape)}, needs one of {', '.join(map(repr, modes))}"
        )
    parts = mask_parts(op, input, mask, mask_channels)
    share = parse_rule(op, mask_update)
    if mask is None:
        return F.interpolate(input, **options), None

    compute = compute_dtype(input)
    m = mask_values(mask, compute)
    weight = F.interpolate(m, **options)
    # What is missing has to be exactly 0, since weights that add up to 1 do so only up to rounding.
    valid = F.interpolate(1.0 - m, **options) == 0 if share == 1.0 else weight >= share
    valid = valid & (weight > 0)
    if mask_update == "inside":
        geometry = {key: options[key] for key in ("size", "scale_factor", "recompute_scale_factor")}
        nearest = "nearest" if mode == "nearest" else "nearest-exact"
        valid = valid & (F.interpolate(m, **geometry, mode=nearest) > 0)
    if mode in COPYING:
        output = F.interpolate(select(input, per_channel(mask, parts)), **options)
    else:
        total = F.interpolate(weigh(input.to(compute), mask, parts), **options)
        output = (total / per_channel(torch.where(weight != 0, weight, 1.0), parts)).to(input.dtype)
    out_mask = select(weight, valid) if is_soft(mask) else valid
    return select(output, per_channel(valid, parts)), out_mask.to(mask.dtype)


class MaskedUpsample(nn.Upsample):
    """Interpolation between valid positions, as `masked_upsample`; arguments of nn.Upsample.

    Called with `(input, mask=None)`, (N, C, *S) and (N or 1, M, *S), it returns `(output, out_mask)`. Without a mask it
    is nn.Upsample, and out_mask is None.

    Args:
        size, scale_factor, mode, align_corners, recompute_scale_factor: as nn.Upsample, without mode "bicubic".
        mask_update, mask_channels: keyword options of `masked_upsample`.

    Raises:
        TypeError, ValueError: an option or a mask that does not fit; the message names the argument.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedUpsample
        >>> x = torch.tensor([[[[2.0, float("nan")]]]])
        >>> MaskedUpsample(scale_factor=(1, 2), mode="bilinear", mask_update="all")(x, ~x.isnan())
        (tensor([[[[2., 0., 0., 0.]]]]), tensor([[[[ True, False, False, False]]]]))
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        *,
        mask_update: str | float = "any",
        mask_channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__(size, scale_factor, mode, align_corners, recompute_scale_factor)  # type: ignore[arg-type]
        op = type(self).__name__
        modes = dict.fromkeys(name for names in MODES.values() for name in names)
        if mode not in modes:
            raise ValueError(f"{op}: mode: got {mode!r}, needs one of {', '.join(map(repr, modes))}")
        parse_rule(op, mask_update)
        self.mask_update = mask_update
        self.mask_channels = parse_parts(op, mask_channels)

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Pair:  # type: ignore[override]
        options = dict(
            size=self.size, scale_factor=self.scale_factor, mode=self.mode, align_corners=self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )  # fmt: skip
        return _upsample(type(self).__name__, input, mask, self.mask_update, self.mask_channels, options)

    def extra_repr(self) -> str:
        rule = "" if self.mask_update == "any" else f", mask_update={self.mask_update!r}"
        parts = "" if self.mask_channels is None else f", mask_channels={self.mask_channels}"
        return super().extra_repr() + rule + parts
