"""Losses of each element by itself, and the reduction that all losses share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ..nn._checks import check_broadcast_mask, check_floating, check_mask, compute_dtype, mask_values, select
from ..nn._ranks import gather, several_ranks

REDUCTIONS = ("mean", "sum", "none")
Sync = Any  # bool, or a process group of torch.distributed


def masked_mean(values: Tensor, mask: Tensor | None = None, *, sync: Sync = False) -> Tensor:
    """Mean of the valid values: sum of m * values / sum of m; 0, with zero gradient, where nothing is valid.

    Args:
        values: any shape, floating.
        mask: as many dimensions as `values`, each of the same size or 1; bool, uint8 or floating (weights, which get a
            gradient). None: the mean of all values, 0 of none.
        sync: as in `masked_loss`.

    Returns:
        A scalar, float32, or float64 for float64.

    Raises:
        TypeError, ValueError: naming the argument, what it got and what it needs.

    Example:
        >>> import torch
        >>> from maskconv_ext.losses import masked_mean
        >>> values = torch.tensor([1.0, float("nan"), 3.0])
        >>> masked_mean(values, ~values.isnan())
        tensor(2.)
    """
    op = "masked_mean"
    check_reduction(op, "mean", sync)
    if not isinstance(values, Tensor):
        raise TypeError(f"{op}: values: got {type(values).__name__}, needs a Tensor")
    check_floating(op, values, "values")
    check_broadcast_mask(op, values, mask, "values")
    return reduce_values(values, mask, "mean", sync=sync)


def masked_loss(
    loss_fn: Callable[..., Tensor],
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    reduction: str = "mean",
    sync: Sync = False,
    **options: Any,
) -> Tensor:
    """Any elementwise loss over the valid positions.

    Equivalent, for a hard mask that covers every element and `"mean"`, to
    `loss_fn(input[mask], target[mask], reduction="mean", **options)`.

    Args:
        loss_fn: of torch.nn.functional or alike, elementwise: called as
            `loss_fn(input, target, reduction="none", **options)`, with 0 in the holes of both. A module, made with
            reduction="none", is called as `loss_fn(input, target, **options)`.
        input, target: (N, C, *S), of one shape.
        mask: (N or 1, 1 or C, *S), or None; bool, uint8 or floating (weights, which get a gradient).
        reduction: `"mean"`, `"sum"` or `"none"`.
        sync: the mean over the valid positions of all ranks of torch.distributed, or of a process group's, which all
            call this together: the loss that one process has on the joint batch. Its gradients are such that their
            average over the ranks, which DistributedDataParallel takes, is that process's. (The average of the ranks'
            own means is not where they have different numbers of valid positions.) Alone, it changes nothing.
        options: more arguments of `loss_fn`.

    Returns:
        A scalar, float32 or float64; for `"none"` (N, C, *S) in the loss's dtype.

    Raises:
        TypeError, ValueError: naming the argument, what it got and what it needs.

    Example:
        >>> import torch
        >>> import torch.nn.functional as F
        >>> from maskconv_ext.losses import masked_loss
        >>> target = torch.tensor([[[1.0, float("nan"), 3.0]]])
        >>> masked_loss(F.huber_loss, torch.zeros(1, 1, 3), target, ~target.isnan(), delta=0.5)
        tensor(0.8750)
    """
    return _masked_loss("masked_loss", loss_fn, input, target, mask, reduction, sync, options)


def masked_mse(
    input: Tensor, target: Tensor, mask: Tensor | None = None, *, reduction: str = "mean", sync: Sync = False
) -> Tensor:
    """`masked_loss` with F.mse_loss.

    Example:
        >>> import torch
        >>> from maskconv_ext.losses import masked_mse
        >>> target = torch.tensor([[[1.0, float("nan"), 3.0]]])
        >>> masked_mse(torch.zeros(1, 1, 3), target, ~target.isnan())
        tensor(5.)
    """
    return _masked_loss("masked_mse", F.mse_loss, input, target, mask, reduction, sync, {})


def masked_l1(
    input: Tensor, target: Tensor, mask: Tensor | None = None, *, reduction: str = "mean", sync: Sync = False
) -> Tensor:
    """`masked_loss` with F.l1_loss.

    Example:
        >>> import torch
        >>> from maskconv_ext.losses import masked_l1
        >>> target = torch.tensor([[[1.0, float("nan"), 3.0]]])
        >>> masked_l1(torch.zeros(1, 1, 3), target, ~target.isnan())
        tensor(2.)
    """
    return _masked_loss("masked_l1", F.l1_loss, input, target, mask, reduction, sync, {})


def masked_bce_with_logits(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: str = "mean",
    sync: Sync = False,
) -> Tensor:
    """`masked_loss` with F.binary_cross_entropy_with_logits; the target may be bool.

    `weight` and `pos_weight` broadcast to the input.

    Example:
        >>> import torch
        >>> from maskconv_ext.losses import masked_bce_with_logits
        >>> target = torch.tensor([[[1.0, float("nan"), 0.0]]])
        >>> masked_bce_with_logits(torch.zeros(1, 1, 3), target, ~target.isnan())
        tensor(0.6931)
    """
    options = {"weight": weight, "pos_weight": pos_weight}
    if isinstance(target, Tensor) and target.dtype == torch.bool:
        target = target.to(input.dtype)
    loss_fn = F.binary_cross_entropy_with_logits
    return _masked_loss("masked_bce_with_logits", loss_fn, input, target, mask, reduction, sync, options)


class MaskedLoss(nn.Module):
    """`masked_loss` as a module: `forward(input, target, mask=None)`.

    Args:
        loss_fn: elementwise, as for `masked_loss`.
        reduction: `"mean"`, `"sum"` or `"none"`.
        sync: as in `masked_loss`.
        options: more arguments of `loss_fn`; tensors among them stay on their device.

    Example:
        >>> import torch
        >>> import torch.nn.functional as F
        >>> from maskconv_ext.losses import MaskedLoss
        >>> MaskedLoss(F.smooth_l1_loss, beta=0.5)
        MaskedLoss(smooth_l1_loss, reduction='mean', beta=0.5)
    """

    def __init__(
        self, loss_fn: Callable[..., Tensor], *, reduction: str = "mean", sync: Sync = False, **options: Any
    ) -> None:
        super().__init__()
        check_reduction(type(self).__name__, reduction, sync)
        self.loss_fn = loss_fn
        self.reduction = reduction
        self.sync = sync
        self.options = options

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        op = type(self).__name__
        return _masked_loss(op, self.loss_fn, input, target, mask, self.reduction, self.sync, self.options)

    def extra_repr(self) -> str:
        name = getattr(self.loss_fn, "__name__", repr(self.loss_fn))
        options = {"reduction": self.reduction, **({"sync": True} if self.sync else {}), **self.options}
        return ", ".join([name, *(f"{key}={value!r}" for key, value in options.items())])


def _masked_loss(
    op: str,
    loss_fn: Callable[..., Tensor],
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    reduction: str,
    sync: Sync,
    options: dict[str, Any],
) -> Tensor:
    check_mask(op, input, mask)
    check_same(op, input, target)
    check_reduction(op, reduction, sync)
    if not callable(loss_fn):
        raise TypeError(f"{op}: loss_fn: got {type(loss_fn).__name__}, needs a function or a module")
    unreduced = {} if isinstance(loss_fn, nn.Module) else {"reduction": "none"}
    losses = loss_fn(select(input, mask), select(target, mask), **unreduced, **options)
    if losses.shape != input.shape:
        raise ValueError(
            f"{op}: loss_fn: made shape {tuple(losses.shape)} of {tuple(input.shape)}, needs an elementwise loss, "
            f"without reduction"
        )
    return reduce_values(losses, mask, reduction, sync=sync)


def reduce_values(
    values: Tensor, mask: Tensor | None, reduction: str, weight: Tensor | None = None, sync: Sync = False
) -> Tensor:
    """`weight` takes part in the divisor of the mean only: the values have it already."""
    values = select(values, mask)
    dtype = compute_dtype(values)
    m = torch.ones((), dtype=dtype, device=values.device) if mask is None else mask_values(mask, dtype)
    weighted = values.to(dtype) * m
    if reduction == "none":
        return weighted.to(values.dtype)
    total = weighted.sum()
    if reduction == "sum":
        return total
    shares = m if weight is None else m * weight.to(dtype)
    count = shares.expand(values.shape).sum()
    if sync:
        total, count = sum_over_ranks(torch.stack([total, count]), sync).unbind()
    return total / torch.where(count != 0, count, 1.0)


def sum_over_ranks(tensor: Tensor, sync: Sync) -> Tensor:
    """The gradient is the sum of what all ranks ask for, so that its average over the ranks is that of one process."""
    group = None if isinstance(sync, bool) else sync
    return gather(tensor, group).sum(0) if sync and several_ranks(group) else tensor


def check_reduction(op: str, reduction: str, sync: Sync = False) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"{op}: reduction: got {reduction!r}, needs one of {', '.join(map(repr, REDUCTIONS))}")
    if not isinstance(sync, bool) and not (dist.is_available() and isinstance(sync, dist.ProcessGroup)):
        raise TypeError(f"{op}: sync: got {type(sync).__name__}, needs a bool, or a process group of torch.distributed")
    if sync and reduction != "mean":
        raise ValueError(f"{op}: sync: got {sync!r} with reduction {reduction!r}, needs reduction 'mean'")


def check_same(op: str, input: Tensor, target: Tensor) -> None:
    if not isinstance(target, Tensor):
        raise TypeError(f"{op}: target: got {type(target).__name__}, needs a Tensor")
    if target.shape != input.shape:
        raise ValueError(f"{op}: target: got shape {tuple(target.shape)}, needs {tuple(input.shape)}, that of input")
    check_device(op, "target", target, input)


def check_device(op: str, name: str, value: Tensor, input: Tensor) -> None:
    if value.device != input.device:
        raise ValueError(f"{op}: {name}: got device {value.device}, needs {input.device}, the device of input")
