"""Losses of class labels, one a position."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import autocasts
from ..nn._checks import check_floating, check_mask, compute_dtype, mask_values, select
from .elementwise import REDUCTIONS, Sync, check_device, check_reduction, check_same, reduce_values, sum_over_ranks


def masked_cross_entropy(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    sync: Sync = False,
) -> Tensor:
    """F.cross_entropy over the positions that are valid and whose class is not `ignore_index`.

    The mean divides by the sum of m, or with class weights by the sum of m * weight[target], as F.cross_entropy does.

    Args:
        input: logits (N, C, *S).
        target: class numbers (N, *S), of an integer dtype.
        mask: (N or 1, 1, *S), or None; bool, uint8 or floating (weights, which get a gradient).
        weight: (C,), one weight a class, in the input's dtype.
        ignore_index: a class number to leave out.
        label_smoothing: as F.cross_entropy.
        reduction: `"mean"`, `"sum"` or `"none"`.
        sync: as in `masked_loss`.

    Returns:
        A scalar, float32 or float64; for `"none"` (N, *S) in the input's dtype.

    Raises:
        TypeError, ValueError: naming the argument, what it got and what it needs.

    Example:
        >>> import torch
        >>> from maskconv_ext.losses import masked_cross_entropy
        >>> logits, labels = torch.zeros(1, 2, 3), torch.tensor([[0, 1, 255]])
        >>> masked_cross_entropy(logits, labels, torch.tensor([[[True, True, False]]]))
        tensor(0.6931)
    """
    op = "masked_cross_entropy"
    check_mask(op, input, mask, parts=1)
    check_floating(op, input)
    check_reduction(op, reduction, sync)
    _check_classes(op, input, target)
    _check_weight(op, input, weight)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing: got {label_smoothing!r}, needs a number in [0, 1]")
    m, target = _without_ignored(input, target, mask, ignore_index)
    losses = F.cross_entropy(
        select(input, m.unsqueeze(1)),
        target,
        weight,
        ignore_index=ignore_index,
        reduction="none",
        label_smoothing=label_smoothing,
    )
    per_position = None if weight is None else weight[target.clamp(0, input.shape[1] - 1)]
    return reduce_values(losses, m, reduction, per_position, sync)


def masked_dice(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    smooth: float = 1.0,
    ignore_index: int = -100,
    per_sample: bool = False,
    reduction: str = "mean",
    sync: Sync = False,
) -> Tensor:
    """Soft Dice loss of each class over the valid positions.

    With p the probabilities, t the target as 0 and 1 (or probabilities), and sums over samples and positions:

        loss[c] = 1 - (2 * sum of m * p * t + smooth) / (sum of m * (p + t) + smooth)

    `smooth` keeps classes that do not occur from counting fully on a few wrong pixels; 0 gives the plain ratio, with
    loss 0 for a class found neither in p nor in t.

    Args:
        input: probabilities (N, C, *S): after softmax or sigmoid.
        target: class numbers (N, *S), or probabilities (N, C, *S), floating or bool.
        mask: (N or 1, 1, *S), or None; bool, uint8 or floating (weights, which get a gradient).
        smooth: added above and below, >= 0.
        ignore_index: a class number to leave out.
        per_sample: one ratio for each sample and class, instead of for each class of the batch; their mean leaves out
            samples without a valid position.
        reduction: `"mean"` or `"sum"` over the classes, or `"none"`.
        sync: sums over the samples of all ranks, as in `masked_loss`; with `per_sample`, the mean over them.

    Returns:
        A scalar; for `"none"` (C,), or (N, C) with `per_sample`. float32, or float64 for float64.

    Raises:
        TypeError, ValueError: naming the argument, what it got and what it needs.

    Source: Milletari, Navab and Ahmadi, "V-Net", 2016 (with p and t in place of their squares).

    Example:
        >>> import torch
        >>> from maskconv_ext.losses import masked_dice
        >>> labels = torch.tensor([[0, 1, 255]])
        >>> right = torch.tensor([[[1.0, 0.0, float("nan")], [0.0, 1.0, float("nan")]]])
        >>> masked_dice(right, labels, torch.tensor([[[True, True, False]]]))
        tensor(0.)
    """
    op = "masked_dice"
    check_mask(op, input, mask, parts=1)
    check_floating(op, input)
    # Over the classes any reduction will do; over samples of several ranks only the mean.
    check_reduction(op, "mean" if reduction in REDUCTIONS and not per_sample else reduction, sync)
    if isinstance(smooth, bool) or not isinstance(smooth, int | float) or not smooth >= 0:
        raise ValueError(f"{op}: smooth: got {smooth!r}, needs a number >= 0")
    dtype = compute_dtype(input)
    if isinstance(target, Tensor) and (target.is_floating_point() or target.dtype == torch.bool):
        check_same(op, input, target)
        m = input.new_ones([1] * input.dim(), dtype=torch.bool) if mask is None else mask
        t = select(target, m).to(dtype)
    else:
        _check_classes(op, input, target)
        m, target = _without_ignored(input, target, mask, ignore_index)
        m, target = m.unsqueeze(1), target.unsqueeze(1)
        classes = torch.arange(input.shape[1], device=input.device).view(1, -1, *[1] * (input.dim() - 2))
        t = (target == classes).to(dtype)
    p, weights = select(input, m).to(dtype), mask_values(m, dtype)
    above, below = (
        smooth + (table.sum(2) if per_sample else sum_over_ranks(table.sum((0, 2)), sync))
        for table in (values.unsqueeze(-1).flatten(2) for values in (2 * weights * p * t, weights * (p + t)))
    )
    found = below != 0
    losses = torch.where(found, 1 - above / torch.where(found, below, 1.0), 0.0)
    if not per_sample:
        return reduce_values(losses, None, reduction)
    known = (m != 0).expand(input.shape[0], -1, *input.shape[2:]).flatten(1).any(1, keepdim=True)
    return reduce_values(losses, known, reduction, sync=sync)


def _without_ignored(input: Tensor, target: Tensor, mask: Tensor | None, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Mask (N, *S) without the ignored positions, and the target with `ignore_index` in all holes."""
    target = target.long()  # a narrower dtype would wrap ignore_index
    if mask is None:
        return target != ignore_index, target
    m = mask.squeeze(1).expand(target.shape).masked_fill(target == ignore_index, 0)
    return m, target.masked_fill(m == 0, ignore_index)


def _check_weight(op: str, input: Tensor, weight: Tensor | None) -> None:
    if weight is None:
        return
    if not isinstance(weight, Tensor):
        raise TypeError(f"{op}: weight: got {type(weight).__name__}, needs a Tensor or None")
    if tuple(weight.shape) != (input.shape[1],):
        raise ValueError(f"{op}: weight: got shape {tuple(weight.shape)}, needs ({input.shape[1]},), one a class")
    if weight.dtype != input.dtype and not autocasts(input.device.type):
        raise TypeError(f"{op}: weight: got {weight.dtype}, needs {input.dtype}, the dtype of input")
    check_device(op, "weight", weight, input)


def _check_classes(op: str, input: Tensor, target: Tensor) -> None:
    if not isinstance(target, Tensor):
        raise TypeError(f"{op}: target: got {type(target).__name__}, needs a Tensor")
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"{op}: target: got {target.dtype}, needs class numbers of an integer dtype")
    needed = (input.shape[0], *input.shape[2:])
    if tuple(target.shape) != needed:
        raise ValueError(f"{op}: target: got shape {tuple(target.shape)}, needs {needed}, one class a position")
    check_device(op, "target", target, input)
