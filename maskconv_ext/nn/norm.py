"""Batch normalisation over valid positions, on one device or across ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import parse_parts
from ._checks import channel_mask, check_features, select
from ._moments import across_ranks, along_channels, masked_moments, scaled, update_running
from ._ranks import several_ranks


class _MaskedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """What the three ranks share: nn.BatchNorm*d's parameters and buffers, with a mask in forward."""

    dims: tuple[int, ...]  # how many dimensions the input may have

    def __init__(
        self,
        *args: Any,
        mask_channels: Sequence[int] | None = None,
        sync: bool = False,
        process_group: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.mask_channels = parse_parts(type(self).__name__, mask_channels, self.num_features)
        self.sync = sync
        self.process_group = process_group

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """`(y, mask)`; y has x's shape, dtype and memory format, and holds 0 at invalid positions."""
        op = type(self).__name__
        check_features(op, x, self.dims, self.num_features, "num_features")
        m = channel_mask(op, x, mask, self.mask_channels)
        synchronised = self.sync and self.training and several_ranks(self.process_group)
        batch_statistics = self.training or self.running_mean is None
        if not batch_statistics or (m is None and not synchronised):
            return select(super().forward(select(x, m)), m), mask
        if m is None:
            m = x.new_ones([1] * x.dim(), dtype=torch.bool)
        moments = masked_moments(x, m, (0, *range(2, x.dim())))
        if synchronised:
            moments = across_ranks(moments, self.process_group)
        if self.training and self.num_batches_tracked is not None:
            assert self.running_mean is not None and self.running_var is not None
            self.num_batches_tracked.add_(1)
            # A tensor, so that no device is waited for.
            factor = 1.0 / self.num_batches_tracked if self.momentum is None else self.momentum
            update_running(self.running_mean, self.running_var, moments, factor)
        weight, bias = along_channels(self.weight, x.dim()), along_channels(self.bias, x.dim())
        return select(scaled(moments, self.eps, weight, bias).to(x.dtype), m), mask

    def extra_repr(self) -> str:
        parts = [] if self.mask_channels is None else [f"mask_channels={self.mask_channels}"]
        return ", ".join([super().extra_repr(), *parts, *(["sync=True"] if self.sync else [])])


class MaskedBatchNorm1d(_MaskedBatchNorm, nn.BatchNorm1d):
    """nn.BatchNorm1d over the valid positions of (N, C, L) or (N, C); all else as `MaskedBatchNorm2d`."""

    dims = (2, 3)


class MaskedBatchNorm2d(_MaskedBatchNorm, nn.BatchNorm2d):
    """nn.BatchNorm2d with statistics over valid positions only.

    For each channel, with m the mask and the sums over samples and positions:

        W = sum of m        μ = sum of m * x / W        σ² = sum of m * (x - μ)² / W
        y = (x - μ) / sqrt(σ² + eps) * weight + bias    where m != 0, else 0

    The running variance is unbiased: σ² * n / (n - 1), with n the number of valid positions. A channel with fewer than
    two of them keeps its running statistics (nothing is raised, which would wait for the device). A mask of ones gives
    nn.BatchNorm2d. The state_dict is nn.BatchNorm2d's. Sums are in float32 (float64 for float64), in two passes.

    Args:
        num_features, eps, momentum, affine, track_running_stats, device, dtype: as nn.BatchNorm2d.
        mask_channels: input channels covered by each mask channel, as in `masked_conv2d`.
        sync: share the statistics with the other ranks of `process_group` while training, as nn.SyncBatchNorm does;
            ranks may have different numbers of valid positions, and then one of them may have no mask. On any
            device; alone, it changes nothing. Not differentiable twice.
        process_group: of torch.distributed; None is the default group.

    forward(x, mask=None):
        x: (N, C, H, W). mask: (N or 1, M, H, W) with M = 1, C or `len(mask_channels)`; bool, uint8 or floating. A soft
        mask weights the statistics and gets a gradient. None: nn.BatchNorm2d.
        Returns `(y, mask)`; y has x's dtype and memory format.

    Raises:
        TypeError, ValueError: naming the argument, what it got and what it needs.

    Sources: Ioffe and Szegedy, "Batch Normalization", 2015; Chan, Golub and LeVeque, "Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances", 1979 (across ranks).

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedBatchNorm2d
        >>> x = torch.tensor([[[[1.0, 3.0, float("nan")]]]])
        >>> y, mask = MaskedBatchNorm2d(1, eps=1e-9)(x, ~x.isnan())
        >>> y.detach()
        tensor([[[[-1.,  1.,  0.]]]])
    """

    dims = (4,)


class MaskedBatchNorm3d(_MaskedBatchNorm, nn.BatchNorm3d):
    """nn.BatchNorm3d over the valid positions of (N, C, D, H, W); all else as `MaskedBatchNorm2d`."""

    dims = (5,)


def convert_sync_batchnorm(module: nn.Module, process_group: Any = None) -> nn.Module:
    """Let all batch normalisation in `module` share statistics across ranks; returns the module.

    Masked layers are switched in place, plain ones become nn.SyncBatchNorm. (nn.SyncBatchNorm.convert_sync_batchnorm
    would replace the masked ones as well, by layers that take no mask.)

    Example:
        >>> from torch import nn
        >>> from maskconv_ext.nn import MaskedBatchNorm2d, convert_sync_batchnorm
        >>> convert_sync_batchnorm(nn.ModuleList([MaskedBatchNorm2d(4)]))[0].sync
        True
    """
    if isinstance(module, _MaskedBatchNorm):
        module.sync, module.process_group = True, process_group
        return module
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return nn.SyncBatchNorm.convert_sync_batchnorm(module, process_group)
    for name, child in module.named_children():
        module.add_module(name, convert_sync_batchnorm(child, process_group))
    return module
