"""Interpolation between valid positions, against weights read off the plain interpolation of unit impulses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from layer_checks import (
    MASK_KINDS,
    assert_gradients_are_clean,
    assert_holes_hold,
    assert_raises_first,
    assert_survives_copies,
    image_with_holes,
)
from torch import nn

import maskconv_ext.nn as mnn

SIZE = {1: (4,), 2: (3, 4), 3: (2, 3, 2)}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
CALLS = [
    dict(scale_factor=2, mode="nearest"),
    dict(size=7, mode="nearest-exact"),
    dict(scale_factor=2, mode="linear"),
    dict(size=7, mode="linear", align_corners=True),
    dict(scale_factor=1.6, mode="linear", recompute_scale_factor=True),
    dict(size=3, mode="linear", align_corners=False),
]
RULES = ("any", "all", 0.37)  # no sum of weights is a tie


def options_of(call, rank):
    return call | dict(mode=LINEAR[rank]) if call["mode"] == "linear" else call


def by_impulses(x, mask, rule, options):
    """Row i of `weights` has what each input position gives to each output."""
    count = x[0, 0].numel()
    impulses = torch.eye(count, dtype=torch.float64).view(count, 1, *x.shape[2:])
    resized = F.interpolate(impulses, **options)
    weights, out_size = resized.flatten(1), resized.shape[2:]
    m = mask.double() if mask.is_floating_point() else (mask != 0).double()
    m = m.expand_as(x).flatten(2)
    total = (torch.where(m != 0, x.flatten(2), 0.0) * m) @ weights
    share = m @ weights
    missing = (1 - m) @ weights
    valid = {"any": share > 0, "all": missing == 0}.get(rule, share >= rule if rule not in ("any", "all") else None)
    output = torch.where(valid, total / torch.where(share > 0, share, 1.0), 0.0)
    out_mask = torch.where(valid, share if mask.is_floating_point() else torch.ones_like(share), 0.0)
    return output.view(*x.shape[:2], *out_size), out_mask.view(*x.shape[:2], *out_size)


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_against_impulses(rank, call, rule, kind):
    options = options_of(call, rank)
    layer = mnn.MaskedUpsample(**options, mask_update=rule)
    for channels in (1, 3):
        x, mask = image_with_holes((2, 3, *SIZE[rank]), channels, kind, seed=channels)
        output, out_mask = layer(x, mask)
        wanted, wanted_mask = by_impulses(x, mask, rule, options)
        torch.testing.assert_close(output, wanted, rtol=1e-10, atol=1e-12)
        assert out_mask.dtype == mask.dtype and out_mask.shape[:2] == mask.shape[:2]
        torch.testing.assert_close(out_mask.double().expand_as(output), wanted_mask, rtol=1e-10, atol=1e-12)
        assert_holes_hold(output, out_mask)


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_no_mask_and_ones_are_the_plain_layer(rank, call):
    options = options_of(call, rank)
    x = torch.randn(2, 3, *SIZE[rank], dtype=torch.float64)
    plain = nn.Upsample(**options)(x)
    for rule in RULES:
        layer = mnn.MaskedUpsample(**options, mask_update=rule)
        assert isinstance(layer, nn.Upsample) and layer.state_dict() == {}
        output, out_mask = layer(x)
        assert torch.equal(output, plain) and out_mask is None
        for mask in (torch.ones(1, 1, *SIZE[rank]).bool(), torch.ones(2, 3, *SIZE[rank])):
            output, out_mask = layer(x, mask)
            torch.testing.assert_close(output, plain, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(out_mask, torch.ones_like(out_mask))


def test_all_holds_for_any_size():
    """Weights that add up to 1 only up to rounding do not make a hole."""
    rounded = 0
    for size in range(4, 30):
        options = dict(size=(size, size), mode="bilinear")
        ones = torch.ones(1, 1, 3, 3)
        rounded += (F.interpolate(ones, **options) != 1).sum()
        for mask in (ones.bool(), ones):
            assert mnn.masked_upsample(ones, mask, **options, mask_update="all")[1].bool().all()
    assert rounded > 0


def test_parts_of_the_channels():
    x, mask = image_with_holes((2, 5, 3, 4), 2, parts=(3, 2))
    output, out_mask = mnn.MaskedUpsample(scale_factor=2, mode="bilinear", mask_channels=(3, 2))(x, mask)
    of_channel = mask.repeat_interleave(torch.tensor((3, 2)), 1)
    wanted, wanted_mask = mnn.masked_upsample(x, of_channel, scale_factor=2, mode="bilinear")
    assert torch.equal(output, wanted) and out_mask.shape[1] == 2
    assert torch.equal(out_mask.repeat_interleave(torch.tensor((3, 2)), 1), wanted_mask)


@pytest.mark.parametrize("mode", ("nearest", "bilinear"))
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_garbage_reaches_neither_output_nor_gradients(mode, kind):
    layer = mnn.MaskedUpsample(scale_factor=2, mode=mode)
    x, mask = image_with_holes((2, 3, 4, 4), kind=kind, density=0.4)
    assert torch.equal(layer(x, mask)[0], layer(torch.where(mask != 0, x, 7.0), mask)[0])
    assert_gradients_are_clean(layer, x, mask)
    output, out_mask = layer(x, torch.zeros_like(mask))
    assert (output == 0).all() and (out_mask == 0).all()


@pytest.mark.parametrize("mode", ("nearest", "bilinear"))
def test_gradcheck(mode):
    x, values = torch.randn(1, 2, 3, 3).double(), torch.rand(1, 1, 3, 3).double() * 0.8 + 0.1
    holes = torch.rand(1, 1, 3, 3) < 0.4

    def call(x, m):
        return mnn.masked_upsample(x, torch.where(holes, 0.0, m), scale_factor=2, mode=mode)

    assert torch.autograd.gradcheck(call, [x.requires_grad_(), values.requires_grad_()])


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16, torch.float32))
@pytest.mark.parametrize("mode", ("nearest", "bilinear"))
def test_dtypes(dtype, mode):
    layer = mnn.MaskedUpsample(scale_factor=2, mode=mode)
    x, mask = image_with_holes((2, 3, 4, 4), dtype=dtype)
    output, out_mask = layer(x, mask)
    wanted, wanted_mask = layer(x.double(), mask)
    eps = torch.finfo(dtype).eps
    assert output.dtype == dtype and torch.equal(out_mask, wanted_mask)
    torch.testing.assert_close(output.double(), wanted, rtol=8 * eps, atol=8 * eps)


def test_copies_compilation_and_repr():
    x, mask = image_with_holes((2, 3, 4, 4), kind="float64")
    layer = mnn.MaskedUpsample(scale_factor=2, mode="bilinear", mask_update=0.5)
    assert_survives_copies(layer, x, mask)
    assert repr(layer) == "MaskedUpsample(scale_factor=2.0, mode='bilinear', mask_update=0.5)"


X, M = torch.zeros(2, 4, 6, 5), torch.ones(2, 1, 6, 5, dtype=torch.bool)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(input=X.int()), TypeError, "input: got torch.int32, needs float16, bfloat16, float32 or float64"),
        (dict(mode="bicubic"), ValueError,
         "mode: got 'bicubic' for input (2, 4, 6, 5), needs one of 'nearest', 'nearest-exact', 'bilinear'"),
        (dict(mode="linear"), ValueError,
         "mode: got 'linear' for input (2, 4, 6, 5), needs one of 'nearest', 'nearest-exact', 'bilinear'"),
        (dict(mask=M[:, :, 1:]), ValueError,
         "mask: got shape (2, 1, 5, 5) for input (2, 4, 6, 5), needs (1 or 2, 1 or 4, 6, 5)"),
        (dict(mask_update="center"), ValueError,
         "mask_update: got 'center', needs 'any', 'all', 'inside' or a float in (0, 1]"),
    ],
)  # fmt: skip
def test_wrong_call(changes, error, message):
    arguments = dict(input=X, mask=M, scale_factor=2) | changes
    assert_raises_first(lambda: mnn.masked_upsample(**arguments), error, f"masked_upsample: {message}")


def test_wrong_layers():
    with pytest.raises(ValueError, match=r"^MaskedUpsample: mode: got 'bicubic', needs one of 'nearest', "):
        mnn.MaskedUpsample(scale_factor=2, mode="bicubic")
    with pytest.raises(ValueError, match=r"^MaskedUpsample: mask_update: got True, needs 'any', 'all', 'inside' or"):
        mnn.MaskedUpsample(scale_factor=2, mask_update=True)
