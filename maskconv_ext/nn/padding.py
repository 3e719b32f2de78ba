"""Keeping padding what it is, under masks that grow."""

from __future__ import annotations

from torch import Tensor

from ..arguments import is_soft
from ..masks import resize
from ._checks import Pair, check_input, check_mask, check_mask_type, select


def confine(pair: Pair, inside: Tensor) -> Pair:
    """`(x, mask)`, of which only what is `inside` stays valid.

    Holes close from layer to layer (`mask_update="any"`), as they should; but so does the padding of a batch of unequal
    sizes, and what grew there reaches back into the image, which it does not where the image is alone. Confined after
    each layer that lets masks grow, interpolation included, an image comes out the same alone and in any batch:

        for layer in layers:
            x, mask = confine(layer(x, mask), inside)

    Layers whose masks do not grow (`mask_update` `"center"` or `"all"`, pooling without padding) need none of this.

    Args:
        pair: x (N, C, *S), and its mask (N or 1, M, *S) or None.
        inside: bool or uint8, (N or 1, 1, *T): what is image, and not padding, at the network's input. T is a multiple
            of S: a position of x is inside where any of those it stands for is. Padding to a multiple of the network's
            strides (`pad_collate(size_multiple=...)`) makes it one.

    Returns:
        `(x, mask)`: x with 0 outside; the mask in its own dtype, or in that of `inside` for None.

    Raises:
        TypeError, ValueError: naming the argument, what it got and what it needs.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedConv1d, confine
        >>> inside = torch.tensor([[[True, True, False, False]]])
        >>> x, mask = MaskedConv1d(1, 1, 3, padding=1)(torch.rand(1, 1, 4), inside)
        >>> mask
        tensor([[[ True,  True,  True, False]]])
        >>> x, mask = confine((x, mask), inside)
        >>> mask
        tensor([[[ True,  True, False, False]]])
    """
    op = "confine"
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{op}: pair: got {type(pair).__name__}, needs a pair (x, mask); mask may be None")
    x, mask = pair
    check_input(op, x)
    if mask is not None:
        check_mask_type(op, x, mask)
        check_mask(op, x, mask, parts=mask.shape[1] if mask.dim() > 1 else None)
    if not isinstance(inside, Tensor) or is_soft(inside):
        got = inside.dtype if isinstance(inside, Tensor) else type(inside).__name__
        raise TypeError(f"{op}: inside: got {got}, needs a Tensor of bool or uint8")
    multiple = inside.dim() == x.dim() and all(s and t and t % s == 0 for t, s in zip(inside.shape[2:], x.shape[2:]))
    if not multiple or inside.shape[0] not in (1, x.shape[0]) or inside.shape[1] != 1:
        raise ValueError(
            f"{op}: inside: got shape {tuple(inside.shape)} for input {tuple(x.shape)}, needs ({x.shape[0]} or 1, 1, "
            f"*T), T a multiple of {tuple(x.shape[2:])} along each axis"
        )
    if inside.shape[2:] != x.shape[2:]:
        inside = resize(inside, x.shape[2:], "any")
    return select(x, inside), inside if mask is None else mask.masked_fill(inside == 0, 0)
