"""Mean and variance over valid positions: what all normalisation layers share.

    weight    W  = sum of m
    mean      μ  = sum of m * x / W
    variance  σ² = sum of m * (x - μ)² / W

over the dimensions of one statistic, in two passes, in float32 (float64 for float64). Where W = 0, μ = σ² = 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..arguments import is_soft
from ._checks import compute_dtype, mask_values, select
from ._ranks import gather


class Moments(NamedTuple):
    weight: Tensor  # W
    positions: Tensor  # how many have m != 0: W of a hard mask
    mean: Tensor
    variance: Tensor
    deviation: Tensor  # x - μ, finite under holes too


def masked_moments(x: Tensor, mask: Tensor, dims: tuple[int, ...]) -> Moments:
    """Moments of `x` over `dims`, which stay as dimensions of size 1; `mask` broadcasts to `x`."""
    dtype = compute_dtype(x)
    x, m = select(x, mask).to(dtype), mask_values(mask, dtype)
    weight = _sum_as(x, m, dims)
    positions = _sum_as(x, (mask != 0).to(dtype), dims) if is_soft(mask) else weight
    divisor = torch.where(weight != 0, weight, 1.0)
    mean = (x * m).sum(dims, keepdim=True) / divisor
    deviation = x - mean
    variance = (deviation.square() * m).sum(dims, keepdim=True) / divisor
    return Moments(weight, positions, mean, variance, deviation)


def _sum_as(x: Tensor, m: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Sum of `m`, broadcast to `x`, without writing it that large."""
    total = m.sum(dims, keepdim=True)
    for d in dims:
        if m.shape[d] != x.shape[d]:
            total = total * x.shape[d]
    return total


def scaled(moments: Moments, eps: float, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """(x - μ) / sqrt(σ² + eps) * weight + bias; the latter two broadcast to x."""
    dtype = moments.deviation.dtype
    scale = torch.rsqrt(moments.variance + eps)
    output = moments.deviation * (scale if weight is None else scale * weight.to(dtype))
    return output if bias is None else output + bias.to(dtype)


def along_channels(parameter: Tensor | None, dim: int) -> Tensor | None:
    """(C,) as (1, C, 1, …) of `dim` dimensions."""
    return None if parameter is None else parameter.view(1, -1, *[1] * (dim - 2))


@torch.no_grad()
def update_running(running_mean: Tensor, running_var: Tensor, moments: Moments, factor: float | Tensor) -> None:
    """running = (1 - factor) * running + factor * value, with the mean and the unbiased variance.

    The values are averaged over the samples, dimension 0. One valid value tells no variance, so only samples with two
    or more take part, and a channel without any keeps its running statistics.
    """
    n = moments.positions
    known = (n >= 2).expand_as(moments.mean).flatten(1)
    samples = known.sum(0)
    unbiased = moments.variance * (n / (n - 1).clamp(min=1))
    for running, value in ((running_mean, moments.mean), (running_var, unbiased)):
        average = torch.where(known, value.flatten(1), 0.0).sum(0) / samples.clamp(min=1)
        updated = (1 - factor) * running + factor * average.to(running.dtype)
        running.copy_(torch.where(samples > 0, updated, running))


def across_ranks(local: Moments, group: Any) -> Moments:
    """Moments over the valid positions of all ranks, from those of each (Chan, Golub and LeVeque, 1979).

    Ranks may have any numbers of valid positions, none included. One exchange forward, one backward.
    """
    table = torch.stack([t.expand_as(local.mean) for t in (local.weight, local.positions, local.mean, local.variance)])
    weights, positions, means, variances = gather(table, group).unbind(1)
    weight = weights.sum(0)
    share = weights / torch.where(weight != 0, weight, 1.0)
    mean = (share * means).sum(0)
    variance = (share * (variances + (means - mean).square())).sum(0)
    return Moments(weight, positions.sum(0), mean, variance, local.deviation + (local.mean - mean))
