"""Modules that work on each position by itself, beside a mask; and dropout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..arguments import parse_parts
from ._checks import channel_mask, check_floating, select


class Masked(nn.Module):
    """An elementwise module, such as an activation, beside a mask: 0 stays in the holes, and the mask passes.

        y = module(x where m != 0, else 0)    where m != 0, else 0

    so neither an activation that maps 0 elsewhere (sigmoid, softplus) nor NaN under a hole reaches the next layer, the
    module's parameters (PReLU) or a gradient.

    Args:
        module: keeps the shape of its input, and treats each position by itself.
        mask_channels: input channels covered by each mask channel, as in `masked_conv2d`.

    forward(x, mask=None):
        x: (N, C, *S). mask: (N or 1, M, *S) with M = 1, C or `len(mask_channels)`. None: the module alone.
        Returns `(y, mask)`.

    Raises:
        TypeError, ValueError: naming the argument, what it got and what it needs; a module that changes the shape.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import Masked
        >>> x = torch.tensor([[[0.0, float("nan")]]])
        >>> Masked(torch.nn.Sigmoid())(x, ~x.isnan())
        (tensor([[[0.5000, 0.0000]]]), tensor([[[ True, False]]]))
    """

    def __init__(self, module: nn.Module, *, mask_channels: Sequence[int] | None = None) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise TypeError(f"{type(self).__name__}: module: got {type(module).__name__}, needs an nn.Module")
        self.module = module
        self.mask_channels = parse_parts(type(self).__name__, mask_channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """`(y, mask)`; y holds 0 at invalid positions."""
        op = f"{type(self).__name__}({type(self.module).__name__})"
        m = channel_mask(op, x, mask, self.mask_channels)
        y = self.module(select(x, m))
        if y.shape != x.shape:
            raise ValueError(
                f"{op}: module: made shape {tuple(y.shape)} of {tuple(x.shape)}, needs to keep the shape; layers that "
                f"move positions have masked variants"
            )
        return select(y, m), mask


class MaskedDropout(nn.Dropout):
    """nn.Dropout beside a mask; or, with `drop_mask`, positions dropped into holes.

    Plain: values are zeroed with probability `p`, the others divided by 1 - p, and the mask passes. With `drop_mask`
    whole positions are, all channels together, and the mask says so: the layers that follow normalise by what is left,
    so nothing is divided by 1 - p. The identity in eval mode.

    Args:
        p, inplace: as nn.Dropout; `inplace` only where there are no holes to be put.
        drop_mask: drop positions from the mask.

    forward(x, mask=None):
        x: (N, C, *S). mask: (N or 1, M, *S), M any number of parts; None with `drop_mask` gives a bool mask (N, 1, *S).
        Returns `(y, mask)`; the mask keeps its dtype and channels. y holds 0 at invalid positions.

    Raises:
        TypeError, ValueError: naming the argument, what it got and what it needs.

    Source: Srivastava et al., "Dropout", 2014.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedDropout
        >>> _ = torch.manual_seed(0)
        >>> x = torch.ones(1, 2, 4)
        >>> y, mask = MaskedDropout(0.5, drop_mask=True)(x)
        >>> bool((y == mask).all())
        True
    """

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        *,
        drop_mask: bool = False,
        mask_channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__(p, inplace)
        self.drop_mask = drop_mask
        self.mask_channels = parse_parts(type(self).__name__, mask_channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """`(y, mask)`; y holds 0 at invalid positions."""
        op = type(self).__name__
        m = channel_mask(op, x, mask, self.mask_channels)
        check_floating(op, x)
        x = select(x, m)
        if not self.drop_mask:
            return super().forward(x), mask
        if not self.training:
            return x, mask
        kept = torch.rand((x.shape[0], 1, *x.shape[2:]), device=x.device) >= self.p
        return select(x, kept), kept if mask is None else mask.masked_fill(~kept, 0)

    def extra_repr(self) -> str:
        return super().extra_repr() + (", drop_mask=True" if self.drop_mask else "")
