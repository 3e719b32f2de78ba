"""The rule "inside": under the mask of a padded batch each image gets the outputs that it has alone."""

from __future__ import annotations

import itertools

import pytest
import torch
from layer_checks import assert_gradients_are_clean, image_with_holes
from torch import nn

import maskconv_ext.nn as mnn

FULL = 17  # of the batch; the images are shorter
INSIDE = {"mask_update": "inside"}


def windows(kernels=(1, 2, 3, 4, 5), dilations=(1, 2, 3)):
    """(kernel, stride, padding, dilation) with a window that is larger than both paddings."""
    for kernel, stride, padding, dilation in itertools.product(kernels, (1, 2, 3), (0, 1, 2), dilations):
        if dilation * (kernel - 1) >= 2 * padding:
            yield kernel, stride, padding, dilation


def convolutions():
    for geometry in windows():
        for groups in (1, 2):
            conv = nn.Conv1d(4, 6, *geometry, groups)
            yield conv, mnn.MaskedConv1d.from_conv(conv, normalization="none", **INSIDE)


def same_convolutions():
    for kernel, dilation in itertools.product((1, 2, 3, 4), (1, 2)):
        conv = nn.Conv1d(4, 6, kernel, padding="same", dilation=dilation)
        yield conv, mnn.MaskedConv1d.from_conv(conv, normalization="none", **INSIDE)


def pools():
    for kernel, stride, padding, dilation in itertools.product((1, 2, 3, 5), (1, 2, 3), (0, 1, 2), (1, 2, 3)):
        for ceil_mode in (False, True):
            if 2 * padding > kernel:
                continue
            arguments = kernel, stride, padding
            yield (
                nn.MaxPool1d(*arguments, dilation, ceil_mode=ceil_mode),
                mnn.MaskedMaxPool1d(*arguments, dilation, ceil_mode=ceil_mode, **INSIDE),
            )
            if dilation == 1:
                options = {"ceil_mode": ceil_mode, "count_include_pad": False}
                yield nn.AvgPool1d(*arguments, **options), mnn.MaskedAvgPool1d(*arguments, **options, **INSIDE)


def transposed():
    for kernel, stride, padding, extra, dilation in itertools.product(
        (1, 2, 3, 4), (1, 2, 3), (0, 1, 2), (0, 1), (1, 2)
    ):
        if extra < max(stride, dilation):
            conv = nn.ConvTranspose1d(4, 6, kernel, stride, padding, extra, dilation=dilation)
            yield conv, mnn.MaskedConvTranspose1d.from_conv(conv, normalization="none", **INSIDE)


def upsampling():
    for factor, mode in itertools.product((2, 3, 4), ("nearest", "nearest-exact", "linear")):
        options = {"scale_factor": factor, "mode": mode}
        yield nn.Upsample(**options), mnn.MaskedUpsample(**options, **INSIDE)


@pytest.mark.parametrize("layers", (convolutions, same_convolutions, pools, transposed, upsampling))
def test_an_image_has_what_it_has_alone(layers):
    kinds = itertools.cycle(("shared", "one each", "soft", "uint8"))
    for plain, layer in layers():
        plain, layer = plain.double(), layer.double()
        for size in (7, 10, 13):
            x = torch.randn(1, 4, size).double()
            try:
                wanted = plain(x)
            except RuntimeError:
                continue  # no output of this size
            padded = torch.full((1, 4, FULL), float("nan")).double()
            padded[..., :size] = x
            mask = (torch.arange(FULL) < size).view(1, 1, FULL)
            kind = next(kinds)
            given = {
                "shared": mask, "one each": mask.expand(1, 4, FULL), "soft": mask.double(), "uint8": mask.byte() * 9
            }[kind]  # fmt: skip
            output, out_mask = layer(padded, given)
            end = wanted.shape[-1]
            valid = (out_mask != 0).all(1)[0]
            assert valid[:end].all() and not (out_mask[..., end:] != 0).any(), (layer, size)
            torch.testing.assert_close(output[..., :end], wanted, msg=lambda text, at=layer: f"{at}: {text}")
            assert (output[..., end:] == 0).all() and out_mask.dtype == given.dtype


def test_images_and_fill():
    conv = mnn.MaskedConv2d(3, 4, (3, 4), stride=2, padding=1, mask_update="inside", fill="bias").double()
    x, mask = image_with_holes((2, 3, 9, 9), density=0.9)
    output, out_mask = conv(x, mask)
    assert 0 < out_mask.sum() < out_mask.numel()
    assert ((output == conv.bias.view(1, -1, 1, 1)) | out_mask).all()
    assert_gradients_are_clean(conv, x, mask)
    # Without a mask nothing is missing.
    y, none = conv(torch.zeros_like(x))
    assert none is None and torch.equal(y, conv._conv_forward(torch.zeros_like(x), conv.weight, conv.bias))


def test_the_mask_itself_goes_on_where_positions_stay():
    x, mask = image_with_holes((2, 3, 9, 9))
    for options in ({"padding": 1}, {"padding": "same"}, {"padding": 2, "dilation": 2}):
        conv = mnn.MaskedConv2d(3, 4, 3, mask_update="inside", **options).double()
        assert conv(x, mask)[1] is mask
    assert mnn.MaskedConv2d(3, 4, 3, padding=1, stride=2, mask_update="inside").double()(x, mask)[1] is not mask


def test_wrong_windows():
    message = r"^MaskedConv1d: mask_update: got 'inside' with padding \(1,\), needs a window "
    with pytest.raises(ValueError, match=message):
        mnn.MaskedConv1d(1, 1, 1, padding=1, mask_update="inside")
    for pool in (mnn.MaskedMaxPool2d, mnn.MaskedAvgPool2d):
        with pytest.raises(ValueError, match=rf"^{pool.__name__}: mask_update: got 'all', needs 'any' or 'inside'$"):
            pool(2, mask_update="all")
    with pytest.raises(ValueError, match=r"^masked_max_pool: mask_update: got 'all', needs 'any' or 'inside'$"):
        mnn.masked_max_pool(torch.zeros(1, 1, 4), None, 2, mask_update="all")
