"""Batch normalisation over valid positions, against an average over the list of valid values."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from masked_inputs import MASKS, SIZES, grads_of, make, randomise, standardise, weights
from torch import nn

from maskconv_ext.nn import MaskedBatchNorm1d, MaskedBatchNorm2d, MaskedBatchNorm3d, convert_sync_batchnorm

LAYERS = {0: MaskedBatchNorm1d, 1: MaskedBatchNorm1d, 2: MaskedBatchNorm2d, 3: MaskedBatchNorm3d}
PLAIN = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
F64 = dict(dtype=torch.float64)


def expected(x, mask, layer):
    """Output, running mean and running variance after one training step from 0 and 1."""
    values, m = x.detach().cpu().numpy(), weights(mask, x)
    output, running_mean, running_var = np.zeros_like(values), np.zeros(x.shape[1]), np.ones(x.shape[1])
    momentum = 1.0 if layer.momentum is None else layer.momentum
    for c in range(x.shape[1]):
        normalised, mean, variance, n = standardise(values[:, c], m[:, c], layer.eps)
        scale = 1.0 if layer.weight is None else layer.weight[c].item()
        shift = 0.0 if layer.bias is None else layer.bias[c].item()
        output[:, c] = np.where(m[:, c] > 0, normalised * scale + shift, 0.0)
        if n >= 2:
            running_mean[c] = momentum * mean
            running_var[c] = (1 - momentum) + momentum * variance * n / (n - 1)
    return [torch.from_numpy(a).to(x.device) for a in (output, running_mean, running_var)]


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"momentum": None}, {"momentum": 0.3, "eps": 0.1}], ids=str)
@pytest.mark.parametrize("row", MASKS, ids=str)
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_training(device, rank, row, options):
    x, mask = make(rank, *row, device=device)
    layer = randomise(LAYERS[rank](4, **options, **F64)).to(device)
    y, out_mask = layer(x, mask)
    assert out_mask is mask
    torch.testing.assert_close([y, layer.running_mean, layer.running_var], expected(x, mask, layer))
    assert layer.num_batches_tracked == 1


def test_cumulative_average_of_two_batches():
    layer = MaskedBatchNorm2d(4, momentum=None, **F64)
    batches = [make(2, "bool", "shared", batch) for batch in (1, 3)]
    alone = []
    for x, mask in batches:
        layer(x, mask)
        alone.append(expected(x, mask, MaskedBatchNorm2d(4, momentum=None, **F64))[1:])
    mean, variance = ((first + second) / 2 for first, second in zip(*alone))
    torch.testing.assert_close([layer.running_mean, layer.running_var], [mean, variance])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_ones_and_none_are_the_plain_layer(device, rank, track, training):
    x, mask = make(rank, "bool", "shared", 3, garbage=False, device=device)
    plain = randomise(PLAIN[rank](4, track_running_stats=track, **F64)).to(device)
    if track:
        plain.running_mean.fill_(3.0)
        plain.running_var.fill_(2.0)
    plain.train(training)
    masks = [None, torch.ones_like(mask), torch.ones(1, 4, *SIZES[rank], device=device, **F64)]
    for ones in masks:
        layer, twin = LAYERS[rank](4, track_running_stats=track, **F64).to(device), copy.deepcopy(plain)
        layer.load_state_dict(twin.state_dict())
        layer.train(training)
        runs = [grads_of(layer, x, ones), grads_of(lambda_module(twin), x, None)]
        torch.testing.assert_close(runs[0][0], runs[1][0])
        grads = runs[0][1] if ones is None or not ones.is_floating_point() else [runs[0][1][0], *runs[0][1][2:]]
        torch.testing.assert_close(list(grads), list(runs[1][1]))
        torch.testing.assert_close(dict(layer.state_dict()), dict(twin.state_dict()))


def lambda_module(plain: nn.Module) -> nn.Module:
    class WithMask(nn.Module):
        def __init__(self):
            super().__init__()
            self.plain = plain

        def forward(self, x, mask):
            return self.plain(x), mask

    return WithMask()


@pytest.mark.parametrize("row", MASKS, ids=str)
def test_evaluation_uses_the_running_statistics(device, row):
    x, mask = make(2, *row, device=device)
    layer = randomise(MaskedBatchNorm2d(4, **F64)).to(device).eval()
    layer.running_mean.copy_(torch.arange(4.0))
    layer.running_var.copy_(torch.arange(4.0) + 1)
    y, (grad_x, *rest) = grads_of(layer, x, mask)
    selected = torch.where(mask != 0, x, 0.0)
    plain = torch.nn.functional.batch_norm(selected, layer.running_mean, layer.running_var, layer.weight, layer.bias)
    torch.testing.assert_close(y, torch.where(mask != 0, plain, 0.0))
    assert (grad_x[(mask == 0).expand_as(x)] == 0).all() and layer.num_batches_tracked == 0
    assert all(torch.isfinite(g).all() for g in (grad_x, *rest[-2:]))


@pytest.mark.parametrize("row", MASKS, ids=str)
@pytest.mark.parametrize("affine", [True, False])
def test_gradients(row, affine):
    x, mask = make(1, *row, garbage=False)
    layer = randomise(MaskedBatchNorm1d(4, affine=affine, track_running_stats=False, **F64))
    # Finite differences would cross from a hole to a soft position, so only the valid values of a soft mask vary.
    inputs = [x.requires_grad_(), *layer.parameters()]
    soft = mask.is_floating_point()
    if soft:
        values = mask[mask != 0].requires_grad_()
        inputs.append(values)

    def output(x, *rest):
        m = torch.zeros_like(mask).masked_scatter(mask != 0, rest[-1]) if soft else mask
        named = dict(zip(["weight", "bias"], rest)) if affine else {}
        return torch.func.functional_call(layer, named, (x, m))[0]

    assert torch.autograd.gradcheck(output, inputs)
    assert torch.autograd.gradgradcheck(output, inputs)


@pytest.mark.parametrize("row", MASKS, ids=str)
def test_garbage_under_holes_changes_nothing(device, row):
    layer = randomise(MaskedBatchNorm2d(4, **F64)).to(device)
    runs = []
    for garbage in (True, False):
        twin = copy.deepcopy(layer)
        x, mask = make(2, *row, garbage=garbage, device=device)
        output, grads = grads_of(twin, x, mask)
        assert (grads[0][(mask == 0).expand_as(x)] == 0).all()
        runs.append([output, *grads, *twin.state_dict().values()])
    for got, wanted in zip(*runs):
        assert torch.equal(got, wanted) and torch.isfinite(got).all()


@pytest.mark.parametrize("soft", [False, True])
def test_a_channel_with_fewer_than_two_values_keeps_its_running_statistics(soft):
    x, mask = make(2, "bool", "channels", 3)
    mask[:, 0] = False
    mask[:, 1] = False
    mask[1, 1, 2, 3] = True
    x[1, 1, 2, 3] = 7.0
    mask = mask.double() * 0.3 if soft else mask
    layer = MaskedBatchNorm2d(4, **F64)
    y, (grad_x, *grads) = grads_of(layer, x, mask)
    assert y[:, :2].abs().max() < 1e-12 and torch.isfinite(y).all()
    assert all(torch.isfinite(g).all() for g in (grad_x, *grads))
    assert (layer.running_mean[:2] == 0).all() and (layer.running_var[:2] == 1).all()
    assert (layer.running_mean[2:] != 0).all() and (layer.running_var[2:] != 1).all()
    for empty in (torch.zeros(1, 1, 5, 6, dtype=torch.bool), torch.zeros(1, 4, 5, 6)):
        y, grads = grads_of(layer, x, empty)
        assert (y == 0).all() and all((g == 0).all() for g in grads)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_lower_precision_sums_in_float32(device, dtype):
    """Values far from 0, whose squares float16 cannot hold."""
    x, mask = make(2, "bool", "shared", 3, garbage=False, device=device)
    x = (x * 16 + 300).to(dtype)
    layer = MaskedBatchNorm2d(4).to(device)
    y, _ = layer(x.masked_fill(~mask, torch.inf), mask)
    double = MaskedBatchNorm2d(4, **F64).to(device)
    wanted, _ = double(x.double(), mask)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), wanted, rtol=0, atol=4 * max(torch.finfo(dtype).eps, 1e-5))
    torch.testing.assert_close(layer.running_var.double(), double.running_var, rtol=1e-5, atol=0)


def test_mask_of_parts():
    x, mask = make(2, "bool", "channels", 3)
    parts = mask[:, :2]
    x[:, 1:] = torch.where(parts[:, 1:], make(2, "bool", "shared", 3, garbage=False)[0][:, 1:], torch.nan)
    layer, each = MaskedBatchNorm2d(4, mask_channels=(1, 3), **F64), MaskedBatchNorm2d(4, **F64)
    assert torch.equal(layer(x, parts)[0], each(x, parts[:, [0, 1, 1, 1]])[0])
    assert "mask_channels=(1, 3)" in repr(layer)


@pytest.mark.parametrize("row", [("bool", "channels", 3), ("soft", "shared", 1)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_memory_format_and_strided_views(row, training):
    x, mask = make(2, *row)
    layer = MaskedBatchNorm2d(4, **F64).train(training)
    last = x.to(memory_format=torch.channels_last)
    y, _ = layer(last, mask)
    assert y.is_contiguous(memory_format=torch.channels_last)
    gapped = torch.full((3, 4, 10, 12), torch.nan, **F64)[:, :, ::2, ::2].copy_(x)
    fresh = MaskedBatchNorm2d(4, **F64).train(training)
    torch.testing.assert_close(fresh(gapped, mask)[0], y)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("row", [("bool", "shared", 3), ("soft", "channels", 1)], ids=str)
def test_compiled_equals_eager(row, momentum):
    x, mask = make(2, *row)
    torch._dynamo.reset()
    eager = MaskedBatchNorm2d(4, momentum=momentum, **F64)
    compiled = copy.deepcopy(eager)
    step = torch.compile(compiled, backend="aot_eager", fullgraph=True)
    for training in (True, True, False):
        eager.train(training)
        compiled.train(training)
        torch.testing.assert_close(step(x, mask), eager(x, mask))
    torch.testing.assert_close(dict(compiled.state_dict()), dict(eager.state_dict()))


def test_state_dict_pickling_and_repr():
    for rank in (1, 2, 3):
        layer, plain = LAYERS[rank](4), PLAIN[rank](4)
        assert {k: v.shape for k, v in layer.state_dict().items()} == {
            k: v.shape for k, v in plain.state_dict().items()
        }
        assert isinstance(layer, PLAIN[rank])
        again = pickle.loads(pickle.dumps(layer))
        assert repr(again) == repr(layer) == repr(plain).replace("BatchNorm", "MaskedBatchNorm")
    assert "sync=True" in repr(MaskedBatchNorm2d(4, sync=True))


def test_autocast(device):
    x, mask = make(2, "bool", "shared", 3, device=device)
    layer = MaskedBatchNorm2d(4).to(device)
    with torch.autocast(device, dtype=torch.bfloat16):
        y, _ = layer(x.bfloat16(), mask)
    assert y.dtype == torch.bfloat16 and torch.isfinite(y).all()


def test_convert_sync_batchnorm():
    inner = MaskedBatchNorm2d(4)
    model = nn.ModuleDict({"masked": nn.ModuleList([inner]), "plain": nn.BatchNorm2d(4), "conv": nn.Conv2d(1, 1, 1)})
    keys = list(model.state_dict())
    assert convert_sync_batchnorm(model) is model
    assert model["masked"][0] is inner and inner.sync
    assert isinstance(model["plain"], nn.SyncBatchNorm) and list(model.state_dict()) == keys
    # Alone it works as before.
    x, mask = make(2, "bool", "shared", 3)
    assert torch.equal(inner.double()(x, mask)[0], MaskedBatchNorm2d(4, **F64)(x, mask)[0])


X, M = torch.zeros(2, 4, 6, 5), torch.ones(2, 1, 6, 5, dtype=torch.bool)
NEEDS = "needs (1 or 2, 1 or 4, 6, 5)"
ERRORS = [
    (None, M, TypeError, "input: got NoneType, needs a Tensor"),
    (X[0], M, ValueError, "input: got shape (4, 6, 5), needs 4 dimensions"),
    (X[:, :3], M, ValueError, "input: got 3 channels, needs 4, the layer's num_features"),
    (X.int(), M, TypeError, "input: got torch.int32, needs float16, bfloat16, float32 or float64"),
    (X, [1], TypeError, "mask: got list, needs a Tensor or None"),
    (X, M.int(), TypeError, "mask: got torch.int32, needs bool, uint8 or a floating dtype; write mask != 0 for a mask "
                            "of 0 and 1, mask.float() for a soft mask"),
    (X, M.to("meta"), ValueError, "mask: got device meta, needs cpu, the device of input"),
    (X, M[0], ValueError, f"mask: got shape (1, 6, 5) for input (2, 4, 6, 5), {NEEDS}"),
    (X, M[..., :4], ValueError, f"mask: got shape (2, 1, 6, 4) for input (2, 4, 6, 5), {NEEDS}"),
    (X, M.expand(2, 2, 6, 5), ValueError, f"mask: got shape (2, 2, 6, 5) for input (2, 4, 6, 5), {NEEDS}"),
]  # fmt: skip


@pytest.mark.parametrize(("x", "mask", "error", "message"), ERRORS, ids=[row[3][:40] for row in ERRORS])
def test_wrong_call(x, mask, error, message):
    layer = MaskedBatchNorm2d(4)
    with pytest.raises(error) as caught:
        layer(x, mask)
    assert str(caught.value) == f"MaskedBatchNorm2d: {message}"
    assert layer.num_batches_tracked == 0


def test_wrong_mask_channels():
    with pytest.raises(
        ValueError, match="MaskedBatchNorm2d: mask_channels: got 4, needs a sequence of ints >= 1, or N"
    ):
        MaskedBatchNorm2d(4, mask_channels=4)
    with pytest.raises(ValueError, match=r"mask_channels: got \(1, 2\), which add up to 3, needs a sum of 4"):
        MaskedBatchNorm2d(4, mask_channels=(1, 2))(X, M.expand(2, 2, 6, 5))
