"""Sums of weights, one a filter and window, in every kernel of the forward: they divide, and say what is valid."""

from __future__ import annotations

from dataclasses import replace

import masks_case
import numpy as np
import oracle
import pytest
from depthwise_case import depthwise
from forward_case import (
    ACCUMULATOR_ROUNDING,
    NUMPY_TYPES,
    ROUNDING,
    SMALLEST,
    Case,
    check,
    decode,
    encode,
    guarded,
    line,
    make_data,
    poisoned,
    run,
)
from masks_case import check_finish, check_given_windows, per_channel
from special_kernels import Kernels
from test_forward import EACH_KERNEL, random_case
from test_mask_kernels import DTYPES, EACH_KIND, WIDEST

from maskconv_ext import _emulation

SPECIAL = {"depthwise": depthwise(12), "few_channels": Case(channels=3, filters=12)}
EACH_SPECIAL = pytest.mark.parametrize("name", SPECIAL)
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES)
# What divides, and what only says where outputs are valid.
EACH_USE = pytest.mark.parametrize("normalization", ["weight", "ratio", "none"])
PAD = {"pad_is_valid": True, "padding": ((0, 0), (2, 1), (2, 3))}


def weighted(case: Case, normalization: str = "weight") -> Case:
    return replace(case, normalization=normalization, weight_sum=True)


@EACH_KERNEL
@pytest.mark.parametrize("tiles, beyond", [(0, 1), (1, -1), (1, 0), (1, 1)])
def test_row_tails(base, tiles, beyond):
    check(_emulation, weighted(line(base, tiles * base.tile[0] + beyond)))


@EACH_KERNEL
@pytest.mark.parametrize("tiles, beyond", [(0, 1), (0, 8), (1, -1), (1, 0), (1, 1), (1, 8)])
def test_filter_tails(base, tiles, beyond):
    check(_emulation, weighted(replace(line(base, 20), filters=tiles * base.tile[1] + beyond, groups=1)))


@EACH_KERNEL
@EACH_USE
@pytest.mark.parametrize("mask_batch", [0, 1, 3])
def test_mask_batch(base, normalization, mask_batch):
    check(_emulation, weighted(replace(base, batch=3, size=(1, 5, 6), mask_batch=mask_batch), normalization))


@EACH_DTYPE
@EACH_USE
@pytest.mark.parametrize("mask_update", ["any", "all", "center", "threshold", "fraction"])
@pytest.mark.parametrize("fill", [{"fill": float("nan")}, {"fill": -2.5}, {"fill_with_bias": True}], ids=str)
def test_options(dtype, normalization, mask_update, fill):
    case = Case(dtype=dtype, size=(1, 5, 6), mask_update=mask_update, threshold=0.5, valid_fraction=0.6, **fill, **PAD)
    check(_emulation, weighted(case, normalization))
    check(_emulation, weighted(replace(case, channels=5, filters=6, bias=False), normalization))


@EACH_DTYPE
@pytest.mark.parametrize("filters, offset", [(16, 0), (10, 0), (16, 1)])
def test_groups_and_alignment(dtype, filters, offset):
    """Channels of a sum that no 16 bytes hold, and sums that begin on no such boundary."""
    check(_emulation, weighted(Case(dtype=dtype, groups=2, channels=16, filters=filters, offset=offset, batch=2)))


@EACH_SPECIAL
@EACH_DTYPE
@EACH_USE
@pytest.mark.parametrize("mask_batch", [0, 1, 2])
def test_special_kernels(name, dtype, normalization, mask_batch):
    case = replace(SPECIAL[name], dtype=dtype, batch=2, size=(1, 5, 9), mask_batch=mask_batch, fill=2.0)
    check(Kernels(name), weighted(case, normalization))
    check(Kernels(name), weighted(replace(case, offset=1, mask_update="center", fill_with_bias=True), normalization))


@EACH_SPECIAL
@EACH_DTYPE
@pytest.mark.parametrize("columns", [1, 4, 17, 33, 65])
def test_columns_of_special_kernels(name, dtype, columns):
    case = depthwise(columns) if name == "depthwise" else Case(channels=2, filters=columns)
    check(Kernels(name), weighted(line(replace(case, dtype=dtype), 20)))


@EACH_DTYPE
@pytest.mark.parametrize("filters", [1, 3, 8, 31, 64, 264])
def test_finish(dtype, filters):
    case = masks_case.Case(dtype=dtype, filters=filters, batch=2, weight_sum=True, normalization="weight")
    assert check_finish(_emulation, case)["vector"] == (WIDEST[dtype] if filters % WIDEST[dtype] == 0 else 1)
    assert check_finish(_emulation, replace(case, offset=1))["vector"] == 1
    check_finish(_emulation, replace(case, batch=3, mask_batch=1, fill_with_bias=True, normalization="sqrt"))


@EACH_KIND
@EACH_DTYPE
@EACH_USE
def test_given_windows(base, dtype, normalization):
    """Windows counted before, as of soft masks and of those that differ between channels."""
    case = replace(base, dtype=dtype, filters=12, batch=3, mask_batch=1, valid_fraction=0.2, weight_sum=True)
    case = replace(case, normalization=normalization)
    check_given_windows(_emulation, case)
    check_given_windows(_emulation, replace(case, batch=2, mask_batch=2, fill=2.0))
    check_finish(_emulation, replace(case, filters=24))


@pytest.mark.parametrize("seed", range(40))
def test_random(seed):
    case = weighted(random_case(seed), "weight" if seed % 3 else "mean")
    check(_emulation, case, seed=seed, preempt=seed % 4 == 0)


def test_a_sum_is_loaded_once_an_output():
    """In 16-byte vectors, and by nothing else: what they cost beyond the same forward without them."""
    case = Case(filters=64, size=(1, 8, 16), valid_fraction=1.0, config="mma_64x64x32_s4")
    without = run(_emulation, case, make_data(case)).counters
    done = run(_emulation, weighted(case, "ratio"), make_data(weighted(case, "ratio"))).counters
    assert done["global_load_bytes"] - without["global_load_bytes"] == 8 * 16 * 64 * 4
    assert done["global_load_requests"] - without["global_load_requests"] == 8 * 16 * 64 // 4 // 32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "base",
    [
        masks_case.Case(channels=8),
        masks_case.Case(channels=8, soft=True, batch=2, mask_batch=1, pad_is_valid=True),
        masks_case.Case(channels=24, parts=(16, 8), batch=2),
        per_channel(8, soft=True, size=(3, 4, 3), kernel=(2, 2, 2), padding=((1, 0), (0, 1), (1, 1))),
        masks_case.Case(channels=8, size=(1, 1, 30), kernel=(1, 1, 5), padding=((0, 0), (0, 0), (2, 2))),
    ],
    ids=["shared", "soft", "parts", "soft channels, 3-D", "1-D"],
)
def test_composition(base, dtype):
    """A convolution of the mask with the weights of each of its channels, then the forward, as the operators run them;
    weights are not rounded on the way."""
    case = replace(base, dtype=dtype, filters=8, weight_sum=True, normalization="weight", mask_update="any")
    mask = masks_case.make_mask(case)
    assert mask is not None
    x = masks_case.make_input(case, mask)
    rng = np.random.default_rng(case.seed + 3)
    weight = encode(rng.uniform(0.1, 1.0, (case.filters, *case.kernel, case.channels)), dtype)
    bias = encode(rng.standard_normal(case.filters), dtype)

    parts = case.parts or (case.channels,)
    of_part = np.add.reduceat(decode(weight, dtype), np.cumsum((0, *parts[:-1])), axis=-1).astype(case.wide)
    m = masks_case.of_channels(case, mask)[..., np.cumsum((0, *parts[:-1]))].astype(case.wide)
    if case.pad_is_valid:
        m = np.pad(m, ((0, 0), *case.padding, (0, 0)), constant_values=1.0)
    wide = "float64" if dtype == "float64" else "float32"
    of_mask = Case(
        dtype=wide, batch=m.shape[0], size=m.shape[1:4], channels=len(parts), filters=case.filters, kernel=case.kernel,
        padding=((0, 0),) * 3 if case.pad_is_valid else case.padding, mask_batch=0, normalization="none",
    )  # fmt: skip
    sums = poisoned((max(case.images_of_mask, 1), *case.output_size, case.filters), NUMPY_TYPES[wide])
    windows = {"out_mask": np.zeros(sums.shape[1:4], np.uint8), "window_sum": np.zeros(sums.shape[1:4], np.int32)}
    arrays = {"input": guarded(m), "mask": None, "weight": guarded(of_part), "bias": None, "output": sums, **windows}
    _emulation.forward(of_mask.problem(), wide, arrays)

    given, _ = masks_case.run_window(_emulation, case, mask)
    selected, _ = masks_case.run_select(_emulation, case, mask, x, "rows")
    live = (masks_case.of_channels(case, mask) != 0).any(-1).astype(np.uint8)
    output = poisoned((case.batch, *case.output_size, case.filters), NUMPY_TYPES[dtype])
    arrays = {
        "input": selected, "mask": guarded(live), "weight": guarded(weight), "bias": guarded(bias), "output": output,
        "given": given.argument(case), "weight_sum": sums,
    }  # fmt: skip
    _emulation.forward(case.problem(), dtype, arrays)

    expected = oracle.masked_conv(
        np.moveaxis(decode(x, dtype), -1, 1), np.moveaxis(mask, -1, 1), np.moveaxis(decode(weight, dtype), -1, 1),
        decode(bias, dtype), case.stride, case.padding, case.dilation, normalization="weight",
        pad_is_valid=case.pad_is_valid, mask_channels=case.parts or None,
    )  # fmt: skip
    want, magnitude = (np.moveaxis(a, 1, -1) for a in (expected.output, expected.magnitude))
    bound = (2 * expected.terms + 8) * ACCUMULATOR_ROUNDING[dtype] * magnitude + SMALLEST[dtype]
    bound += 1.01 * ROUNDING[dtype] * (np.abs(want) + (magnitude if case.soft else 0.0))
    error = np.abs(decode(output, dtype) - want) - bound
    assert error.max() <= 0, f"an element is off by {error.max()} beyond its bound"
