"""nn.Linear over the last dimension, beside a mask."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..functional import masked_conv1d
from ._checks import Pair, check_broadcast_mask, check_floating, check_is_tensor, select


class MaskedLinear(nn.Linear):
    """nn.Linear for each position of (*, C), channels last: a masked convolution with a kernel of one.

    Where the mask is shared by the channels, valid positions get what nn.Linear gives, and the others 0. Where channels
    have masks of their own the sum over those that are valid is scaled by how many there are, C / s, and the output is
    valid where any is, as in `masked_conv2d`. The state_dict is nn.Linear's.

    Args:
        in_features, out_features, bias, device, dtype: as nn.Linear.

    forward(x, mask=None):
        x: (*, C). mask: as many dimensions as x, each of x's size or 1; bool, uint8 or floating. None: nn.Linear.
        Returns `(y, mask)`: (*, K), 0 at invalid positions, and a mask whose last dimension is 1.

    Raises:
        TypeError, ValueError: naming the argument, what it got and what it needs.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedLinear
        >>> x = torch.tensor([[[1.0, 2.0], [float("nan"), 0.0]]])
        >>> y, mask = MaskedLinear(2, 3)(x, torch.tensor([[[True], [False]]]))
        >>> y.isfinite().all().item(), mask.shape
        (True, torch.Size([1, 2, 1]))
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Pair:  # type: ignore[override]
        """`(y, mask)`; y holds 0 at invalid positions."""
        op = type(self).__name__
        check_is_tensor(op, x)
        if x.dim() < 1 or x.shape[-1] != self.in_features:
            raise ValueError(f"{op}: input: got shape {tuple(x.shape)}, needs (*, {self.in_features})")
        check_floating(op, x)
        check_broadcast_mask(op, x, mask)
        return linear_over_positions(x, mask, self.weight, self.bias)


def linear_over_positions(x: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None = None) -> Pair:
    """`MaskedLinear`'s output of what was checked."""
    if mask is None:
        return F.linear(x, weight, bias), None
    if mask.shape[-1] == 1:
        return select(F.linear(select(x, mask), weight, bias), mask), mask
    mask = mask.expand(x.shape)
    rows = (-1, x.shape[-1], 1)
    y, out_mask = masked_conv1d(x.reshape(rows), mask.reshape(rows), weight.unsqueeze(-1), bias)
    return y.reshape(*x.shape[:-1], len(weight)), out_mask.reshape(*x.shape[:-1], 1)
