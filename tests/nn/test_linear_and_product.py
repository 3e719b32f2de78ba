"""Linear layers over positions, and gates."""

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

import maskconv_ext.nn as mnn
from maskconv_ext import masked_conv2d


@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("channels", (1, 5))
def test_linear_is_a_convolution_with_a_kernel_of_one(channels, kind):
    x, mask = image_with_holes((2, 5, 4, 3), channels, kind)
    layer = mnn.MaskedLinear(5, 6).double()
    wanted, wanted_mask = masked_conv2d(x, mask, layer.weight[:, :, None, None], layer.bias)
    y, out_mask = layer(x.movedim(1, -1), mask.movedim(1, -1))
    assert_holes_hold(y, out_mask)
    if channels > 1:
        torch.testing.assert_close((y.movedim(-1, 1), out_mask.movedim(-1, 1)), (wanted, wanted_mask))
    else:  # the mask goes on as it came: a soft one weights no single value
        assert out_mask.shape == (2, 4, 3, 1) and torch.equal(out_mask.movedim(-1, 1), mask)
        valid = mask[:, 0] != 0
        torch.testing.assert_close(y[valid], nn.Linear.forward(layer, x.movedim(1, -1))[valid])
    assert_gradients_are_clean(lambda x, m: layer(x.movedim(1, -1), m.movedim(1, -1)), x, mask)


def test_linear_has_the_state_and_the_outputs_of_torch():
    layer, plain = mnn.MaskedLinear(3, 2), nn.Linear(3, 2)
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(4, 5, 3)
    y, mask = layer(x)
    assert mask is None and torch.equal(y, plain(x))
    y, mask = layer(x, torch.ones(1, 5, 3, dtype=torch.bool))
    torch.testing.assert_close(y, plain(x))
    assert mask.shape == (4, 5, 1)
    assert_survives_copies(layer, x, torch.rand(4, 5, 1) < 0.5)


def test_wrong_linear():
    layer = mnn.MaskedLinear(3, 2)
    needs = "MaskedLinear: input: got shape (2, 4), needs (*, 3)"
    x, wrong = torch.zeros(2, 3), torch.zeros(2, 4)
    assert_raises_first(lambda: layer(wrong), ValueError, needs)
    mask = torch.ones(2, 2, dtype=torch.bool)
    message = "MaskedLinear: mask: got shape (2, 2) for input (2, 3), needs (1 or 2, 1 or 3)"
    assert_raises_first(lambda: layer(x, mask), ValueError, message)
    whole = torch.zeros(2, 3, dtype=torch.int64)
    message = "MaskedLinear: input: got torch.int64, needs float16, bfloat16, float32 or float64"
    assert_raises_first(lambda: layer(whole), TypeError, message)


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_products(kind):
    x1, m1 = image_with_holes((2, 3, 4, 5), 3, kind)
    x2, m2 = image_with_holes((2, 3, 4, 5), 1, kind, seed=1, batch=1)
    y, mask = mnn.MaskedMul()((x1, m1), (x2, m2))
    assert mask.shape == (2, 3, 4, 5) and torch.equal(mask != 0, (m1 != 0) & (m2 != 0))
    torch.testing.assert_close(y, torch.where(mask != 0, x1 * x2, 0.0))
    assert_gradients_are_clean(lambda x, m: mnn.MaskedMul()((x, m), (x2, m2)), x1, m1)


def test_gates_and_missing_masks():
    x, mask = image_with_holes((2, 3, 4, 5))
    gate, any_valid = mnn.MaskedAdaptiveAvgPool2d(1)(x, mask)
    y, out_mask = mnn.MaskedMul()((x, mask), (gate, any_valid))
    torch.testing.assert_close(y, torch.where(mask, x * gate, 0.0))
    assert torch.equal(out_mask, mask)
    y, out_mask = mnn.MaskedMul()((x.nan_to_num(), None), (gate, any_valid))
    assert out_mask.shape == (2, 1, 4, 5) and out_mask.all()
    y, none = mnn.MaskedMul()((gate, None), (gate, None))
    assert none is None and torch.equal(y, gate * gate)
    assert_survives_copies(mnn.MaskedMul(), (x, mask), (gate, None))


def test_wrong_products():
    x, mask = torch.zeros(1, 2, 3), torch.ones(1, 1, 4, dtype=torch.bool)
    flat = torch.zeros(1, 2)
    assert_raises_first(lambda: mnn.MaskedMul()(), ValueError, "MaskedMul: got no inputs, needs pairs (x, mask)")
    assert_raises_first(
        lambda: mnn.MaskedMul()((x, None), x), TypeError, "MaskedMul: input 1: got Tensor, needs a pair (x, mask)"
    )
    assert_raises_first(
        lambda: mnn.MaskedMul()((x, None), (x, mask)), ValueError,
        "MaskedMul: input 1: mask: got shape (1, 1, 4) for input (1, 2, 3), needs (1, 1 or 2, 1 or 3)",
    )  # fmt: skip
    assert_raises_first(
        lambda: mnn.MaskedMul()((x, None), (flat, None)), ValueError,
        "MaskedMul: input 1: got shape (1, 2), needs 3 dimensions, as input 0",
    )  # fmt: skip
