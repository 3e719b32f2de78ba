"""The kernels of the bias gradient, run on the emulated machine, against NumPy's sums in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from grad_bias_case import Case, check

from maskconv_ext import _emulation

DTYPES = ("float64", "float32", "bfloat16", "float16")
WIDEST = {"float64": 2, "float32": 4, "bfloat16": 8, "float16": 8}
CONFLICTS = ("shared_load_bank_conflicts", "shared_store_bank_conflicts")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("filters", [1, 3, 8, 31, 33, 64, 67, 264])
def test_filters(dtype, filters):
    done = check(_emulation, Case(dtype=dtype, filters=filters))
    assert done["vector"] == (WIDEST[dtype] if filters % WIDEST[dtype] == 0 else 1)


@pytest.mark.parametrize("filters", [5, 64])
@pytest.mark.parametrize("tiles, beyond", [(0, 1), (1, -1), (1, 0), (1, 1), (3, 5)])
def test_row_tails(filters, tiles, beyond):
    rows = 128  # that a block takes at once: 4 for each 32 rows of 8 threads
    check(_emulation, Case(filters=filters, batch=1, window_batch=1, positions=tiles * rows + beyond))


@pytest.mark.parametrize("positions", [1, 7, 300])
@pytest.mark.parametrize("filters", [1, 16])
def test_shared_windows(positions, filters):
    check(_emulation, Case(filters=filters, batch=40, window_batch=1, positions=positions))


@pytest.mark.parametrize("filters, channels", [(16, 2), (12, 3), (6, 6), (64, 4)])
def test_windows_of_groups(filters, channels):
    check(_emulation, Case(filters=filters, window_channels=channels))


@pytest.mark.parametrize("has_valid", [False, True])
@pytest.mark.parametrize("valid_fraction", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_valid(dtype, has_valid, valid_fraction):
    check(_emulation, Case(dtype=dtype, has_valid=has_valid, valid_fraction=valid_fraction))


@pytest.mark.parametrize("filters", [16, 64])
def test_unaligned_tensors(filters):
    assert check(_emulation, Case(filters=filters, offset=1))["vector"] == 1


def test_more_rows_than_blocks():
    """1024 steps of 1024 rows of one filter are a step a block; one row more, and each takes two."""
    done = check(_emulation, Case(filters=1, batch=1, window_batch=1, positions=1024 * 1024 + 1, dtype="float32"))
    assert done["row_blocks"] == 513


@pytest.mark.parametrize("base", [Case(filters=64), Case(filters=5)], ids=["wide", "scalar"])
def test_every_order_gives_the_same_bits(base):
    base = replace(base, positions=150)
    results = [check(_emulation, base, seed=seed, preempt=seed % 2 == 1) for seed in range(4)]
    for result in results[1:]:
        np.testing.assert_array_equal(result["grad_bias"], results[0]["grad_bias"])


def test_no_images_sum_to_zero():
    assert not check(_emulation, Case(batch=0, window_batch=1))["grad_bias"].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_shared_memory_without_bank_conflicts(dtype):
    counters = check(_emulation, Case(dtype=dtype, filters=64, positions=128))["counters"]
    assert [counters[name] for name in CONFLICTS] == [0, 0]


def test_invalid_rows_are_not_read():
    full, none = (check(_emulation, Case(filters=64, valid_fraction=share))["counters"] for share in (1.0, 0.0))
    gradient = 2 * 37 * 64 * 2
    assert full["global_load_bytes"] - none["global_load_bytes"] == gradient
