"""MaskedConv*d: nn.Conv*d without a mask, masked_conv*d with one."""

from __future__ import annotations

import pytest
import torch
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

PLAIN = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
MASKED = {1: mnn.MaskedConv1d, 2: mnn.MaskedConv2d, 3: mnn.MaskedConv3d}
LAZY = {1: mnn.LazyMaskedConv1d, 2: mnn.LazyMaskedConv2d, 3: mnn.LazyMaskedConv3d}
FUNCTIONS = {1: maskconv_ext.masked_conv1d, 2: maskconv_ext.masked_conv2d, 3: maskconv_ext.masked_conv3d}
SIZE = {1: (11,), 2: (7, 6), 3: (5, 4, 6)}
GEOMETRIES = [
    dict(padding=1),
    dict(stride=2, padding=2, dilation=2),
    dict(padding="same", groups=2),
    dict(padding="valid", bias=False),
    dict(padding=1, padding_mode="reflect"),
    dict(padding=2, padding_mode="circular", stride=2),
]


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_without_a_mask_it_is_the_plain_convolution(rank, geometry):
    plain = PLAIN[rank](4, 6, 3, **geometry, dtype=torch.float64)
    masked = MASKED[rank](4, 6, 3, **geometry, dtype=torch.float64, mask_update="all")
    masked.load_state_dict(plain.state_dict(), strict=True)
    assert [(k, v.shape) for k, v in masked.state_dict().items()] == [
        (k, v.shape) for k, v in plain.state_dict().items()
    ]
    x = torch.randn(2, 4, *SIZE[rank], dtype=torch.float64)
    output, out_mask = masked(x)
    assert torch.equal(output, plain(x)) and out_mask is None


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_with_a_mask_it_is_the_function(rank, geometry, kind):
    options = dict(normalization="sqrt", mask_update=0.5, fill=-1.0)
    masked = MASKED[rank](4, 6, 3, **geometry, dtype=torch.float64, **options)
    x, mask = image_with_holes((2, 4, *SIZE[rank]), kind=kind)
    output, out_mask = masked(x, mask)
    call = dict(geometry)
    call.pop("bias", None)
    expected, expected_mask = FUNCTIONS[rank](x, mask, masked.weight, masked.bias, **call, **options)
    assert torch.equal(output, expected) and torch.equal(out_mask, expected_mask)
    assert_holes_hold(output, out_mask, -1.0)
    assert_gradients_are_clean(masked, x, mask)


@pytest.mark.parametrize("pad_is_valid", (False, True))
@pytest.mark.parametrize("normalization", ("ratio", "mean", "weight", "sqrt", "none"))
def test_no_mask_equals_an_all_ones_mask_with_valid_padding(normalization, pad_is_valid):
    conv = mnn.MaskedConv2d(3, 4, 3, padding=1, normalization=normalization, pad_is_valid=pad_is_valid).double()
    x, ones = torch.randn(2, 3, 6, 5).double(), torch.ones(1, 1, 6, 5, dtype=torch.bool)
    output, out_mask = conv(x)
    conv.pad_is_valid = True
    torch.testing.assert_close(output, conv(x, ones)[0])
    assert out_mask is None


def test_confidence_without_a_mask_keeps_its_mask():
    """A filter whose weights sum to 0 has no confidence, whatever the mask."""
    conv = mnn.MaskedConv2d(2, 3, 3, normalization="weight", mask_update="confidence")
    with torch.no_grad():
        conv.weight.uniform_(0.1, 1.0)
        conv.weight[1] = 0.0
    _, out_mask = conv(torch.rand(1, 2, 5, 5))
    torch.testing.assert_close(out_mask, torch.tensor([1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 3, 3))


def test_parts_of_the_channels_with_masks_of_their_own():
    conv = mnn.MaskedConv2d(5, 4, 3, padding=1, mask_channels=[3, 2]).double()
    x, mask = image_with_holes((2, 5, 6, 6), 2, parts=(3, 2))
    output, out_mask = conv(x, mask)
    expected = maskconv_ext.masked_conv2d(x, mask, conv.weight, conv.bias, padding=1, mask_channels=(3, 2))
    assert torch.equal(output, expected[0]) and torch.equal(out_mask, expected[1])


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_from_conv_shares_the_parameters(rank, geometry):
    plain = PLAIN[rank](4, 6, 3, **geometry).eval()
    state = torch.get_rng_state()
    masked = MASKED[rank].from_conv(plain, normalization="mean", mask_update="center")
    assert torch.equal(state, torch.get_rng_state()), "random numbers were drawn"
    assert masked.weight is plain.weight and masked.bias is plain.bias and not masked.training
    assert (masked.normalization, masked.mask_update) == ("mean", "center")
    x, mask = image_with_holes((1, 4, *SIZE[rank]), dtype=torch.float32)
    call = dict(geometry)
    call.pop("bias", None)
    expected = FUNCTIONS[rank](x, mask, plain.weight, plain.bias, **call, normalization="mean", mask_update="center")
    assert torch.equal(masked(x, mask)[0], expected[0])


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("bias", (True, False))
def test_lazy(rank, bias):
    lazy = LAZY[rank](6, 3, padding=1, bias=bias, groups=2, mask_update="all", dtype=torch.float64)
    x, mask = image_with_holes((2, 4, *SIZE[rank]))
    output, out_mask = lazy(x, mask=mask)
    assert type(lazy) is MASKED[rank] and lazy.in_channels == 4 and (lazy.bias is not None) == bias
    expected = FUNCTIONS[rank](x, mask, lazy.weight, lazy.bias, padding=1, groups=2, mask_update="all")
    assert torch.equal(output, expected[0]) and torch.equal(out_mask, expected[1])


def test_repr_shows_what_differs():
    assert repr(mnn.MaskedConv1d(1, 2, 3)) == "MaskedConv1d(1, 2, kernel_size=(3,), stride=(1,))"
    changed = mnn.MaskedConv2d(
        2, 2, 1, bias=False, normalization="none", mask_update=0.5, fill="bias", pad_is_valid=True, mask_channels=[1, 1]
    )
    assert repr(changed) == (
        "MaskedConv2d(2, 2, kernel_size=(1, 1), stride=(1, 1), bias=False, normalization='none', mask_update=0.5, "
        "fill='bias', pad_is_valid=True, mask_channels=(1, 1))"
    )


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_copies_and_compilation(kind):
    x, mask = image_with_holes((2, 3, 6, 6), kind=kind)
    assert_survives_copies(mnn.MaskedConv2d(3, 4, 3, padding=1).double(), x, mask)


def test_autocast_as_the_plain_convolution():
    conv = mnn.MaskedConv2d(3, 4, 3, padding=1)
    x, mask = image_with_holes((2, 3, 6, 6), dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert conv(x)[0].dtype == conv(x, mask)[0].dtype == torch.bfloat16


NORMALIZATIONS = "'ratio', 'mean', 'weight', 'sqrt', 'none'"
UPDATES = "'any', 'all', 'center', 'fraction', 'confidence'"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(normalization="batch"), ValueError, f"normalization: got 'batch', needs one of {NORMALIZATIONS}"),
        (dict(mask_update=2), ValueError, f"mask_update: got 2, needs one of {UPDATES}, or a float in (0, 1]"),
        (dict(fill="mean"), ValueError, "fill: got 'mean', needs a number or 'bias'"),
        (dict(pad_is_valid=1), TypeError, "pad_is_valid: got 1, needs True or False"),
    ],
    ids=str,
)
def test_wrong_options(options, error, message):
    with pytest.raises(error) as caught:
        mnn.MaskedConv2d(3, 4, 3, **options)
    assert str(caught.value) == f"MaskedConv2d: {message}"


def computed_weight(kind):
    conv = nn.Conv2d(3, 4, 3)
    return nn.utils.parametrizations.weight_norm(conv) if kind == "parametrization" else nn.utils.weight_norm(conv)


COMPUTED = (
    "conv: got a computed weight or bias, needs plain Parameters; remove the parametrization first, and apply it to "
    "the result"
)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    ("conv", "error", "message"),
    [
        (lambda: nn.Conv3d(3, 4, 3), TypeError, "conv: got Conv3d, needs Conv2d"),
        (lambda: nn.ConvTranspose2d(3, 4, 3), TypeError, "conv: got ConvTranspose2d, needs Conv2d"),
        (lambda: nn.LazyConv2d(4, 3), ValueError, "conv: got a lazy module, needs one that has seen an input"),
        (lambda: computed_weight("parametrization"), ValueError, COMPUTED),
        (lambda: computed_weight("hook"), ValueError, COMPUTED),
    ],
)
def test_wrong_from_conv(conv, error, message):
    conv = conv()
    assert_raises_first(lambda: mnn.MaskedConv2d.from_conv(conv), error, f"MaskedConv2d.from_conv: {message}")
