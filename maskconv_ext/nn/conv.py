"""Masked convolutions as modules: torch.nn's, with a mask beside the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _LazyConvXdMixin

from ..arguments import NORMALIZATIONS, check_choice, check_pad_is_valid, parse_fill, parse_mask_update, parse_parts
from ..functional import masked_conv1d, masked_conv2d, masked_conv3d
from ..geometry import per_axis
from ..mask_plan import MaskPlan
from ._checks import Pair, check_is_tensor, mask_parts, per_channel, select
from ._inside import check_inside, inside_mask, rule_inside

if TYPE_CHECKING:
    from typing_extensions import Self

FUNCTIONS = {1: masked_conv1d, 2: masked_conv2d, 3: masked_conv3d}
# The normalisations whose scale is 1 over a full window.
UNSCALED_WHEN_FULL = ("ratio", "sqrt", "none")


class MaskOptions(_ConvNd):
    """What masked convolutions and transposed ones have in common: made from torch.nn's, and shown as these."""

    mask_defaults: ClassVar[dict[str, Any]]

    @classmethod
    def from_conv(cls, conv: Any, **mask_options: Any) -> Self:
        """The masked form of `conv`, a module of torch.nn, whose Parameters it shares; of a masked one the options too.

        Raises TypeError where `conv` is of another kind or rank, ValueError where its parameters are lazy or computed
        by a parametrization.
        """
        op = f"{cls.__name__}.from_conv"
        base: Any = next(c for c in cls.__mro__ if c.__module__ == _ConvNd.__module__)
        if not isinstance(conv, base):
            raise TypeError(f"{op}: conv: got {type(conv).__name__}, needs {base.__name__}")
        parameters = conv._parameters
        if "weight" not in parameters or "bias" not in parameters:
            raise ValueError(
                f"{op}: conv: got a computed weight or bias, needs plain Parameters; remove the parametrization first, "
                f"and apply it to the result"
            )
        if nn.parameter.is_lazy(parameters["weight"]):
            raise ValueError(f"{op}: conv: got a lazy module, needs one that has seen an input")
        if isinstance(conv, cls):
            mask_options = {name: getattr(conv, name) for name in cls.mask_defaults} | mask_options
        if conv.transposed:
            mask_options["output_padding"] = conv.output_padding
        masked = cls(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, dilation=conv.dilation,
            groups=conv.groups, bias=conv.bias is not None, padding_mode=conv.padding_mode, device="meta",
            **mask_options,
        )  # fmt: skip
        masked.weight, masked.bias = parameters["weight"], parameters["bias"]
        return masked.train(conv.training)

    def extra_repr(self) -> str:
        options = ((name, getattr(self, name), default) for name, default in self.mask_defaults.items())
        changed = [f"{name}={value!r}" for name, value, default in options if value != default]
        return ", ".join([super().extra_repr(), *changed])


class _MaskedConv(MaskOptions):
    """Options of the mask, checked when the module is made; the rest comes from torch.nn's class."""

    mask_defaults: ClassVar[dict[str, Any]] = {
        "normalization": "ratio", "mask_update": "any", "fill": 0.0, "pad_is_valid": False, "mask_channels": None
    }  # fmt: skip

    def __init__(
        self,
        *args: Any,
        normalization: str = "ratio",
        mask_update: str | float = "any",
        fill: float | str = 0.0,
        pad_is_valid: bool = False,
        mask_channels: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        op = type(self).__name__
        check_choice(op, "normalization", normalization, NORMALIZATIONS)
        if mask_update == "inside":
            check_inside(op, self.kernel_size, self.padding, self.dilation)
        else:
            parse_mask_update(op, mask_update)
        parse_fill(op, fill, self.weight.dtype)
        check_pad_is_valid(op, pad_is_valid)
        self.normalization = normalization
        self.mask_update = mask_update
        self.fill = fill
        self.pad_is_valid = pad_is_valid
        # A lazy layer does not know its channels yet.
        self.mask_channels = parse_parts(op, mask_channels, self.in_channels or None)

    def forward(self, input: Tensor, mask: Tensor | None = None, plan: MaskPlan | None = None) -> Pair:
        check_is_tensor(type(self).__name__, input)
        # torch.nn knows no "same" with strides.
        plain = self.padding != "same" or all(step == 1 for step in self.stride)
        unscaled = self.normalization in UNSCALED_WHEN_FULL and self.mask_update != "confidence"
        if mask is None and plan is None and unscaled and plain:
            return self._conv_forward(input, self.weight, self.bias), None
        output, out_mask = conv_by_rule(
            input, mask, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups,
            normalization=self.normalization, mask_update=self.mask_update, fill=self.fill,
            pad_is_valid=self.pad_is_valid, padding_mode=self.padding_mode, mask_channels=self.mask_channels, plan=plan,
        )  # fmt: skip
        return output, mask if self._keeps(mask, out_mask) else out_mask

    def _keeps(self, mask: Tensor | None, out_mask: Tensor | None) -> bool:
        """Whether every window's centre is the output's own position, so that both masks are equal.

        The layer then returns the tensor it was given: by it the layers that follow know that they can share a plan.
        """
        if mask is None or out_mask is None or mask.dtype != torch.bool or mask.shape[1] != 1:
            return False
        own_position = self.mask_update == "inside" or (
            self.mask_update == "center" and all(size % 2 for size in self.kernel_size)
        )
        return own_position and all(stride == 1 for stride in self.stride) and mask.shape == out_mask.shape


def conv_by_rule(
    input: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    mask_update: str | float,
    fill: float | str,
    pad_is_valid: bool,
    mask_channels: Sequence[int] | None = None,
    **options: Any,
) -> Pair:
    """A masked convolution by any rule, "inside" among them; without a mask its output has none either."""
    rank = weight.dim() - 2
    op, kernel = f"masked_conv{rank}d", tuple(weight.shape[2:])
    inside = mask_update == "inside"
    rule = mask_update
    if inside:
        strides, dilations = per_axis(op, "stride", stride, rank, 1), per_axis(op, "dilation", dilation, rank, 1)
        paddings = padding if isinstance(padding, str) else per_axis(op, "padding", padding, rank, 0)
        rule = rule_inside(kernel, strides, paddings, dilations) or "any"
    output, out_mask = FUNCTIONS[rank](
        input, mask, weight, bias, stride, padding, dilation, groups, mask_update=rule, fill=fill,
        # Without a mask nothing is missing, the padding included.
        pad_is_valid=pad_is_valid or mask is None, mask_channels=mask_channels, **options,
    )  # fmt: skip
    if mask is None:
        # Only the confidence in a filter whose weights sum to 0 is below 1 in a full window.
        return output, out_mask if mask_update == "confidence" else None
    if not inside or rule != "any":
        return output, out_mask
    parts = mask_parts(op, input, mask, mask_channels)
    valid = inside_mask(mask, kernel, strides, paddings, dilations, output.shape[2:])
    if len(parts) > 1:
        valid = per_channel(valid, parts).unflatten(1, (groups, -1)).amin(2)
    value: Any = fill
    if fill == "bias":
        value = 0.0 if bias is None else bias.view(-1, *[1] * rank)
    of_filter = valid if valid.shape[1] == 1 else valid.repeat_interleave(len(weight) // groups, 1)
    return select(output, of_filter, value), valid


class MaskedConv1d(_MaskedConv, nn.Conv1d):  # type: ignore[misc]
    """1-D convolution over the valid samples of (N, C, L); all else as `MaskedConv2d`."""


class MaskedConv2d(_MaskedConv, nn.Conv2d):  # type: ignore[misc]
    """2-D convolution over the valid pixels, as `maskconv_ext.masked_conv2d`; arguments and state_dict of nn.Conv2d.

    Called with `(input, mask=None, plan=None)`, it returns `(output, out_mask)`. Without a mask nothing is missing, the
    zero padding included, and it is nn.Conv2d (`"mean"` and `"weight"` keep their constant scale), with None for the
    output mask. An all-ones mask says instead that only the image is valid, so windows over the border are rescaled,
    unless `pad_is_valid`.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype: as
            nn.Conv2d.
        normalization, mask_update, fill, pad_is_valid, mask_channels: keyword options of `masked_conv2d`.
        mask_update: also `"inside"`, for padded batches: valid where the window, less the padding, is. The mask then
            never grows, and each image of a batch has the outputs that it has alone. It is `"all"` without padding and
            `"center"` with that which keeps the size.

    Shapes:
        input (N, C, H, W); mask (N or 1, M, H, W) with M = 1, C or `len(mask_channels)`, bool, uint8 or floating, or
        None. output (N, K, P, Q); out_mask in the mask's dtype, with 1 channel, or `groups` where channels have masks
        of their own. Under `mask_update="center"` a shared bool mask is returned itself where stride 1 and the padding
        keep every position its own. plan: as of `masked_conv2d`.

    Raises:
        TypeError, ValueError: an option or a mask that does not fit; the message names the argument.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedConv2d
        >>> image = torch.rand(1, 3, 8, 8)
        >>> image[..., :3] = float("nan")
        >>> conv = MaskedConv2d(3, 16, 3, padding=1, mask_update="all")
        >>> conv
        MaskedConv2d(3, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), mask_update='all')
        >>> output, out_mask = conv(image, image.isnan().logical_not().all(1, keepdim=True))
        >>> output.isfinite().all().item(), out_mask.shape
        (True, torch.Size([1, 1, 8, 8]))
    """


class MaskedConv3d(_MaskedConv, nn.Conv3d):  # type: ignore[misc]
    """3-D convolution over the valid voxels of (N, C, D, H, W); all else as `MaskedConv2d`."""


class _LazyMaskedConv(_LazyConvXdMixin):
    """in_channels from the first input; arguments else as the masked convolution's."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
        **mask_options: Any,
    ) -> None:
        factory = {"device": device, "dtype": dtype}
        # Without filters and bias at first: the parameters of this size would be thrown away.
        super().__init__(  # type: ignore[misc]
            0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, **factory, **mask_options
        )
        self.out_channels = out_channels
        self.weight = nn.UninitializedParameter(**factory)
        if bias:
            self.bias = nn.UninitializedParameter(**factory)

    def _get_num_spatial_dims(self) -> int:
        return len(self.kernel_size)


class LazyMaskedConv1d(_LazyMaskedConv, MaskedConv1d):  # type: ignore[misc]
    """A `MaskedConv1d` that takes in_channels from its first input, as nn.LazyConv1d."""

    cls_to_become = MaskedConv1d


class LazyMaskedConv2d(_LazyMaskedConv, MaskedConv2d):  # type: ignore[misc]
    """A `MaskedConv2d` that takes in_channels from its first input, as nn.LazyConv2d."""

    cls_to_become = MaskedConv2d


class LazyMaskedConv3d(_LazyMaskedConv, MaskedConv3d):  # type: ignore[misc]
    """A `MaskedConv3d` that takes in_channels from its first input, as nn.LazyConv3d."""

    cls_to_become = MaskedConv3d
