"""The networks of the examples, made of `maskconv_ext.nn`, and the three ways in which each is told of the holes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskconv_ext import masks
from maskconv_ext import nn as mnn

Pair = tuple[Tensor, Tensor | None]

# A layer of maskconv_ext.nn without a mask is that of torch.nn, so the plain networks are the same ones, layer by
# layer; only the one with the mask as a channel has a little more: that channel's weights where the input is read.
KINDS = {
    "masked": "masked convolutions",
    "plain_mask": "plain convolutions, mask as one more channel",
    "plain": "plain convolutions, zeros in the holes",
}


class Completion(nn.Module):
    """`forward(x, mask, inside=None) -> prediction`: a network under one of KINDS.

    x may be anything in its holes, NaN included. `inside` is the mask of what is image, in a padded batch.
    """

    def __init__(self, kind: str, network: type[nn.Module], channels: int, **options: object) -> None:
        super().__init__()
        self.kind = kind
        self.network = network(channels + (kind == "plain_mask"), channels, **options)

    def forward(self, x: Tensor, mask: Tensor, inside: Tensor | None = None) -> Tensor:
        if self.kind == "masked":
            return self.network(x, mask, inside)[0]
        x = masks.apply(x, mask)  # 0 is the middle of the values' range
        if self.kind == "plain_mask":
            x = torch.cat([x, mask.to(x.dtype)], 1)
        return self.network(x)[0]


class UNet(nn.Module):
    """The U-Net of Liu et al. 2018, small: strided partial convolutions down; bilinear upsampling, skips that keep
    their own masks, and partial convolutions up; the input itself is the last skip.

    `(x, mask=None, inside=None) -> (y, mask)`; height and width are multiples of 2 ** len(widths).
    """

    def __init__(self, channels_in: int, channels_out: int, widths: Sequence[int] = (16, 32, 64, 64)) -> None:
        super().__init__()
        before = (channels_in, *widths[:-1])
        self.down = nn.ModuleList(
            mnn.MaskedSequential(
                mnn.MaskedConv2d(given, width, 5 if level == 0 else 3, 2, padding=2 if level == 0 else 1, bias=False),
                mnn.MaskedBatchNorm2d(width),
                nn.ReLU(),
            )
            for level, (given, width) in enumerate(zip(before, widths))
        )
        self.upsample, self.concatenate = mnn.MaskedUpsample(scale_factor=2, mode="bilinear"), mnn.MaskedCat()
        up = []
        for below, skip in zip(reversed(widths), reversed(before[1:])):
            conv = mnn.MaskedConv2d(below + skip, skip, 3, padding=1, mask_channels=(below, skip), bias=False)
            up.append(mnn.MaskedSequential(conv, mnn.MaskedBatchNorm2d(skip), nn.LeakyReLU(0.2)))
        self.up = nn.ModuleList(up)
        self.last = mnn.MaskedConv2d(
            widths[0] + channels_in, channels_out, 3, padding=1, mask_channels=(widths[0], channels_in)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None, inside: Tensor | None = None) -> Pair:
        pair = (x, mask)
        skips = []
        for stage in self.down:
            skips.append(pair)
            pair = confined(stage(*pair), inside)
        for stage in [*self.up, self.last]:
            up = confined(self.upsample(*pair), inside)
            pair = confined(stage(*self.concatenate(up, skips.pop())), inside)
        return pair


def confined(pair: Pair, inside: Tensor | None) -> Pair:
    return pair if inside is None else mnn.confine(pair, inside)


class SparseNet(nn.Module):
    """The network of Uhrig et al. 2017: kernels of 11, 7, 5, 3 and 3 pixels, 16 filters each, then one of 1.

    Their division by the number of valid pixels (`normalization="mean"`) times the constant size of the window is the
    default `"ratio"`, which suits the usual initial weights. `(x, mask=None, inside=None) -> (y, mask)`.
    """

    def __init__(self, channels_in: int, channels_out: int, filters: int = 16) -> None:
        super().__init__()
        before = (channels_in, *[filters] * 4)
        self.stages = nn.ModuleList(
            mnn.MaskedSequential(mnn.MaskedConv2d(given, filters, size, padding=size // 2), nn.ReLU())
            for given, size in zip(before, (11, 7, 5, 3, 3))
        )
        self.last = mnn.MaskedConv2d(filters, channels_out, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None, inside: Tensor | None = None) -> Pair:
        pair = (x, mask)
        for stage in self.stages:
            pair = confined(stage(*pair), inside)
        return self.last(*pair)
