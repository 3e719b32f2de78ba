"""Carrying (x, mask) through a network: one layer after another, sums and concatenations."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..arguments import parse_parts
from ._checks import Pair, channel_mask, check_input, mask_parts, mask_values, per_channel, select

# Modules that compute every position by itself, and whether they map 0 to 0: holes then stay 0 by themselves.
_ELEMENTWISE: dict[type[nn.Module], bool] = dict.fromkeys(
    (nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
     nn.Mish, nn.Hardswish, nn.Tanh, nn.Softsign, nn.Softshrink, nn.Hardshrink, nn.Tanhshrink,
     nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), True,
) | dict.fromkeys(
    (nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid, nn.Softplus, nn.Hardtanh, nn.Threshold, nn.AlphaDropout,
     nn.FeatureAlphaDropout), False,
)  # fmt: skip


def register_elementwise(module_class: type[nn.Module], maps_zero_to_zero: bool = False) -> None:
    """Let `MaskedSequential` take modules of this class, which compute every position by itself and know no mask.

    The holes of their output are put back to 0, unless `maps_zero_to_zero`.
    """
    if not (isinstance(module_class, type) and issubclass(module_class, nn.Module)):
        raise TypeError(f"register_elementwise: module_class: got {module_class!r}, needs a class of nn.Module")
    _ELEMENTWISE[module_class] = maps_zero_to_zero


def is_mask_aware(module: nn.Module) -> bool:
    """Whether the module's forward has an argument `mask`: `forward(x, mask=None) -> (y, mask)`."""
    module = getattr(module, "_orig_mod", module)  # what torch.compile wrapped
    return "mask" in inspect.signature(module.forward).parameters


def _keeps_zero(module: nn.Module) -> bool | None:
    """Whether an elementwise module maps 0 to 0; None for a module that is not known to be elementwise."""
    return next((_ELEMENTWISE[base] for base in type(module).__mro__ if base in _ELEMENTWISE), None)


class MaskedSequential(nn.Sequential):
    """nn.Sequential that carries the mask along: `(x, mask=None) -> (y, mask)`, with the same state_dict.

    A child whose forward has an argument `mask` gets it and returns (y, mask). An elementwise child of torch.nn, such
    as an activation or dropout, gets x alone, with 0 in the holes, and the holes of what it returns are 0 too; others
    are made known by `register_elementwise`.

    Raises:
        TypeError: a child is neither, or did not return (y, mask); the message names its path. Nothing has been
            computed in the first case.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from maskconv_ext.nn import MaskedConv2d, MaskedMaxPool2d, MaskedSequential
        >>> body = MaskedSequential(MaskedConv2d(3, 8, 3, padding=1), nn.ReLU(), MaskedMaxPool2d(2))
        >>> y, mask = body(torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8) < 0.5)
        >>> y.shape, mask.shape
        (torch.Size([1, 8, 4, 4]), torch.Size([1, 1, 4, 4]))
    """

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Pair:
        self._check_children("")
        for name, child in self.named_children():
            if is_mask_aware(child):
                result = child(input, mask)
                if not isinstance(result, tuple) or len(result) != 2:
                    raise TypeError(
                        f"MaskedSequential: child {name!r}: got {type(result).__name__}, needs to return (output, mask)"
                    )
                input, mask = result
            elif mask is None:
                input = child(input)
            else:
                # The holes are emptied before as well: NaN there would turn into gradients of NaN.
                valid = channel_mask(f"MaskedSequential: child {name!r}", input, mask)
                input = child(select(input, valid))
                input = input if _keeps_zero(child) else select(input, valid)
        return input, mask

    def _check_children(self, prefix: str) -> None:
        for name, child in self.named_children():
            if isinstance(child, MaskedSequential):
                child._check_children(f"{prefix}{name}.")
            elif not is_mask_aware(child) and _keeps_zero(child) is None:
                raise TypeError(
                    f"MaskedSequential: child {prefix + name!r}: got {type(child).__name__}, needs a module whose "
                    f"forward takes a mask, or an elementwise one; use the masked form of this module, or call "
                    f"register_elementwise({type(child).__name__}) if it computes every position by itself"
                )


class MaskedAdd(nn.Module):
    """Sum of what is valid, for residual connections: `((x1, m1), (x2, m2), …) -> (y, mask)`.

    `mask_update="any"`: valid where any term is, y the sum of those that are, the mask their maximum. `"all"`: valid
    where every term is, the mask their minimum, y = 0 elsewhere. Terms are selected, not weighted, by soft masks.

    Args:
        mask_update: `"any"` or `"all"`.
        mask_channels: channels of x covered by each mask channel, where masks have neither 1 nor C; they add up to C.

    Shapes:
        x: (N, C, *S), the same for all; masks (N or 1, M, *S) or None, M = 1 beside any other. out_mask: bool or uint8
        as the masks, or floating if one of them is; None where nothing can be invalid.

    Raises:
        TypeError, ValueError: a pair that does not fit, by its number.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedAdd
        >>> x1, x2 = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[10.0, float("nan")]]])
        >>> MaskedAdd()((x1, None), (x2, ~x2.isnan()))
        (tensor([[[11.,  2.]]]), None)
        >>> MaskedAdd("all")((x1, None), (x2, ~x2.isnan()))
        (tensor([[[11.,  0.]]]), tensor([[[ True, False]]]))
    """

    def __init__(self, mask_update: str = "any", *, mask_channels: Sequence[int] | None = None) -> None:
        super().__init__()
        if mask_update not in ("any", "all"):
            raise ValueError(f"MaskedAdd: mask_update: got {mask_update!r}, needs 'any' or 'all'")
        self.mask_update = mask_update
        self.mask_channels = parse_parts("MaskedAdd", mask_channels)

    def forward(self, *pairs: Pair) -> Pair:
        parts = _parts_of_pairs("MaskedAdd", pairs, self.mask_channels)
        shape = pairs[0][0].shape
        for i, (x, _) in enumerate(pairs):
            if x.shape != shape:
                raise ValueError(
                    f"MaskedAdd: input {i}: got shape {tuple(x.shape)}, needs {tuple(shape)}, the shape of input 0"
                )
        terms = _valid_parts(pairs, parts)
        output = terms[0]
        for term in terms[1:]:
            output = output + term

        masks = [mask for _, mask in pairs if mask is not None]
        if not masks or (self.mask_update == "any" and len(masks) < len(pairs)):
            return output, None
        masks = _as_one_dtype(masks)
        merge = torch.maximum if self.mask_update == "any" else torch.minimum
        out_mask = masks[0]
        for mask in masks[1:]:
            # A branch that kept its mask leaves the sum the same tensor, by which later layers share a plan.
            out_mask = out_mask if mask is out_mask else merge(out_mask, mask)
        if self.mask_update == "all":
            output = select(output, per_channel(out_mask, self.mask_channels or (1,) * shape[1]))
        return output, out_mask

    def extra_repr(self) -> str:
        parts = "" if self.mask_channels is None else f", mask_channels={self.mask_channels}"
        return f"mask_update={self.mask_update!r}{parts}"


class MaskedCat(nn.Module):
    """Concatenation along channels, for skip connections: `((x1, m1), (x2, m2), …) -> (x, mask)`.

    The masks are concatenated as they are, (N or 1, M1 + M2 + …, *S): a part keeps its own mask, without a copy of it
    for each of its channels. The masked convolution that follows is told which channels each covers:
    `MaskedConv2d(C1 + C2, …, mask_channels=(C1, C2))`, for tensors at hand `mask_channels_of(pair, …)`. A None among
    masks becomes ones; all None stay None.

    Holes of x are set to 0. The mask is floating if one of the masks is.

    Raises:
        TypeError, ValueError: a pair that does not fit, by its number.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedCat, MaskedConv2d, mask_channels_of
        >>> up = torch.rand(1, 8, 4, 4), None
        >>> skip = torch.rand(1, 3, 4, 4), torch.rand(1, 1, 4, 4) < 0.5
        >>> x, mask = MaskedCat()(up, skip)
        >>> x.shape, mask.shape, mask_channels_of(up, skip)
        (torch.Size([1, 11, 4, 4]), torch.Size([1, 2, 4, 4]), (8, 3))
        >>> y, mask = MaskedConv2d(11, 4, 3, padding=1, mask_channels=(8, 3))(x, mask)
    """

    def forward(self, *pairs: Pair) -> Pair:
        parts = _parts_of_pairs("MaskedCat", pairs)
        first = pairs[0][0]
        for i, (x, _) in enumerate(pairs):
            if x.shape[0] != first.shape[0] or x.shape[2:] != first.shape[2:]:
                raise ValueError(
                    f"MaskedCat: input {i}: got shape {tuple(x.shape)}, needs the batch and spatial sizes of input 0, "
                    f"{tuple(first.shape)}"
                )
        inputs = _valid_parts(pairs, parts)
        masks = [mask for _, mask in pairs if mask is not None]
        if not masks:
            return torch.cat(inputs, 1), None
        ones = torch.ones_like(masks[0][:1, :1])
        masks = _as_one_dtype([ones if mask is None else mask for _, mask in pairs])
        batch = max(mask.shape[0] for mask in masks)
        return torch.cat(inputs, 1), torch.cat([mask.expand(batch, *mask.shape[1:]) for mask in masks], 1)


def mask_channels_of(*pairs: Pair) -> tuple[int, ...]:
    """The `mask_channels` of what `MaskedCat` makes of these pairs (x, mask): channels covered by each mask channel.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import mask_channels_of
        >>> x, mask = torch.rand(1, 2, 5), torch.ones(1, 2, 5)
        >>> mask_channels_of((x, mask), (x, mask[:, :1]), (x, None))
        (1, 1, 2, 2)
    """
    return tuple(part for parts in _parts_of_pairs("mask_channels_of", pairs) for part in parts)


def _parts_of_pairs(
    op: str, pairs: Sequence[Pair], mask_channels: Sequence[int] | None = None
) -> list[tuple[int, ...]]:
    """The channels that each mask channel covers, of every pair, all of which are checked."""
    if not pairs:
        raise ValueError(f"{op}: got no inputs, needs pairs (x, mask)")
    for i, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"{op}: input {i}: got {type(pair).__name__}, needs a pair (x, mask); mask may be None")
        check_input(f"{op}: input {i}", pair[0])
    parts = []
    for i, (x, mask) in enumerate(pairs):
        parts.append(mask_parts(f"{op}: input {i}", x, mask, mask_channels))
    return parts


def _valid_parts(pairs: Sequence[Pair], parts: Sequence[Sequence[int]]) -> list[Tensor]:
    """Each x, with 0 in its holes."""
    return [x if mask is None else select(x, per_channel(mask, of)) for (x, mask), of in zip(pairs, parts)]


def _as_one_dtype(masks: Sequence[Tensor]) -> list[Tensor]:
    """Bool if all are, uint8 if all are hard, else the floating dtype that holds them all."""
    dtype = torch.bool
    for mask in masks:
        dtype = torch.promote_types(dtype, mask.dtype)
    if dtype == torch.bool:
        return list(masks)
    if not dtype.is_floating_point:
        return [(mask != 0).to(dtype) for mask in masks]
    return [mask_values(mask, dtype) for mask in masks]
