"""Elementwise modules and dropout beside a mask."""

from __future__ import annotations

import pickle

import pytest
import torch
from masked_inputs import MASKS, grads_of, make
from torch import nn

from maskconv_ext.nn import Masked, MaskedDropout

MODULES = [nn.ReLU(), nn.ReLU(inplace=True), nn.Sigmoid(), nn.Softplus(), nn.GELU(), nn.PReLU(4, dtype=torch.float64)]


@pytest.mark.parametrize("row", MASKS, ids=str)
@pytest.mark.parametrize("module", MODULES, ids=str)
def test_holes_stay_0_and_nothing_leaks(device, module, row):
    layer = Masked(module.to(device))
    x, mask = make(2, *row, device=device)
    before = x.clone()
    y, grads = grads_of(layer, x, mask)
    valid = torch.where(mask != 0, x, 0.0)
    torch.testing.assert_close(y, torch.where(mask != 0, module(valid.clone()), 0.0))
    assert torch.equal(x.nan_to_num(), before.nan_to_num())
    assert (grads[0][(mask == 0).expand_as(x)] == 0).all() and all(torch.isfinite(g).all() for g in grads)
    assert torch.equal(layer(valid.clone(), None)[0], module(valid.clone())) and layer(valid, None)[1] is None
    assert layer(x, mask)[1] is mask


def test_integers_and_parts():
    x, mask = torch.arange(8).view(1, 2, 4), torch.tensor([[[True], [False]]]).expand(1, 2, 4)
    assert Masked(nn.Identity())(x, mask)[0].tolist() == [[[0, 1, 2, 3], [0] * 4]]
    y, _ = Masked(nn.Sigmoid(), mask_channels=(1, 3))(torch.zeros(1, 4, 4), mask)
    assert torch.equal(y, torch.tensor([0.5, 0, 0, 0]).view(1, 4, 1).expand(1, 4, 4))


@pytest.mark.parametrize("row", [("bool", "shared", 3), ("soft", "channels", 1)], ids=str)
def test_compiled_and_pickled(row):
    x, mask = make(2, *row)
    torch._dynamo.reset()
    layer = pickle.loads(pickle.dumps(Masked(nn.GELU())))
    step = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(step(x, mask), Masked(nn.GELU())(x, mask))


@pytest.mark.parametrize("row", MASKS, ids=str)
def test_dropout(device, row):
    x, mask = make(2, *row, device=device)
    y, out_mask = MaskedDropout(0.4)(x, mask)
    valid = (mask != 0).expand_as(x)
    assert out_mask is mask and (y[~valid] == 0).all()
    kept = valid & (y != 0)
    torch.testing.assert_close(y[kept], x[kept] / 0.6)
    assert 0.4 < kept.sum() / valid.sum() < 0.8
    for layer in (MaskedDropout(0.4).eval(), MaskedDropout(0.4, drop_mask=True).eval()):
        y, out_mask = layer(x, mask)
        assert out_mask is mask and torch.equal(y, torch.where(valid, x, 0.0))


@pytest.mark.parametrize("row", [*MASKS, None], ids=str)
def test_dropped_positions_become_holes(device, row):
    x, mask = make(2, *(row or MASKS[0]), device=device, garbage=row is not None)
    mask = None if row is None else mask
    y, out_mask = MaskedDropout(0.4, drop_mask=True)(x, mask)
    valid = torch.ones_like(x, dtype=torch.bool) if mask is None else (mask != 0).expand_as(x)
    kept = (out_mask != 0).expand_as(x)
    assert torch.equal(y, torch.where(kept, x, 0.0)) and not (kept & ~valid).any()
    assert 0.4 < kept.sum() / valid.sum() < 0.8
    dropped = (valid & ~kept).any(1, keepdim=True)
    assert not (dropped & kept).any(), "a position drops all its channels"
    if mask is None:
        assert out_mask.dtype == torch.bool and out_mask.shape == (3, 1, 5, 6)
    else:
        assert out_mask.dtype == mask.dtype and out_mask.shape == (3, *mask.shape[1:])
        survivors = (out_mask != 0).expand(3, *mask.shape[1:])
        assert torch.equal(out_mask[survivors], mask.expand_as(out_mask)[survivors])


def test_dropout_of_everything_and_nothing():
    x = torch.ones(2, 3, 4)
    assert not MaskedDropout(1.0, drop_mask=True)(x)[1].any()
    assert MaskedDropout(0.0, drop_mask=True)(x)[1].all()
    assert repr(MaskedDropout(drop_mask=True)) == "MaskedDropout(p=0.5, inplace=False, drop_mask=True)"


X, M = torch.zeros(2, 4, 6), torch.ones(2, 1, 6, dtype=torch.bool)
ERRORS = [
    (lambda: Masked(torch.relu), "Masked: module: got builtin_function_or_method, needs an nn.Module"),
    (lambda: Masked(nn.Flatten())(X, M), "Masked(Flatten): module: made shape (2, 24) of (2, 4, 6), needs to keep the "
                                         "shape; layers that move positions have masked variants"),
    (lambda: Masked(nn.ReLU())(X, M[0]),
     "Masked(ReLU): mask: got shape (1, 6) for input (2, 4, 6), needs (1 or 2, 1 or 4, 6)"),
    (lambda: Masked(nn.ReLU())((X, M)),
     "Masked(ReLU): input: got a tuple, needs a Tensor; write layer(*pair) to hand on the mask of a pair"),
    (lambda: Masked(nn.ReLU())(3.0), "Masked(ReLU): input: got float, needs a Tensor"),
    (lambda: Masked(nn.ReLU())(X[0, 0]),
     "Masked(ReLU): input: got shape (6,), needs 2 or more dimensions (N, C, *S)"),
    (lambda: MaskedDropout(0.5)(X.int(), M),
     "MaskedDropout: input: got torch.int32, needs float16, bfloat16, float32 or float64"),
    (lambda: MaskedDropout(0.5, mask_channels=[0]),
     "MaskedDropout: mask_channels: got [0], needs a sequence of ints >= 1, or None"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[row[1][:40] for row in ERRORS])
def test_wrong_call(call, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value) == message
