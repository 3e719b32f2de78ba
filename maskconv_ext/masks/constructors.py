"""Hard masks from what marks the holes: probabilities, special values, NaN, lengths and sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ._checks import check_holds, check_tensor, is_int, is_number, per_axis

HOLES = ("any", "all", "each")


def from_probability(p: Tensor, threshold: float = 0.5) -> Tensor:
    """True where `p > threshold`; False where `p` is NaN.

    The step has no gradient. To train what gives `p`, pass `p` itself to a convolution: a floating mask is soft, and
    gets its gradient.

    Args:
        p: floating, any shape, usually (N, 1, *S); probabilities, not logits.
        threshold: in [0, 1).

    Returns:
        bool, in `p`'s shape.

    Raises:
        TypeError: `p` is not a floating tensor.
        ValueError: `threshold` is not in [0, 1).

    Example:
        >>> import torch
        >>> from maskconv_ext import masks
        >>> masks.from_probability(torch.tensor([0.2, 0.5, 0.7]))
        tensor([False, False,  True])
    """
    op = "from_probability"
    check_tensor(op, "p", p, minimum_dim=0)
    if not p.is_floating_point():
        raise TypeError(f"{op}: p: got {p.dtype}, needs a floating dtype")
    if not is_number(threshold) or not 0 <= threshold < 1:
        raise ValueError(f"{op}: threshold: got {threshold!r}, needs a number in [0, 1)")
    return p > threshold


def from_sentinel(x: Tensor, value: float, holes: str = "any") -> Tensor:
    """False where `x` holds the special value that marks a missing one, such as -9999, 0 or NaN.

    Args:
        x: (N, C, *S), any dtype.
        value: the mark, of `x`'s dtype; NaN is found too, although NaN != NaN.
        holes: `"any"`: a position is a hole where any channel holds the value; `"all"`: where all do, as the black
            (0, 0, 0) around a rotated image; `"each"`: every channel has a mask of its own.

    Returns:
        bool, (N, 1, *S); (N, C, *S) for `"each"`.

    Raises:
        TypeError: `x` is not a tensor, `value` not a number.
        ValueError: `x` has no channels, its dtype does not hold `value` (-1 in uint8), `holes` is none of the three.

    Example:
        >>> import torch
        >>> from maskconv_ext import masks
        >>> depth = torch.tensor([[[0.7, -9999.0, 0.9]]])
        >>> masks.from_sentinel(depth, -9999)
        tensor([[[ True, False,  True]]])
    """
    op = "from_sentinel"
    _check_channels(op, x, holes)
    check_holds(op, "value", value, x.dtype)
    return _reduce(~x.isnan() if math.isnan(value) else x != value, holes)


def from_finite(x: Tensor, holes: str = "any") -> Tensor:
    """False where `x` is NaN or infinite.

    Args:
        x: (N, C, *S), any dtype.
        holes: as in `from_sentinel`.

    Returns:
        bool, (N, 1, *S); (N, C, *S) for `"each"`.

    Raises:
        TypeError, ValueError: as `from_sentinel`.

    Example:
        >>> import torch
        >>> from maskconv_ext import masks
        >>> masks.from_finite(torch.tensor([[[1.0, float("nan"), float("inf")]]]))
        tensor([[[ True, False, False]]])
    """
    _check_channels("from_finite", x, holes)
    return _reduce(x.isfinite(), holes)


def from_lengths(
    lengths: Tensor | Sequence[int], max_length: int | None = None, *, device: torch.device | str | None = None
) -> Tensor:
    """True on the first `lengths[n]` samples of sequence n.

    Args:
        lengths: (N,) ints, between 0 and `max_length`. Values on the CPU are checked; those on a device are not, since
            that would wait for it.
        max_length: L; the longest of `lengths` by default, which waits for the device.
        device: where the mask goes; that of `lengths` by default.

    Returns:
        bool, (N, 1, L).

    Raises:
        TypeError: `lengths` does not hold ints.
        ValueError: a shape or a length that does not fit.

    Example:
        >>> from maskconv_ext import masks
        >>> masks.from_lengths([1, 3])
        tensor([[[ True, False, False]],
        <BLANKLINE>
                [[ True,  True,  True]]])
    """
    op = "from_lengths"
    lengths = _int_tensor(op, "lengths", lengths, device)
    if lengths.dim() != 1:
        raise ValueError(f"{op}: lengths: got shape {tuple(lengths.shape)}, needs (N,)")
    if max_length is None:
        if not lengths.numel():
            raise ValueError(f"{op}: lengths: got none, needs at least one, or max_length")
        max_length = int(lengths.max())
    elif not is_int(max_length) or max_length < 0:
        raise ValueError(f"{op}: max_length: got {max_length!r}, needs an int >= 0")
    return _boxes(op, "lengths", lengths[:, None], (max_length,))


def from_sizes(
    sizes: Tensor | Sequence[Sequence[int]], size: int | Sequence[int], *, device: torch.device | str | None = None
) -> Tensor:
    """True on the first `sizes[n]` pixels of each axis of image n: what is not padding, where that is last.

    Args:
        sizes: (N, rank) ints, between 0 and `size`; checked where they are on the CPU, as in `from_lengths`.
        size: of the padded batch, one int an axis: (H, W).
        device: where the mask goes; that of `sizes` by default.

    Returns:
        bool, (N, 1, *size).

    Raises:
        TypeError: `sizes` does not hold ints.
        ValueError: a shape or a size that does not fit.

    Example:
        >>> from maskconv_ext import masks
        >>> masks.from_sizes([(1, 2), (2, 3)], (2, 3))[:, 0].int()
        tensor([[[1, 1, 0],
                 [0, 0, 0]],
        <BLANKLINE>
                [[1, 1, 1],
                 [1, 1, 1]]], dtype=torch.int32)
    """
    op = "from_sizes"
    sizes = _int_tensor(op, "sizes", sizes, device)
    if sizes.dim() != 2 or sizes.shape[1] < 1:
        raise ValueError(f"{op}: sizes: got shape {tuple(sizes.shape)}, needs (N, rank)")
    return _boxes(op, "sizes", sizes, per_axis(op, "size", size, sizes.shape[1]))


def _boxes(op: str, name: str, sizes: Tensor, size: tuple[int, ...]) -> Tensor:
    if sizes.device.type == "cpu" and not torch.compiler.is_compiling():
        wrong = ((sizes < 0) | (sizes > sizes.new_tensor(size))).any(1).nonzero()
        if len(wrong):
            n = int(wrong[0])
            raise ValueError(f"{op}: {name}: got {sizes[n].tolist()} for sample {n}, needs 0 to {list(size)}")
    rank = len(size)
    mask = torch.ones((), dtype=torch.bool, device=sizes.device)
    for axis, side in enumerate(size):
        position = torch.arange(side, device=sizes.device).view(-1, *[1] * (rank - 1 - axis))
        mask = mask & (position < sizes[:, axis].view(-1, *[1] * (rank + 1)))
    return mask


def _int_tensor(op: str, name: str, values: object, device: torch.device | str | None) -> Tensor:
    try:
        tensor = torch.as_tensor(values, device=device)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{op}: {name}: got {values!r}, needs ints") from None
    if tensor.dtype.is_floating_point and not tensor.numel():
        tensor = tensor.long()  # what an empty list becomes
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex or tensor.dtype == torch.bool:
        raise TypeError(f"{op}: {name}: got {tensor.dtype}, needs ints")
    return tensor


def _check_channels(op: str, x: Tensor, holes: str) -> None:
    check_tensor(op, "x", x)
    if holes not in HOLES:
        raise ValueError(f"{op}: holes: got {holes!r}, needs one of {', '.join(map(repr, HOLES))}")


def _reduce(valid: Tensor, holes: str) -> Tensor:
    """A channel's validity to a position's: any hole leaves what is valid in all channels."""
    if holes == "each":
        return valid
    return valid.all(1, keepdim=True) if holes == "any" else valid.any(1, keepdim=True)
