"""The pooling modules of torch.nn, over valid positions: thin over the functions in `pooling`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from ..arguments import parse_parts
from . import pooling
from ._checks import Pair, check_input


class _MaskedPool(nn.Module):
    """Adds the keyword `mask_channels` to a pooling module of torch.nn."""

    rank: ClassVar[int]
    mask_channels: tuple[int, ...] | None
    # Of the classes that this one is combined with.
    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any
    ceil_mode: bool
    count_include_pad: bool
    output_size: Any

    def __init__(self, *args: Any, mask_channels: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mask_channels = parse_parts(type(self).__name__, mask_channels)
        if getattr(self, "return_indices", False):
            raise ValueError(f"{type(self).__name__}: return_indices: got True, needs False")

    def extra_repr(self) -> str:
        parts = "" if self.mask_channels is None else f", mask_channels={self.mask_channels}"
        return super().extra_repr() + parts

    def _check(self, input: Tensor) -> None:
        check_input(type(self).__name__, input, self.rank)


class _WindowPool(_MaskedPool):
    """Adds the keyword `mask_update` too, for pools with windows of their own."""

    def __init__(self, *args: Any, mask_update: str = "any", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if mask_update not in ("any", "inside"):
            raise ValueError(f"{type(self).__name__}: mask_update: got {mask_update!r}, needs 'any' or 'inside'")
        self.mask_update = mask_update

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.mask_update == "any" else f", mask_update={self.mask_update!r}")


class _MaskedMaxPool(_WindowPool):
    def forward(self, input: Tensor, mask: Tensor | None = None) -> Pair:
        self._check(input)
        return pooling.masked_max_pool(
            input, mask, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            mask_update=self.mask_update, mask_channels=self.mask_channels,
        )  # fmt: skip


class _MaskedAvgPool(_WindowPool):
    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = False,
        divisor_override: int | None = None,
        *,
        mask_update: str = "any",
        mask_channels: Sequence[int] | None = None,
    ) -> None:
        # nn.AvgPool1d does not take the last one.
        override = {} if divisor_override is None else {"divisor_override": divisor_override}
        super().__init__(
            kernel_size, stride, padding, ceil_mode, count_include_pad,
            mask_update=mask_update, mask_channels=mask_channels, **override,
        )  # fmt: skip

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Pair:
        self._check(input)
        return pooling.masked_avg_pool(
            input, mask, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            getattr(self, "divisor_override", None), mask_update=self.mask_update, mask_channels=self.mask_channels,
        )  # fmt: skip


class _MaskedAdaptiveMaxPool(_MaskedPool):
    def forward(self, input: Tensor, mask: Tensor | None = None) -> Pair:
        self._check(input)
        return pooling.masked_adaptive_max_pool(input, mask, self.output_size, mask_channels=self.mask_channels)


class _MaskedAdaptiveAvgPool(_MaskedPool):
    def forward(self, input: Tensor, mask: Tensor | None = None) -> Pair:
        self._check(input)
        return pooling.masked_adaptive_avg_pool(input, mask, self.output_size, mask_channels=self.mask_channels)


class MaskedMaxPool1d(_MaskedMaxPool, nn.MaxPool1d):
    """`MaskedMaxPool2d` for (N, C, L)."""

    rank = 1


class MaskedMaxPool2d(_MaskedMaxPool, nn.MaxPool2d):
    """Maximum over the valid pixels of each window, as `masked_max_pool`; arguments of nn.MaxPool2d.

    Called with `(input, mask=None)`, (N, C, H, W) and (N or 1, M, H, W), it returns `(output, out_mask)`: 0 where a
    window has no valid pixel, and the max-pooled mask in its own dtype. Without a mask it is nn.MaxPool2d, and out_mask
    is None.

    Args:
        kernel_size, stride, padding, dilation, ceil_mode: as nn.MaxPool2d; return_indices must be False.
        mask_update: keyword, `"any"` or, for padded batches, `"inside"`.
        mask_channels: keyword, the input channels that each mask channel covers.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedMaxPool2d
        >>> x = torch.tensor([[[[1.0, float("nan")], [float("nan"), 3.0]]]])
        >>> MaskedMaxPool2d(2)(x, ~x.isnan())
        (tensor([[[[3.]]]]), tensor([[[[True]]]]))
    """

    rank = 2


class MaskedMaxPool3d(_MaskedMaxPool, nn.MaxPool3d):
    """`MaskedMaxPool2d` for (N, C, D, H, W)."""

    rank = 3


class MaskedAvgPool1d(_MaskedAvgPool, nn.AvgPool1d):  # type: ignore[misc]
    """`MaskedAvgPool2d` for (N, C, L)."""

    rank = 1


class MaskedAvgPool2d(_MaskedAvgPool, nn.AvgPool2d):  # type: ignore[misc]
    """Mean over the valid pixels of each window, as `masked_avg_pool`; arguments of nn.AvgPool2d.

    Called with `(input, mask=None)`, (N, C, H, W) and (N or 1, M, H, W), it returns `(output, out_mask)`: 0 where a
    window has no valid pixel, and the max-pooled mask in its own dtype. Without a mask it is nn.AvgPool2d, and out_mask
    is None.

    Args:
        kernel_size, stride, padding, ceil_mode, divisor_override: as nn.AvgPool2d.
        count_include_pad: as nn.AvgPool2d, but False by default: the padding is not valid.
        mask_update: keyword, `"any"` or, for padded batches, `"inside"`.
        mask_channels: keyword, the input channels that each mask channel covers.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedAvgPool2d
        >>> x = torch.tensor([[[[1.0, float("nan")], [float("nan"), 3.0]]]])
        >>> MaskedAvgPool2d(2)(x, ~x.isnan())
        (tensor([[[[2.]]]]), tensor([[[[True]]]]))
    """

    rank = 2


class MaskedAvgPool3d(_MaskedAvgPool, nn.AvgPool3d):  # type: ignore[misc]
    """`MaskedAvgPool2d` for (N, C, D, H, W)."""

    rank = 3


class MaskedAdaptiveMaxPool1d(_MaskedAdaptiveMaxPool, nn.AdaptiveMaxPool1d):
    """`MaskedAdaptiveMaxPool2d` for (N, C, L)."""

    rank = 1


class MaskedAdaptiveMaxPool2d(_MaskedAdaptiveMaxPool, nn.AdaptiveMaxPool2d):
    """Maximum over the valid pixels, as `masked_adaptive_max_pool`; arguments of nn.AdaptiveMaxPool2d.

    With the keyword `mask_channels`, called and returning as `MaskedMaxPool2d`; `output_size` 1 pools globally.
    """

    rank = 2


class MaskedAdaptiveMaxPool3d(_MaskedAdaptiveMaxPool, nn.AdaptiveMaxPool3d):
    """`MaskedAdaptiveMaxPool2d` for (N, C, D, H, W)."""

    rank = 3


class MaskedAdaptiveAvgPool1d(_MaskedAdaptiveAvgPool, nn.AdaptiveAvgPool1d):  # type: ignore[misc]
    """`MaskedAdaptiveAvgPool2d` for (N, C, L)."""

    rank = 1


class MaskedAdaptiveAvgPool2d(_MaskedAdaptiveAvgPool, nn.AdaptiveAvgPool2d):  # type: ignore[misc]
    """Mean over the valid pixels, as `masked_adaptive_avg_pool`; arguments of nn.AdaptiveAvgPool2d.

    With the keyword `mask_channels`, called and returning as `MaskedAvgPool2d`; `output_size` 1 is the mean of all
    valid pixels.
    """

    rank = 2


class MaskedAdaptiveAvgPool3d(_MaskedAdaptiveAvgPool, nn.AdaptiveAvgPool3d):  # type: ignore[misc]
    """`MaskedAdaptiveAvgPool2d` for (N, C, D, H, W)."""

    rank = 3
