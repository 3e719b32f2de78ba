"""Transposed convolutions against a loop that scatters, and against the convolution of zero-inserted inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import window_oracle
from layer_checks import (
    MASK_KINDS,
    assert_gradients_are_clean,
    assert_holes_hold,
    assert_raises_first,
    assert_survives_copies,
    image_with_holes,
)
from torch import nn

import maskconv_ext
import maskconv_ext.nn as mnn

PLAIN = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MASKED = {1: mnn.MaskedConvTranspose1d, 2: mnn.MaskedConvTranspose2d, 3: mnn.MaskedConvTranspose3d}
SIZE = {1: (6,), 2: (4, 3), 3: (3, 2, 2)}
# stride, padding, output_padding, dilation, kernel; the last leaves outputs that no tap reaches.
GEOMETRIES = [
    dict(kernel_size=3),
    dict(kernel_size=3, stride=2, padding=1, output_padding=1),
    dict(kernel_size=2, stride=2),
    dict(kernel_size=3, stride=2, padding=1, dilation=2, output_padding=1),
    dict(kernel_size=4, stride=3, padding=3),
    dict(kernel_size=2, stride=3, output_padding=2),
    dict(kernel_size=1, stride=2, padding=1),
]
NORMALIZATIONS = ("ratio", "mean", "sqrt", "none")
RULES = ("any", "all", 0.5, 0.7)


def expected(layer, x, mask, output_padding=None):
    arrays = [None if t is None else t.detach().numpy() for t in (x, mask, layer.weight, layer.bias)]
    extras = layer.output_padding if output_padding is None else output_padding
    return window_oracle.conv_transpose(
        *arrays, layer.stride, layer.padding, extras, layer.groups, layer.dilation, layer.normalization,
        layer.mask_update, layer.fill, layer.mask_channels,
    )  # fmt: skip


def check(layer, x, mask, **call):
    y, out_mask = layer(x, mask)
    wanted, valid = expected(layer, x, mask)
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=1e-10, atol=1e-10)
    channels = 1 if mask.shape[1] == 1 else layer.groups
    assert out_mask.dtype == mask.dtype and out_mask.shape == (mask.shape[0], channels, *y.shape[2:])
    spread = out_mask.repeat_interleave(layer.out_channels // channels, 1).double().expand_as(y)
    np.testing.assert_array_equal(spread.numpy(), valid)


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_against_a_loop(rank, geometry, kind):
    for i, normalization in enumerate(NORMALIZATIONS):
        options = dict(normalization=normalization, mask_update=RULES[i], fill=("bias", 0.0, -2.5, 0.0)[i])
        layer = MASKED[rank](2, 3, **geometry, **options, dtype=torch.float64)
        x, mask = image_with_holes((2, 2, *SIZE[rank]), kind=kind, seed=i, batch=1 + i % 2)
        check(layer, x, mask)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("form", ("channels", "parts"))
def test_channels_with_masks_of_their_own(rule, normalization, form):
    parts = (1, 3) if form == "parts" else None
    options = dict(normalization=normalization, mask_update=rule, mask_channels=parts, groups=2, bias=False)
    layer = mnn.MaskedConvTranspose2d(4, 6, 3, stride=2, padding=1, **options).double()
    x, mask = image_with_holes((2, 4, 3, 3), 2 if parts else 4, parts=parts)
    check(layer, x, mask)


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_an_all_ones_mask_and_none_are_the_plain_one(rank, geometry):
    plain = PLAIN[rank](4, 6, **geometry, groups=2, dtype=torch.float64)
    x = torch.randn(2, 4, *SIZE[rank], dtype=torch.float64)
    ones = torch.ones(2, 1, *SIZE[rank], dtype=torch.bool)
    for normalization in ("ratio", "sqrt", "none"):
        for rule in RULES:
            masked = MASKED[rank].from_conv(plain, normalization=normalization, mask_update=rule, fill=-1.0)
            assert masked.weight is plain.weight and masked.bias is plain.bias
            assert list(masked.state_dict()) == list(plain.state_dict())
            output, out_mask = masked(x)
            assert torch.equal(output, plain(x)) and out_mask is None
            for mask in (ones, ones.byte() * 7, ones.double(), ones.expand(2, 4, *SIZE[rank])):
                output, out_mask = masked(x, mask)
                torch.testing.assert_close(output, plain(x), rtol=1e-12, atol=1e-12)
                assert (out_mask == 1).all()


def test_the_mean_without_a_mask_is_that_with_ones():
    layer = mnn.MaskedConvTranspose2d(2, 3, 3, stride=2, normalization="mean").double()
    x = torch.randn(2, 2, 4, 3).double()
    output, out_mask = layer(x)
    torch.testing.assert_close(output, layer(x, torch.ones(1, 1, 4, 3))[0])
    assert out_mask is None


@pytest.mark.parametrize("stride", (1, 2, 3))
def test_it_is_the_masked_convolution_of_the_zero_inserted_input(stride):
    """With "none", whose scale knows no window size, and sums of zeros for what was inserted."""
    layer = mnn.MaskedConvTranspose1d(2, 3, 3, stride=stride, padding=1, normalization="none").double()
    x, mask = image_with_holes((2, 2, 5))
    wide, wide_mask = torch.zeros(2, 2, 4 * stride + 1).double(), torch.zeros(2, 1, 4 * stride + 1, dtype=torch.bool)
    wide[..., ::stride], wide_mask[..., ::stride] = x, mask
    flipped = layer.weight.transpose(0, 1).flip(2)
    wanted, wanted_mask = maskconv_ext.masked_conv1d(
        wide, wide_mask, flipped, layer.bias, padding=1, normalization="none"
    )
    output, out_mask = layer(x, mask)
    torch.testing.assert_close(output, wanted)
    assert torch.equal(out_mask, wanted_mask)


def test_output_size():
    layer = mnn.MaskedConvTranspose2d(2, 3, 3, stride=2, padding=1).double()
    x, mask = image_with_holes((1, 2, 4, 3))
    for size in ([8, 5], [7, 6], [1, 3, 8, 6]):
        output, out_mask = layer(x, mask, size)
        wanted, valid = expected(layer, x, mask, (size[-2] - 7, size[-1] - 5))
        np.testing.assert_allclose(output.detach().numpy(), wanted, atol=1e-12)
        assert tuple(out_mask.shape[2:]) == tuple(size[-2:]) and (out_mask.numpy() == valid[:, :1]).all()
        assert layer(x.nan_to_num(0, 0, 0), None, size)[0].shape == output.shape


@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_garbage_reaches_neither_output_nor_gradients(kind, normalization):
    layer = mnn.MaskedConvTranspose2d(2, 3, 3, stride=2, normalization=normalization).double()
    x, mask = image_with_holes((2, 2, 4, 4), kind=kind, density=0.3)
    output, out_mask = layer(x, mask)
    clean, _ = layer(torch.where(mask != 0, x, 0.0), mask)
    assert torch.equal(output, clean)
    assert_holes_hold(output, out_mask)
    assert_gradients_are_clean(layer, x, mask)
    output, out_mask = layer(x, torch.zeros_like(mask))
    assert (output == 0).all() and (out_mask == 0).all()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradcheck(normalization):
    x, mask = torch.randn(1, 2, 3, 2).double(), torch.rand(1, 1, 3, 2).double() * 0.8 + 0.1
    mask[..., 1:2, :] = 0.0
    w, b = torch.randn(2, 2, 3, 2).double(), torch.randn(2).double()

    def call(x, values, w, b):
        m = torch.where(mask != 0, values, 0.0)
        return mnn.masked_conv_transpose(x, m, w, b, stride=2, normalization=normalization)[0]

    inputs = [t.requires_grad_() for t in (x, mask.clone(), w, b)]
    assert torch.autograd.gradcheck(call, inputs) and torch.autograd.gradgradcheck(call, inputs)


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16, torch.float32))
def test_dtypes(dtype):
    layer = mnn.MaskedConvTranspose2d(2, 3, 3, stride=2).to(dtype)
    x, mask = image_with_holes((2, 2, 4, 4), dtype=dtype)
    output, _ = layer(x, mask)
    wanted, _ = layer.double()(x.double(), mask)
    eps = torch.finfo(dtype).eps
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), wanted, rtol=8 * eps, atol=16 * eps)


def test_copies_compilation_autocast_and_empty_batches():
    x, mask = image_with_holes((2, 3, 4, 4), dtype=torch.float32)
    layer = mnn.MaskedConvTranspose2d(3, 4, 3, stride=2)
    assert_survives_copies(layer, x, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x)[0].dtype == layer(x, mask)[0].dtype == torch.bfloat16
    assert layer(x[:0], mask[:0])[0].shape == (0, 4, 9, 9)
    assert repr(mnn.MaskedConvTranspose1d(1, 2, 3, mask_update="all")) == (
        "MaskedConvTranspose1d(1, 2, kernel_size=(3,), stride=(1,), mask_update='all')"
    )


X, M, W, B = torch.zeros(2, 4, 6, 5), torch.ones(2, 1, 6, 5, dtype=torch.bool), torch.zeros(4, 3, 3, 3), torch.zeros(3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(input=None), TypeError, "input: got NoneType, needs a Tensor"),
        (dict(input=X[0, 0]), ValueError, "input: got shape (6, 5), needs 3 to 5 dimensions (N, C, *S)"),
        (dict(input=X.int()), TypeError, "input: got torch.int32, needs float16, bfloat16, float32 or float64"),
        (dict(weight=W[:3]), ValueError,
         "weight: got shape (3, 3, 3, 3), needs 4 in dimension 0, the channels of input"),
        (dict(weight=W.double()), TypeError, "weight: got torch.float64, needs torch.float32, the dtype of input"),
        (dict(bias=B[:2]), ValueError, "bias: got shape (2,), needs (3,), one a filter of weight, or None"),
        (dict(bias=1.0), ValueError, "bias: got float, needs (3,), one a filter of weight, or None"),
        (dict(groups=3), ValueError, "groups: got 3, needs a divisor of the 4 channels of input"),
        (dict(stride=0), ValueError, "stride: got 0, needs an int >= 1 or a sequence of 2 of them"),
        (dict(padding="same"), ValueError, "padding: got 'same', needs an int >= 0 or a sequence of 2 of them"),
        (dict(output_padding=1), ValueError,
         "output_padding: got 1 on axis 0, needs less than the stride 1 or the dilation 1"),
        (dict(mask=M[:, :, :3]), ValueError,
         "mask: got shape (2, 1, 3, 5) for input (2, 4, 6, 5), needs (1 or 2, 1 or 4, 6, 5)"),
        (dict(mask=M.int()), TypeError, "mask: got torch.int32, needs bool, uint8 or a floating dtype; write mask != 0 "
         "for a mask of 0 and 1, mask.float() for a soft mask"),
        (dict(mask=M.to("meta")), ValueError, "mask: got device meta, needs cpu, the device of input"),
        (dict(mask_channels=(1, 2)), ValueError,
         "mask_channels: got (1, 2), which add up to 3, needs a sum of 4, the channels of input"),
        (dict(normalization="weight"), ValueError,
         "normalization: got 'weight', needs one of 'ratio', 'mean', 'sqrt', 'none'"),
        (dict(mask_update="center"), ValueError,
         "mask_update: got 'center', needs 'any', 'all', 'inside' or a float in (0, 1]"),
        (dict(fill=None), ValueError, "fill: got None, needs a number or 'bias'"),
    ],
)  # fmt: skip
def test_wrong_call(changes, error, message):
    arguments = dict(input=X, mask=M, weight=W, bias=B) | changes
    call = lambda: mnn.masked_conv_transpose(**arguments)  # noqa: E731
    assert_raises_first(call, error, f"masked_conv_transpose: {message}")


def test_wrong_layer():
    with pytest.raises(ValueError, match=r"^MaskedConvTranspose2d: mask_update: got 'fraction', needs 'any', "):
        mnn.MaskedConvTranspose2d(1, 1, 3, mask_update="fraction")
    with pytest.raises(TypeError, match=r"^MaskedConvTranspose1d.from_conv: conv: got Conv1d, needs ConvTranspose1d$"):
        mnn.MaskedConvTranspose1d.from_conv(nn.Conv1d(1, 1, 1))
    with pytest.raises(ValueError, match=r"^MaskedConvTranspose2d: input: got shape \(1, 2, 3\), needs 4 dimensions"):
        mnn.MaskedConvTranspose2d(2, 1, 3)(torch.zeros(1, 2, 3))


def test_counts_of_the_window_are_those_of_a_plain_convolution_of_ones():
    layer = mnn.MaskedConvTranspose2d(1, 1, 3, stride=2, padding=1, bias=False, normalization="mean").double()
    with torch.no_grad():
        layer.weight.fill_(1.0)
    counts = F.conv_transpose2d(torch.ones(1, 1, 4, 4).double(), layer.weight, None, 2, 1)
    torch.testing.assert_close(layer(torch.full((1, 1, 4, 4), 2.0).double())[0], torch.full_like(counts, 2.0))
