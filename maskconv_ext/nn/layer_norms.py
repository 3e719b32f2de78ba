"""Layer, group and instance normalisation over valid positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch._prims_common import suggest_memory_format

from ..arguments import parse_parts
from ._checks import channel_mask, check_broadcast_mask, check_features, check_floating, check_is_tensor, select
from ._moments import along_channels, masked_moments, scaled, update_running


class MaskedLayerNorm(nn.LayerNorm):
    """nn.LayerNorm with statistics over valid positions only.

    With m the mask and the sums over the dimensions of `normalized_shape`, the last of x:

        W = sum of m        μ = sum of m * x / W        σ² = sum of m * (x - μ)² / W
        y = (x - μ) / sqrt(σ² + eps) * weight + bias    where m != 0, else 0

    With `channels_first` the sums are over the channels of each position of (N, C, *S), as in ConvNeXt; a mask that
    all channels share then only puts 0 into the holes. A mask of ones gives nn.LayerNorm (of the permuted tensor, with
    `channels_first`). The state_dict is nn.LayerNorm's. Sums are in float32 (float64 for float64).

    Args:
        normalized_shape, eps, elementwise_affine, bias, device, dtype: as nn.LayerNorm.
        channels_first: normalise dimension 1, of size `normalized_shape`.

    forward(x, mask=None):
        x: (*, *normalized_shape), or (N, C, *S). mask: as many dimensions as x, each of x's size or 1, so (N, 1, *S)
        beside (N, C, *S), and (N, L, 1) beside tokens (N, L, C); bool, uint8 or floating. A soft mask weights the
        statistics and gets a gradient. None: nothing is invalid.
        Returns `(y, mask)`; y has x's dtype and memory format.

    Raises:
        TypeError, ValueError: naming the argument, what it got and what it needs.

    Sources: Ba, Kiros and Hinton, "Layer Normalization", 2016; Liu et al., "A ConvNet for the 2020s", 2022
    (channels_first).

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedLayerNorm
        >>> x = torch.tensor([[[[1.0, 3.0, float("nan")]]]])
        >>> y, mask = MaskedLayerNorm((1, 1, 3), eps=1e-9)(x, ~x.isnan())
        >>> y.detach()
        tensor([[[[-1.,  1.,  0.]]]])
    """

    def __init__(self, *args: Any, channels_first: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if channels_first and len(self.normalized_shape) != 1:
            raise ValueError(
                f"{type(self).__name__}: normalized_shape: got {self.normalized_shape}, needs one number with "
                f"channels_first, that of the channels"
            )
        self.channels_first = channels_first

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """`(y, mask)`; y holds 0 at invalid positions."""
        self._check(x, mask)
        if mask is None and not self.channels_first:
            return super().forward(x), None
        dims = (1,) if self.channels_first else tuple(range(x.dim() - len(self.normalized_shape), x.dim()))
        if mask is None or all(mask.shape[d] == 1 for d in dims):
            # Of what a statistic is made of all is valid, and weighs the same, or nothing is.
            y = select(x, mask)
            y = super().forward(y.movedim(1, -1)).movedim(-1, 1) if self.channels_first else super().forward(y)
            return select(y.to(x.dtype, memory_format=suggest_memory_format(x)), mask), mask
        weight, bias = (
            along_channels(parameter, x.dim()) if self.channels_first else parameter
            for parameter in (self.weight, self.bias)
        )
        return select(scaled(masked_moments(x, mask, dims), self.eps, weight, bias).to(x.dtype), mask), mask

    def _check(self, x: Tensor, mask: Tensor | None) -> None:
        op = type(self).__name__
        check_is_tensor(op, x)
        last = len(self.normalized_shape)
        if self.channels_first and x.dim() < 2:
            raise ValueError(f"{op}: input: got shape {tuple(x.shape)}, needs 2 or more dimensions (N, C, *S)")
        if self.channels_first:
            check_features(op, x, (x.dim(),), self.normalized_shape[0], "normalized_shape")
        elif tuple(x.shape[-last:]) != self.normalized_shape:
            raise ValueError(
                f"{op}: input: got shape {tuple(x.shape)}, needs (*, {', '.join(map(str, self.normalized_shape))})"
            )
        check_floating(op, x)
        check_broadcast_mask(op, x, mask)

    def extra_repr(self) -> str:
        return super().extra_repr() + (", channels_first=True" if self.channels_first else "")


class MaskedGroupNorm(nn.GroupNorm):
    """nn.GroupNorm with statistics over the valid positions of each sample and group.

    The formula of `MaskedLayerNorm` with sums over the channels of a group and all positions. A mask of ones gives
    nn.GroupNorm, whose state_dict this has.

    Args:
        num_groups, num_channels, eps, affine, device, dtype: as nn.GroupNorm.
        mask_channels: input channels covered by each mask channel, as in `masked_conv2d`.

    forward(x, mask=None):
        x: (N, C, *S). mask: (N or 1, M, *S) with M = 1, C or `len(mask_channels)`; bool, uint8 or floating. A soft
        mask weights the statistics and gets a gradient. None: nn.GroupNorm.
        Returns `(y, mask)`; y has x's dtype and memory format, and 0 at invalid positions.

    Raises:
        TypeError, ValueError: naming the argument, what it got and what it needs.

    Source: Wu and He, "Group Normalization", 2018.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedGroupNorm
        >>> x = torch.tensor([[[1.0, 3.0, float("nan")], [-5.0, 5.0, float("inf")]]])
        >>> y, mask = MaskedGroupNorm(2, 2, eps=1e-9)(x, x[:, :1].isfinite())
        >>> y.detach()
        tensor([[[-1.,  1.,  0.],
                 [-1.,  1.,  0.]]])
    """

    def __init__(self, *args: Any, mask_channels: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mask_channels = parse_parts(type(self).__name__, mask_channels, self.num_channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """`(y, mask)`; y holds 0 at invalid positions."""
        op = type(self).__name__
        check_features(op, x, range(2, 6), self.num_channels, "num_channels")
        m = channel_mask(op, x, mask, self.mask_channels)
        if m is None:
            return super().forward(x), None
        groups = (self.num_groups, -1)
        grouped = m.unsqueeze(1) if m.shape[1] == 1 else m.unflatten(1, groups)
        moments = masked_moments(x.unflatten(1, groups), grouped, tuple(range(2, x.dim() + 1)))
        y = scaled(moments, self.eps, self._grouped(self.weight, x.dim()), self._grouped(self.bias, x.dim()))
        y = y.flatten(1, 2).to(x.dtype, memory_format=suggest_memory_format(x))
        return select(y, m), mask

    def _grouped(self, parameter: Tensor | None, dim: int) -> Tensor | None:
        return None if parameter is None else parameter.view(1, self.num_groups, -1, *[1] * (dim - 2))

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.mask_channels is None else f", mask_channels={self.mask_channels}")


class _MaskedInstanceNorm(nn.modules.instancenorm._InstanceNorm):
    """What the three ranks share: nn.InstanceNorm*d's parameters and buffers, with a mask in forward."""

    def __init__(self, *args: Any, mask_channels: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mask_channels = parse_parts(type(self).__name__, mask_channels, self.num_features)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """`(y, mask)`; y holds 0 at invalid positions."""
        op = type(self).__name__
        single = self._get_no_batch_dim()
        unbatched = isinstance(x, Tensor) and x.dim() == single
        check_features(op, x, (single, single + 1), self.num_features, "num_features", at=0 if unbatched else 1)
        if mask is None:
            return super().forward(x), None
        if unbatched:
            y, _ = self.forward(x.unsqueeze(0), mask.unsqueeze(0) if isinstance(mask, Tensor) else mask)
            return y.squeeze(0), mask
        m = channel_mask(op, x, mask, self.mask_channels)
        assert m is not None
        if not self.training and self.track_running_stats:
            # Statistics that do not depend on the sample: batch normalisation, which takes an empty batch too.
            y = F.batch_norm(select(x, m), self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
            return select(y, m), mask
        moments = masked_moments(x, m, tuple(range(2, x.dim())))
        if self.training and self.track_running_stats:
            assert self.running_mean is not None and self.running_var is not None
            update_running(self.running_mean, self.running_var, moments, self.momentum or 0.0)
        weight, bias = along_channels(self.weight, x.dim()), along_channels(self.bias, x.dim())
        return select(scaled(moments, self.eps, weight, bias).to(x.dtype), m), mask

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.mask_channels is None else f", mask_channels={self.mask_channels}")


class MaskedInstanceNorm1d(_MaskedInstanceNorm, nn.InstanceNorm1d):
    """nn.InstanceNorm1d over the valid positions of (N, C, L) or (C, L); all else as `MaskedInstanceNorm2d`."""


class MaskedInstanceNorm2d(_MaskedInstanceNorm, nn.InstanceNorm2d):
    """nn.InstanceNorm2d with statistics over the valid positions of each sample and channel.

    The formula of `MaskedLayerNorm` with sums over the positions of one channel. A mask of ones gives
    nn.InstanceNorm2d, whose state_dict this has. With `track_running_stats` the running statistics take the average
    over the samples that have two or more valid positions; where none has, they stay.

    Args:
        num_features, eps, momentum, affine, track_running_stats, device, dtype: as nn.InstanceNorm2d.
        mask_channels: input channels covered by each mask channel, as in `masked_conv2d`.

    forward(x, mask=None):
        x: (N, C, H, W), or (C, H, W). mask: (N or 1, M, H, W), or (M, H, W), with M = 1, C or `len(mask_channels)`;
        bool, uint8 or floating. A soft mask weights the statistics and gets a gradient. None: nn.InstanceNorm2d.
        Returns `(y, mask)`; y has x's dtype and memory format, and 0 at invalid positions.

    Raises:
        TypeError, ValueError: naming the argument, what it got and what it needs.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", 2016.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedInstanceNorm2d
        >>> x = torch.tensor([[[[1.0, 3.0, float("nan")]]]])
        >>> y, mask = MaskedInstanceNorm2d(1, eps=1e-9)(x, ~x.isnan())
        >>> y
        tensor([[[[-1.,  1.,  0.]]]])
    """


class MaskedInstanceNorm3d(_MaskedInstanceNorm, nn.InstanceNorm3d):
    """nn.InstanceNorm3d over the valid positions of (N, C, D, H, W) or (C, D, H, W); else `MaskedInstanceNorm2d`."""
