"""Sequences, sums and concatenations of layers with masks."""

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
from maskconv_ext.nn import containers


def body(activation=None):
    return mnn.MaskedSequential(
        mnn.MaskedConv2d(3, 4, 3, padding=1),
        activation or nn.ReLU(),
        mnn.MaskedSequential(mnn.MaskedMaxPool2d(2), nn.Dropout(0.5), mnn.MaskedConv2d(4, 2, 1)),
    ).double()


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_the_mask_is_carried(kind):
    layers = body().eval()
    x, mask = image_with_holes((2, 3, 6, 6), kind=kind, density=0.2)
    y, m = layers[0](x, mask)
    y, m = layers[2][2](*layers[2][0](y.relu(), m))
    output, out_mask = layers(x, mask)
    assert torch.equal(output, y) and torch.equal(out_mask, m)
    assert_gradients_are_clean(layers, x, mask)


def test_state_dict_and_slices_are_those_of_sequential():
    layers = body()
    plain = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Sequential(nn.Identity(), nn.Identity(), nn.Conv2d(4, 2, 1))
    )
    plain.double().load_state_dict(layers.state_dict())
    assert list(plain.state_dict()) == list(layers.state_dict())
    assert isinstance(layers[:2], mnn.MaskedSequential) and layers[:2][0] is layers[0]
    x = torch.randn(2, 3, 6, 6).double()
    output, mask = layers[:2](x)
    assert torch.equal(output, plain[:2](x)) and mask is None
    assert len(mnn.MaskedSequential()) == 0


ELEMENTWISE = [nn.Threshold(0.1, 5.0) if c is nn.Threshold else c() for c in containers._ELEMENTWISE]


@pytest.mark.parametrize("module", ELEMENTWISE, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("training", (True, False))
def test_every_elementwise_module(module, training):
    """0 in the holes of its output, clean gradients, and its own values elsewhere."""
    keeps_zero = containers._ELEMENTWISE[type(module)]
    rank = {nn.Dropout1d: 1, nn.Dropout3d: 3}.get(type(module), 2)
    layers = mnn.MaskedSequential(module.double().train(training))
    for channels in (1, 3):
        x, mask = image_with_holes((2, 3, *(4, 3, 2)[:rank]), channels)
        torch.manual_seed(1)
        output, out_mask = layers(x, mask)
        torch.manual_seed(1)
        plain = module(torch.where(mask != 0, x, 0.0))
        assert out_mask is mask
        torch.testing.assert_close(output, torch.where(mask, plain, 0.0))
        assert_holes_hold(output, mask)
        assert_gradients_are_clean(layers, x, mask)
        assert layers(torch.zeros_like(x), None)[0].abs().max() == 0 or not keeps_zero


def test_subclasses_of_elementwise_modules_and_registered_ones():
    class Doubled(nn.ReLU):
        def forward(self, x):
            return 2 * super().forward(x)

    class PlusOne(nn.Module):
        def forward(self, x):
            return x + 1

    x, mask = image_with_holes((1, 2, 4))
    assert mnn.MaskedSequential(Doubled())(x, mask)[0].isfinite().all()
    layers = mnn.MaskedSequential(PlusOne())
    with pytest.raises(TypeError, match=r"child '0': got PlusOne, needs a module whose forward takes a mask"):
        layers(x, mask)
    mnn.register_elementwise(PlusOne)
    try:
        output, _ = layers(x, mask)
        assert torch.equal(output, torch.where(mask, x + 1, 0.0))
    finally:
        del containers._ELEMENTWISE[PlusOne]
    with pytest.raises(TypeError, match=r"^register_elementwise: module_class: got ReLU\(\), needs a class"):
        mnn.register_elementwise(nn.ReLU())


def test_a_child_that_knows_no_mask_is_named_by_its_path():
    layers = mnn.MaskedSequential()
    layers.add_module("stem", mnn.MaskedConv2d(3, 4, 3))
    layers.add_module("tail", mnn.MaskedSequential(nn.ReLU(), nn.Conv2d(4, 4, 3)))
    x, mask = image_with_holes((1, 3, 6, 6))
    assert_raises_first(
        lambda: layers(x, mask), TypeError,
        "MaskedSequential: child 'tail.1': got Conv2d, needs a module whose forward takes a mask, or an elementwise "
        "one; use the masked form of this module, or call register_elementwise(Conv2d) if it computes every position "
        "by itself",
    )  # fmt: skip


class Forgetful(nn.Module):
    def forward(self, x, mask=None):
        return x


def test_a_child_that_returns_no_mask_and_a_mask_of_parts():
    x, mask = image_with_holes((1, 4, 6, 6), 2, parts=(3, 1))
    with pytest.raises(TypeError, match=r"^MaskedSequential: child '0': got Tensor, needs to return \(output, mask\)$"):
        mnn.MaskedSequential(Forgetful())(x, mask)
    with pytest.raises(ValueError, match=r"^MaskedSequential: child '0': mask: got shape \(1, 2, 6, 6\) for input"):
        mnn.MaskedSequential(nn.ReLU())(x, mask)


def test_is_mask_aware():
    assert mnn.is_mask_aware(mnn.MaskedConv2d(1, 1, 1)) and mnn.is_mask_aware(mnn.MaskedSequential())
    assert not mnn.is_mask_aware(nn.ReLU()) and not mnn.is_mask_aware(nn.Sequential())
    assert mnn.is_mask_aware(torch.compile(mnn.MaskedConv2d(1, 1, 1), backend="eager"))


def test_copies_and_compilation():
    x, mask = image_with_holes((2, 3, 6, 6))
    assert_survives_copies(body(nn.Sigmoid()).eval(), x, mask)


def add_by_loop(pairs, rule):
    shape = pairs[0][0].shape
    output, out_mask = torch.zeros(shape).double(), torch.zeros(shape).double()
    for i in torch.cartesian_prod(*(torch.arange(n) for n in shape)).tolist():
        i = tuple(i)
        values = [1.0 if m is None else float(m.expand(shape)[i]) for _, m in pairs]
        values = [v if m is None or m.is_floating_point() else float(v != 0) for v, (_, m) in zip(values, pairs)]
        out_mask[i] = max(values) if rule == "any" else min(values)
        if out_mask[i] != 0:
            output[i] = sum(x[i] for v, (x, _) in zip(values, pairs) if v != 0)
    return output, out_mask


@pytest.mark.parametrize("rule", ("any", "all"))
@pytest.mark.parametrize("first", (None, *MASK_KINDS))
@pytest.mark.parametrize("second", (None, *MASK_KINDS))
def test_add_against_a_loop(rule, first, second):
    pairs = []
    for seed, kind in enumerate((first, second)):
        x, mask = image_with_holes((2, 2, 3, 2), 1 + seed, kind or "bool", seed=seed, batch=2 - seed)
        pairs.append((x.nan_to_num(1, 2, 3), None) if kind is None else (x, mask))
    output, out_mask = mnn.MaskedAdd(rule)(*pairs)
    wanted, wanted_mask = add_by_loop(pairs, rule)
    torch.testing.assert_close(output, wanted)
    if out_mask is None:
        assert (wanted_mask == 1).all()
    else:
        torch.testing.assert_close(out_mask.double().expand_as(wanted), wanted_mask)
        kinds = {first, second} - {None}
        assert out_mask.dtype == (
            torch.float64 if "float64" in kinds else torch.uint8 if "uint8" in kinds else torch.bool
        )


def test_add_parts_three_terms_and_gradients():
    parts = torch.tensor((1, 2))
    (x1, m1), (x2, m2) = (image_with_holes((2, 3, 4), 2, "float64", parts=(1, 2), seed=s) for s in (0, 1))
    x3, m3 = image_with_holes((2, 3, 4), 1, "float64", seed=2)
    for rule in ("any", "all"):
        output, out_mask = mnn.MaskedAdd(rule, mask_channels=(1, 2))((x1, m1), (x2, m2), (x3, m3))
        wide = [(x1, m1.repeat_interleave(parts, 1)), (x2, m2.repeat_interleave(parts, 1)), (x3, m3)]
        wanted, wanted_mask = mnn.MaskedAdd(rule)(*wide)
        assert torch.equal(output, wanted) and torch.equal(out_mask.repeat_interleave(parts, 1), wanted_mask)
        assert_gradients_are_clean(lambda x, m, rule=rule: mnn.MaskedAdd(rule)((x, m), (x3, m3)), x3.clone(), m3)


@pytest.mark.parametrize("first", (None, *MASK_KINDS))
@pytest.mark.parametrize("second", MASK_KINDS)
def test_cat_and_the_convolution_after_it(first, second):
    x1, m1 = image_with_holes((2, 3, 5, 5), 1, first or "bool")
    x2, m2 = image_with_holes((2, 2, 5, 5), 2, second, seed=1, batch=1)
    pairs = ((x1.nan_to_num(1, 2, 3), None) if first is None else (x1, m1)), (x2, m2)
    x, mask = mnn.MaskedCat()(*pairs)
    parts = mnn.mask_channels_of(*pairs)
    assert parts == (3, 1, 1) and x.shape[1] == 5 and mask.shape == (2 if first else 1, 3, 5, 5)
    first_mask = torch.ones_like(m1) if first is None else m1
    of_channel = torch.cat([m.expand(2, c, 5, 5) != 0 for m, c in ((first_mask, 3), (m2, 2))], 1)
    assert torch.equal(x, torch.where(of_channel, torch.cat([pairs[0][0], x2], 1), 0.0))

    conv = mnn.MaskedConv2d(5, 4, 3, padding=1, mask_channels=parts).double()
    values = [m if m.is_floating_point() else (m != 0).double() for m in (first_mask, m2)]
    per_channel = torch.cat([m.double().expand(2, c, 5, 5) for m, c in zip(values, (3, 2))], 1)
    output, _ = conv(x, mask)
    conv.mask_channels = None
    wanted, _ = conv(x, per_channel)
    torch.testing.assert_close(output, wanted)


def test_cat_without_masks_and_its_gradients():
    x, mask = image_with_holes((2, 3, 5, 5), kind="float64")
    output, out_mask = mnn.MaskedCat()((torch.ones(2, 1, 5, 5), None), (torch.ones(2, 2, 5, 5), None))
    assert out_mask is None and torch.equal(output, torch.ones(2, 3, 5, 5))
    assert_gradients_are_clean(lambda x, m: mnn.MaskedCat()((x, m), (torch.ones(2, 1, 5, 5), None)), x, mask)


X, M = torch.zeros(2, 4, 6, 5), torch.ones(2, 1, 6, 5, dtype=torch.bool)


@pytest.mark.parametrize(
    ("module", "pairs", "error", "message"),
    [
        (mnn.MaskedAdd(), (), ValueError, "MaskedAdd: got no inputs, needs pairs (x, mask)"),
        (mnn.MaskedCat(), (X, M), TypeError,
         "MaskedCat: input 0: got Tensor, needs a pair (x, mask); mask may be None"),
        (mnn.MaskedAdd(), ((X, M), (X[:, :2], M)), ValueError,
         "MaskedAdd: input 1: got shape (2, 2, 6, 5), needs (2, 4, 6, 5), the shape of input 0"),
        (mnn.MaskedCat(), ((X, M), (X[..., :2], None)), ValueError,
         "MaskedCat: input 1: got shape (2, 4, 6, 2), needs the batch and spatial sizes of input 0, (2, 4, 6, 5)"),
        (mnn.MaskedAdd(), ((X, M), (X, M[..., :2])), ValueError,
         "MaskedAdd: input 1: mask: got shape (2, 1, 6, 2) for input (2, 4, 6, 5), needs (1 or 2, 1 or 4, 6, 5)"),
        (mnn.MaskedCat(), ((X.int(), M),), TypeError,
         "MaskedCat: input 0: input: got torch.int32, needs float16, bfloat16, float32 or float64"),
    ],
)  # fmt: skip
def test_wrong_pairs(module, pairs, error, message):
    assert_raises_first(lambda: module(*pairs), error, message)


def test_wrong_rule_and_repr():
    with pytest.raises(ValueError, match=r"^MaskedAdd: mask_update: got 0.5, needs 'any' or 'all'$"):
        mnn.MaskedAdd(0.5)
    assert repr(mnn.MaskedAdd("all", mask_channels=[2])) == "MaskedAdd(mask_update='all', mask_channels=(2,))"


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mnn.MaskedSequential(mnn.MaskedConv2d(3, 3, 3, padding=1), nn.ReLU())
        self.add, self.cat = mnn.MaskedAdd(), mnn.MaskedCat()
        self.last = mnn.MaskedConv2d(6, 2, 1, mask_channels=(3, 3))

    def forward(self, x, mask=None):
        pair = self.add((x, mask), self.body(x, mask))
        return self.last(*self.cat(pair, (x, mask)))


def test_a_residual_network_copies_and_compiles():
    x, mask = image_with_holes((2, 3, 6, 6), dtype=torch.float32)
    assert_survives_copies(Residual(), x, mask)
    assert Residual()(x.nan_to_num(0, 0, 0))[1] is None
