"""Layer, group and instance normalisation over valid positions, against averages over lists of valid values."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from masked_inputs import MASKS, SIZES, grads_of, make, randomise, standardise, weights
from torch import nn

from maskconv_ext.nn import (
    MaskedGroupNorm,
    MaskedInstanceNorm1d,
    MaskedInstanceNorm2d,
    MaskedInstanceNorm3d,
    MaskedLayerNorm,
)

F64 = dict(dtype=torch.float64)
INSTANCE = {1: MaskedInstanceNorm1d, 2: MaskedInstanceNorm2d, 3: MaskedInstanceNorm3d}
INSTANCE_PLAIN = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


def layers(rank: int):
    """Name: (layer, plain layer or function of x, shape in which the last dimension holds one statistic's values)."""
    size = SIZES[rank]
    rows = {
        "layer": (MaskedLayerNorm((4, *size), **F64), (3, -1)),
        "layer of positions": (MaskedLayerNorm(size, elementwise_affine=False, **F64), (3 * 4, -1)),
        "layer of channels": (MaskedLayerNorm(4, channels_first=True, **F64), None),
        "groups": (MaskedGroupNorm(2, 4, **F64), (3 * 2, -1)),
        "instance": (INSTANCE[rank](4, affine=True, **F64), (3 * 4, -1)),
    }
    for layer, _ in rows.values():
        randomise(layer)
    return rows


def plain(layer: nn.Module):
    """The layer of torch.nn with the same parameters, as (x, mask) -> (y, mask)."""

    class WithMask(nn.Module):
        def __init__(self):
            super().__init__()
            self.twin = copy.deepcopy(layer)

        def forward(self, x, mask):
            twin = self.twin
            if isinstance(twin, MaskedGroupNorm):
                return F.group_norm(x, twin.num_groups, twin.weight, twin.bias, twin.eps), mask
            if not isinstance(twin, MaskedLayerNorm):
                return F.instance_norm(x, None, None, twin.weight, twin.bias, True, 0.0, twin.eps), mask
            moved = x.movedim(1, -1) if twin.channels_first else x
            y = F.layer_norm(moved, twin.normalized_shape, twin.weight, twin.bias, twin.eps)
            return y.movedim(-1, 1) if twin.channels_first else y, mask

    return WithMask()


def expected(name, layer, shape, x, mask):
    values, m = x.numpy(), weights(mask, x)
    if name == "layer of channels":
        values, m = np.moveaxis(values, 1, -1), np.moveaxis(m, 1, -1)
        flat, flat_m = values.reshape(-1, 4), m.reshape(-1, 4)
    else:
        flat, flat_m = values.reshape(shape), m.reshape(shape)
    rows = [standardise(row, row_m, layer.eps)[0] for row, row_m in zip(flat, flat_m)]
    output = np.stack(rows).reshape(values.shape)
    if name == "layer of channels":
        output = np.moveaxis(output, -1, 1)
    output = torch.from_numpy(np.ascontiguousarray(output))
    if layer.weight is not None:
        per_element = name == "layer"
        shape = layer.weight.shape if per_element else (1, -1, *[1] * (x.dim() - 2))
        output = output * layer.weight.view(shape) + layer.bias.view(shape)
    return torch.where(mask != 0, output, 0.0)


@pytest.mark.parametrize("row", MASKS, ids=str)
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", list(layers(1)))
def test_against_lists_of_valid_values(name, rank, row):
    layer, shape = layers(rank)[name]
    x, mask = make(rank, *row)
    y, out_mask = layer(x, mask)
    assert out_mask is mask
    torch.testing.assert_close(y, expected(name, layer, shape, x, mask))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", list(layers(1)))
def test_ones_and_none_are_the_plain_layer(device, name, rank):
    layer = layers(rank)[name][0].to(device)
    x, mask = make(rank, "bool", "shared", 3, garbage=False, device=device)
    y, grads = grads_of(plain(layer), x, None)
    for ones in (None, torch.ones_like(mask), torch.ones(1, 4, *SIZES[rank], dtype=torch.uint8, device=device)):
        got = grads_of(layer, x, ones)
        torch.testing.assert_close(got, (y, grads))
        assert layer(x, ones)[1] is ones


@pytest.mark.parametrize("row", MASKS, ids=str)
@pytest.mark.parametrize("name", list(layers(1)))
def test_gradients(name, row):
    layer, _ = layers(1)[name]
    x, mask = make(1, *row, garbage=False)
    inputs = [x.requires_grad_()]
    soft = mask.is_floating_point()
    if soft:  # finite differences would cross from a hole to a soft position, so only valid values vary
        inputs.append(mask[mask != 0].requires_grad_())

    def output(x, *values):
        return layer(x, torch.zeros_like(mask).masked_scatter(mask != 0, values[0]) if soft else mask)[0]

    # A mask shared by all channels weights them alike: with one statistic a position it changes nothing.
    if name == "layer of channels" and soft and mask.shape[1] == 1:
        inputs, soft = inputs[:1], False
    plain_layer_norm = name == "layer of channels" and mask.shape[1] == 1  # torch's own, whose second order is slow
    assert torch.autograd.gradcheck(output, inputs, fast_mode=plain_layer_norm)
    if not plain_layer_norm:
        assert torch.autograd.gradgradcheck(output, inputs)


@pytest.mark.parametrize("row", MASKS, ids=str)
@pytest.mark.parametrize("name", list(layers(1)))
def test_garbage_under_holes_changes_nothing(device, name, row):
    layer = layers(2)[name][0].to(device)
    runs = []
    for garbage in (True, False):
        x, mask = make(2, *row, garbage=garbage, device=device)
        mask = mask.clone()
        mask[0] = 0  # a sample without a valid position
        if garbage:
            x[(mask == 0).expand_as(x)] = torch.nan
        output, grads = grads_of(layer, x, mask)
        holes = (mask == 0).expand_as(x)
        assert (output[holes] == 0).all() and (grads[0][holes] == 0).all()
        runs.append([output, *grads])
    for got, wanted in zip(*runs):
        assert torch.equal(got, wanted) and torch.isfinite(got).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("name", list(layers(1)))
def test_lower_precision_sums_in_float32(device, name, dtype):
    x, mask = make(2, "bool", "channels", 3, garbage=False, device=device)
    x = (x * 16 + 300).to(dtype)
    layer = layers(2)[name][0].to(device)
    wanted, _ = layer(x.double(), mask)
    y, _ = layer.float()(x.masked_fill(~mask, torch.inf), mask)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), wanted, rtol=0, atol=6 * max(torch.finfo(dtype).eps, 1e-5))


@pytest.mark.parametrize("channels", ["shared", "channels"])
@pytest.mark.parametrize("name", list(layers(1)))
def test_memory_format(name, channels):
    x, mask = make(2, "bool", channels, 3)
    y, _ = layers(2)[name][0](x.to(memory_format=torch.channels_last), mask)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert layers(2)[name][0](x, mask)[0].is_contiguous()


@pytest.mark.parametrize("name", list(layers(1)))
def test_compiled_equals_eager(name):
    x, mask = make(2, "bool", "shared", 3)
    layer = layers(2)[name][0]
    torch._dynamo.reset()
    step = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(step(x, mask), layer(x, mask))


def test_layer_norm_of_tokens():
    """Channels last: a padding mask (N, L, 1) only puts 0 into the holes."""
    tokens, mask = torch.randn(2, 5, 8, **F64), torch.rand(2, 5, 1) < 0.5
    wanted = torch.where(mask, F.layer_norm(tokens, (8,)), 0.0)
    torch.testing.assert_close(MaskedLayerNorm(8, **F64)(tokens.masked_fill(~mask, torch.nan), mask)[0], wanted)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_instance_norm_tracks_running_statistics(rank, training):
    options = dict(track_running_stats=True, affine=True, momentum=0.3, **F64)
    layer = randomise(INSTANCE[rank](4, **options)).train(training)
    reference = INSTANCE_PLAIN[rank](4, **options).train(training)
    reference.load_state_dict(layer.state_dict())
    x, mask = make(rank, "bool", "shared", 3, garbage=False)
    torch.testing.assert_close(layer(x, torch.ones_like(mask))[0], reference(x))
    torch.testing.assert_close(dict(layer.state_dict()), dict(reference.state_dict()))
    # Only samples with two valid values or more take part; x is (3, 4, *S), of which the first sample has one.
    mask[0] = False
    mask[0, 0].view(-1)[0] = True
    layer = randomise(INSTANCE[rank](4, **options)).train(training)
    y, _ = layer(x.masked_fill(~mask, torch.nan), mask)
    if training:
        lists = [[x[n, c][mask[n, 0]] for n in (1, 2)] for c in range(4)]
        means = torch.stack([sum(v.mean() for v in pair) / 2 for pair in lists])
        variances = torch.stack([sum(v.var() for v in pair) / 2 for pair in lists])
        torch.testing.assert_close([layer.running_mean, layer.running_var], [0.3 * means, 0.7 + 0.3 * variances])
    else:
        torch.testing.assert_close(y, torch.where(mask, layer(x)[0], 0.0))


def test_instance_norm_without_a_batch():
    x, mask = make(2, "bool", "channels", 3)
    layer = MaskedInstanceNorm2d(4, **F64)
    assert torch.equal(layer(x[1], mask[1])[0], layer(x, mask)[0][1])
    assert layer(x[1], mask[1])[1].shape == mask[1].shape


def test_mask_of_parts():
    x, mask = make(2, "bool", "channels", 3, garbage=False)
    parts, each = mask[:, :2], mask[:, [0, 1, 1, 1]]
    for cls, args in ((MaskedGroupNorm, (2, 4)), (MaskedInstanceNorm2d, (4,))):
        layer = cls(*args, mask_channels=(1, 3), **F64)
        assert torch.equal(layer(x, parts)[0], cls(*args, **F64)(x, each)[0])
        assert "mask_channels=(1, 3)" in repr(layer)


def test_state_dict_pickling_and_repr():
    for masked, twin in (
        (MaskedLayerNorm((4, 3)), nn.LayerNorm((4, 3))),
        (MaskedGroupNorm(2, 4), nn.GroupNorm(2, 4)),
        (MaskedInstanceNorm2d(4, affine=True), nn.InstanceNorm2d(4, affine=True)),
    ):
        twin.load_state_dict(masked.state_dict())
        assert isinstance(masked, type(twin))
        assert repr(pickle.loads(pickle.dumps(masked))) == repr(masked) == "Masked" + repr(twin)


X, M = torch.zeros(2, 4, 6, 5), torch.ones(2, 1, 6, 5, dtype=torch.bool)
ERRORS = [
    (lambda: MaskedLayerNorm((4, 6), channels_first=True),
     "MaskedLayerNorm: normalized_shape: got (4, 6), needs one number with channels_first, that of the channels"),
    (lambda: MaskedLayerNorm((6, 4))(X, M), "MaskedLayerNorm: input: got shape (2, 4, 6, 5), needs (*, 6, 4)"),
    (lambda: MaskedLayerNorm(3, channels_first=True)(X, M),
     "MaskedLayerNorm: input: got 4 channels, needs 3, the layer's normalized_shape"),
    (lambda: MaskedLayerNorm((6, 5))(X, M[0]),
     "MaskedLayerNorm: mask: got shape (1, 6, 5) for input (2, 4, 6, 5), needs (1 or 2, 1 or 4, 1 or 6, 1 or 5)"),
    (lambda: MaskedLayerNorm((6, 5))(X.int(), M),
     "MaskedLayerNorm: input: got torch.int32, needs float16, bfloat16, float32 or float64"),
    (lambda: MaskedLayerNorm((6, 5))([1], M), "MaskedLayerNorm: input: got list, needs a Tensor"),
    (lambda: MaskedGroupNorm(2, 6)(X, M), "MaskedGroupNorm: input: got 4 channels, needs 6, the layer's num_channels"),
    (lambda: MaskedGroupNorm(2, 4)(X, M[..., 0]),
     "MaskedGroupNorm: mask: got shape (2, 1, 6) for input (2, 4, 6, 5), needs (1 or 2, 1 or 4, 6, 5)"),
    (lambda: MaskedInstanceNorm2d(4)(X[0, 0], None),
     "MaskedInstanceNorm2d: input: got shape (6, 5), needs 3 or 4 dimensions"),
    (lambda: MaskedInstanceNorm2d(4)(X[0], "all"), "MaskedInstanceNorm2d: mask: got str, needs a Tensor or None"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[row[1][:50] for row in ERRORS])
def test_wrong_call(call, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value) == message
