"""Pooling over valid positions, against loops over the windows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
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

import maskconv_ext.nn as mnn

SIZE = {1: (9,), 2: (7, 6), 3: (5, 4, 6)}
POOLS = [
    dict(kernel_size=2),
    dict(kernel_size=3, stride=2, padding=1),
    dict(kernel_size=3, stride=2, padding=1, ceil_mode=True),
    dict(kernel_size=2, stride=3, ceil_mode=True),
    dict(kernel_size=3, stride=1),
]
MAX_POOLS = [
    *POOLS,
    dict(kernel_size=2, stride=1, dilation=2),
    dict(kernel_size=3, padding=1, dilation=2, ceil_mode=True),
]


def layer_of(kind, rank, **options):
    return getattr(mnn, f"Masked{kind}{rank}d")(**options)


def plain_of(kind, rank, **options):
    return getattr(nn, f"{kind}{rank}d")(**options)


def oracle_of(kind, rank, x, mask, out_size, options, parts=None):
    kernel, padding = (options["kernel_size"],) * rank, (options.get("padding", 0),) * rank
    stride, dilation = (options.get("stride", kernel[0]),) * rank, (options.get("dilation", 1),) * rank
    size = x.shape[2:]

    def windows():
        for q, inside in window_oracle.windows(size, kernel, stride, padding, dilation, out_size):
            yield q, [p for p, _ in inside]

    def divisor(q, total):
        if options.get("divisor_override"):
            return options["divisor_override"]
        if not options.get("count_include_pad"):
            return total
        # torch counts up to the padded end, not beyond it.
        counted = math.prod(
            min(a * s - p + k, n + p) - (a * s - p) for a, s, p, k, n in zip(q, stride, padding, kernel, size)
        )
        inside = math.prod(
            min(a * s - p + k, n) - max(a * s - p, 0) for a, s, p, k, n in zip(q, stride, padding, kernel, size)
        )
        return total + counted - inside

    return window_oracle.pool(
        x.numpy(), mask.numpy(), "max" if "Max" in kind else "avg", out_size, windows, divisor, parts
    )


def adaptive_oracle(kind, x, mask, out_size):
    def windows():
        for q in np.ndindex(*out_size):
            ranges = [range(a * n // o, -(-(a + 1) * n // o)) for a, n, o in zip(q, x.shape[2:], out_size)]
            yield q, [tuple(r[i] for r, i in zip(ranges, index)) for index in np.ndindex(*map(len, ranges))]

    return window_oracle.pool(x.numpy(), mask.numpy(), "max" if "Max" in kind else "avg", out_size, windows)


def assert_is(result, wanted, mask, parts=None):
    output, out_mask = result
    np.testing.assert_allclose(output.numpy(), wanted[0], rtol=1e-10, atol=1e-12)
    assert out_mask.dtype == mask.dtype and out_mask.shape[:2] == mask.shape[:2]
    spread = window_oracle.mask_of_channel(out_mask.numpy(), output.shape[1], parts)
    np.testing.assert_allclose(np.broadcast_to(spread, output.shape), wanted[1], rtol=1e-12)
    if not mask.is_floating_point():
        assert set(out_mask.unique().tolist()) <= {0, 1}


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("options", MAX_POOLS, ids=str)
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_max_against_a_loop(rank, options, kind):
    layer = layer_of("MaxPool", rank, **options)
    for i, channels in enumerate((1, 3)):
        x, mask = image_with_holes((2, 3, *SIZE[rank]), channels, kind, density=0.3, batch=2 - i)
        plain = plain_of("MaxPool", rank, **options)(x.nan_to_num(0, 0, 0))
        assert_is(layer(x, mask), oracle_of("MaxPool", rank, x, mask, plain.shape[2:], options), mask)


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("options", POOLS, ids=str)
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_avg_against_a_loop(rank, options, kind):
    for i, count in enumerate((False, True)):
        layer = layer_of("AvgPool", rank, **options, count_include_pad=count)
        x, mask = image_with_holes((2, 3, *SIZE[rank]), 3 if count else 1, kind, density=0.3, batch=2 - i)
        plain = plain_of("AvgPool", rank, **options)(x.nan_to_num(0, 0, 0))
        wanted = oracle_of("AvgPool", rank, x, mask, plain.shape[2:], options | dict(count_include_pad=count))
        assert_is(layer(x, mask), wanted, mask)


@pytest.mark.parametrize("rank", (2, 3))
def test_divisor_override(rank):
    options = dict(kernel_size=3, stride=2, padding=1, divisor_override=5)
    x, mask = image_with_holes((1, 2, *SIZE[rank]))
    result = layer_of("AvgPool", rank, **options)(x, mask)
    assert_is(result, oracle_of("AvgPool", rank, x, mask, result[0].shape[2:], options), mask)


@pytest.mark.parametrize("kind", ("MaxPool", "AvgPool"))
def test_parts_of_the_channels(kind):
    options = dict(kernel_size=3, stride=2, padding=1)
    x, mask = image_with_holes((2, 5, 7, 6), 2, parts=(4, 1), kind="float64")
    result = layer_of(kind, 2, **options, mask_channels=(4, 1))(x, mask)
    assert_is(result, oracle_of(kind, 2, x, mask, (4, 3), options, (4, 1)), mask, (4, 1))
    assert_holes_hold(result[0], result[1].repeat_interleave(torch.tensor((4, 1)), 1))


@pytest.mark.parametrize("kind", ("AdaptiveMaxPool", "AdaptiveAvgPool"))
@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("mask_kind", MASK_KINDS)
def test_adaptive_against_a_loop(kind, rank, mask_kind):
    for size in (1, 2, 3, 4):
        x, mask = image_with_holes((2, 2, *SIZE[rank]), kind=mask_kind, density=0.3, seed=size)
        result = layer_of(kind, rank, output_size=size)(x, mask)
        assert_is(result, adaptive_oracle(kind, x, mask, (size,) * rank), mask)


def test_adaptive_sizes_left_as_they_are():
    x, mask = image_with_holes((2, 2, 7, 6))
    result = mnn.MaskedAdaptiveAvgPool2d((None, 2))(x, mask)
    assert_is(result, adaptive_oracle("AvgPool", x, mask, (7, 2)), mask)


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("kind", ("MaxPool", "AvgPool", "AdaptiveMaxPool", "AdaptiveAvgPool"))
def test_no_mask_and_ones_are_the_plain_layer(kind, rank):
    x = torch.randn(2, 3, *SIZE[rank], dtype=torch.float64)
    ones = torch.ones(1, 1, *SIZE[rank])
    sets = [dict(output_size=2)] if "Adaptive" in kind else MAX_POOLS if kind == "MaxPool" else POOLS
    for options in sets:
        for extra in (dict(count_include_pad=True), dict(count_include_pad=False)) if kind == "AvgPool" else ({},):
            layer, plain = layer_of(kind, rank, **options, **extra), plain_of(kind, rank, **options, **extra)
            assert isinstance(layer, type(plain)) and layer.state_dict() == {}
            output, out_mask = layer(x)
            assert torch.equal(output, plain(x)) and out_mask is None
            for mask in (ones.bool(), ones.byte(), ones):
                output, out_mask = layer(x, mask)
                torch.testing.assert_close(output, plain(x), rtol=1e-12, atol=1e-12)
                assert (out_mask == 1).all()


LAYERS = [
    mnn.MaskedMaxPool2d(3, 2, 1),
    mnn.MaskedAvgPool2d(3, 2, 1),
    mnn.MaskedAvgPool2d(3, 2, 1, count_include_pad=True),
    mnn.MaskedAdaptiveMaxPool2d(2),
    mnn.MaskedAdaptiveAvgPool2d(1),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_garbage_reaches_neither_output_nor_gradients(layer, kind):
    x, mask = image_with_holes((2, 3, 7, 7), kind=kind, density=0.2)
    output, out_mask = layer(x, mask)
    assert torch.equal(output, layer(torch.where(mask != 0, x, 7.0), mask)[0])
    assert_holes_hold(output, out_mask)
    assert_gradients_are_clean(layer, x, mask)
    output, out_mask = layer(x, torch.zeros_like(mask))
    assert (output == 0).all() and (out_mask == 0).all()


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_gradcheck(layer):
    x, values = torch.randn(1, 2, 4, 4).double(), torch.rand(1, 2, 4, 4).double() * 0.8 + 0.1
    holes = torch.rand(1, 2, 4, 4) < 0.3
    call = lambda x, m: layer(x, torch.where(holes, 0.0, m))  # noqa: E731
    assert torch.autograd.gradcheck(call, [x.requires_grad_(), values.requires_grad_()])


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16, torch.float32))
@pytest.mark.parametrize("kind", ("bool", "float16"))
def test_dtypes(layer, dtype, kind):
    x, mask = image_with_holes((2, 3, 7, 7), dtype=dtype, kind=kind)
    output, out_mask = layer(x, mask)
    wanted, wanted_mask = layer(x.double(), mask)
    assert output.dtype == dtype and torch.equal(out_mask, wanted_mask)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(output.double(), wanted, rtol=4 * eps, atol=4 * eps)


def test_sums_of_half_precision_do_not_overflow():
    x = torch.full((1, 1, 4, 4), 60000.0, dtype=torch.float16)
    mask = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    assert (
        mnn.MaskedAvgPool2d(4)(x, mask)[0].item() == mnn.MaskedAdaptiveAvgPool2d(1)(x, mask)[0].item() == x[0, 0, 0, 0]
    )


def test_the_share_of_few_valid_positions_survives_half_precision():
    x, mask = torch.full((1, 1, 300, 300), 3.0, dtype=torch.float16), torch.zeros(1, 1, 300, 300)
    mask[0, 0, 7, 7] = mask[0, 0, 8, 9] = 0.3
    for m in (mask, mask != 0):
        assert mnn.MaskedAdaptiveAvgPool2d(1)(x, m)[0].item() == 3.0


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_a_window_outside_the_image_has_nothing_valid(kind):
    """The taps of a dilated kernel may all fall on the padding."""
    x, mask = image_with_holes((1, 1, 1), kind=kind, density=1.0)
    output, out_mask = mnn.MaskedMaxPool1d(2, stride=1, padding=1, dilation=2)(x, mask)
    assert output.item() == 0 and out_mask.item() == 0


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_copies_and_compilation(layer):
    x, mask = image_with_holes((2, 3, 7, 7), kind="uint8")
    assert_survives_copies(layer, x, mask)


def test_repr():
    assert repr(mnn.MaskedAdaptiveAvgPool1d(1, mask_channels=[1, 2])) == (
        "MaskedAdaptiveAvgPool1d(output_size=1, mask_channels=(1, 2))"
    )


X, M = torch.zeros(2, 4, 6, 5), torch.ones(2, 1, 6, 5, dtype=torch.bool)
FUNCTIONS = [
    (mnn.masked_max_pool, "masked_max_pool"),
    (mnn.masked_avg_pool, "masked_avg_pool"),
    (mnn.masked_adaptive_max_pool, "masked_adaptive_max_pool"),
    (mnn.masked_adaptive_avg_pool, "masked_adaptive_avg_pool"),
]


@pytest.mark.parametrize(("function", "op"), FUNCTIONS, ids=[op for _, op in FUNCTIONS])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(input=3), TypeError, "input: got int, needs a Tensor"),
        (dict(input=X[0, 0]), ValueError, "input: got shape (6, 5), needs 3 to 5 dimensions (N, C, *S)"),
        (dict(input=X.long()), TypeError, "input: got torch.int64, needs float16, bfloat16, float32 or float64"),
        (dict(mask=True), TypeError, "mask: got bool, needs a Tensor or None"),
        (dict(mask=M.to("meta")), ValueError, "mask: got device meta, needs cpu, the device of input"),
        (dict(mask=M.to_sparse()), TypeError,
         "mask: got layout torch.sparse_coo, needs torch.strided; write mask.to_dense()"),
        (dict(mask=M[..., 1:]), ValueError,
         "mask: got shape (2, 1, 6, 4) for input (2, 4, 6, 5), needs (1 or 2, 1 or 4, 6, 5)"),
        (dict(mask=M.expand(2, 3, 6, 5), mask_channels=(2, 2)), ValueError,
         "mask: got shape (2, 3, 6, 5) for input (2, 4, 6, 5), needs (1 or 2, 1 or 2, 6, 5)"),
    ],
)  # fmt: skip
def test_wrong_call(function, op, changes, error, message):
    arguments = dict(input=X, mask=M) | changes
    x, mask = arguments.pop("input"), arguments.pop("mask")
    assert_raises_first(lambda: function(x, mask, 2, **arguments), error, f"{op}: {message}")


def test_wrong_layers():
    with pytest.raises(ValueError, match=r"^MaskedMaxPool2d: return_indices: got True, needs False$"):
        mnn.MaskedMaxPool2d(2, return_indices=True)
    with pytest.raises(ValueError, match=r"^MaskedMaxPool1d: input: got shape \(2, 4, 6, 5\), needs 3 dimensions"):
        mnn.MaskedMaxPool1d(2)(X, M)
    with pytest.raises(ValueError, match=r"^masked_avg_pool: divisor_override: got 2, needs None for 1 spatial axis$"):
        mnn.masked_avg_pool(X[0], M[0], 2, divisor_override=2)
