"""Products of tensors with masks: gates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._checks import Pair, check_broadcast_mask, select
from .containers import _as_one_dtype


class MaskedMul(nn.Module):
    """Product of what is valid, for gates: `((x1, m1), (x2, m2), …) -> (y, mask)`; shapes broadcast.

    Valid where every factor is, y = 0 elsewhere, the mask the minimum of the masks. So a gate (N, C, 1, 1) made of the
    mean over what is valid, as in squeeze-and-excitation, leaves the mask of what it multiplies.

    Shapes:
        x: (N, C, *S), broadcast to each other; masks with as many dimensions, each of x's size or 1, or None.
        out_mask: (N or 1, 1 or C, *S), bool or uint8 as the masks, or floating if one of them is; None where all are
        None.

    Raises:
        TypeError, ValueError: a pair that does not fit, by its number.

    Source: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", 2018 (the gate).

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedMul
        >>> x, gate = torch.tensor([[[1.0, float("nan"), 3.0]]]), torch.tensor([[[0.5]]])
        >>> MaskedMul()((x, ~x.isnan()), (gate, None))
        (tensor([[[0.5000, 0.0000, 1.5000]]]), tensor([[[ True, False,  True]]]))
    """

    def forward(self, *pairs: Pair) -> Pair:
        if not pairs:
            raise ValueError("MaskedMul: got no inputs, needs pairs (x, mask)")
        for i, pair in enumerate(pairs):
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise TypeError(f"MaskedMul: input {i}: got {type(pair).__name__}, needs a pair (x, mask)")
            if not isinstance(pair[0], Tensor):
                raise TypeError(f"MaskedMul: input {i}: got {type(pair[0]).__name__}, needs a Tensor")
            check_broadcast_mask(f"MaskedMul: input {i}", *pair)
            if pair[0].dim() != pairs[0][0].dim():
                raise ValueError(
                    f"MaskedMul: input {i}: got shape {tuple(pair[0].shape)}, needs {pairs[0][0].dim()} dimensions, as "
                    f"input 0"
                )
        output = self.valid_part(*pairs[0])
        for pair in pairs[1:]:
            output = self.combine(output, self.valid_part(*pair))
        masks = [mask for _, mask in pairs if mask is not None]
        if not masks:
            return output, None
        masks = _as_one_dtype(masks)
        out_mask = masks[0]
        for mask in masks[1:]:
            out_mask = torch.minimum(out_mask, mask)
        out_mask = out_mask.expand(*out_mask.shape[:2], *output.shape[2:])
        return select(output, out_mask), out_mask

    def valid_part(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return select(x, mask)

    def combine(self, first: Tensor, second: Tensor) -> Tensor:
        return first * second
