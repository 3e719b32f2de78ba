"""The kernel of products summed over channels, run on the emulated machine, against NumPy's sums in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from channel_dot_case import check
from masks_case import Case, per_channel

from maskconv_ext import _emulation

DTYPES = ("float64", "float32", "bfloat16", "float16")
WIDEST = {"float64": 2, "float32": 4, "bfloat16": 8, "float16": 8}
SIZE = (1, 3, 11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 8, 31, 33, 64, 67, 264, 520])
def test_channels(dtype, channels):
    done = check(_emulation, Case(dtype=dtype, channels=channels, size=SIZE))
    assert done["vector"] == (WIDEST[dtype] if channels % WIDEST[dtype] == 0 else 1)


@pytest.mark.parametrize("parts", [(16, 48), (8, 40, 16), (5, 3, 56), (32, 32), (16,) * 4, (1,) * 64, (2,) * 66])
def test_parts(parts):
    vectors = {part % 8 for part in parts} == {0}
    assert check(_emulation, Case(channels=sum(parts), parts=parts, size=SIZE))["vector"] == (8 if vectors else 1)


@pytest.mark.parametrize("channels", [5, 64])
@pytest.mark.parametrize("blocks, beyond", [(0, 1), (1, -1), (1, 0), (1, 1), (3, 5)])
def test_tails(channels, blocks, beyond):
    sums = 32  # that a block makes at once, of 8 threads each
    check(_emulation, Case(channels=channels, size=(1, 1, blocks * sums + beyond)))


@pytest.mark.parametrize("base", [Case(channels=16), per_channel(6), Case(channels=24, parts=(8, 16))], ids=str)
@pytest.mark.parametrize("images, of_mask", [(3, 3), (3, 1), (1, 1)])
def test_masks_that_images_share(base, images, of_mask):
    check(_emulation, replace(base, size=SIZE, batch=images, mask_batch=of_mask))


@pytest.mark.parametrize("valid_fraction", [0.0, 1.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_or_nothing(dtype, valid_fraction):
    done = check(_emulation, Case(dtype=dtype, size=SIZE, valid_fraction=valid_fraction))
    assert done["dots"].any() == (valid_fraction > 0)


def test_unaligned_tensors():
    assert check(_emulation, Case(channels=64, size=SIZE, offset=1))["vector"] == 1


@pytest.mark.parametrize("base", [Case(channels=64), Case(channels=520, parts=(8, 512))], ids=["wide", "parts"])
def test_every_order_gives_the_same_bits(base):
    base = replace(base, size=SIZE)
    results = [check(_emulation, base, seed=seed, preempt=seed % 2 == 1) for seed in range(4)]
    for result in results[1:]:
        np.testing.assert_array_equal(result["dots"], results[0]["dots"])


def test_no_images():
    assert not any(check(_emulation, Case(batch=0, mask_batch=1, size=SIZE))["counters"].values())


def test_what_is_read():
    """Of valid positions each sector of both arrays once; of others nothing."""
    case = Case(channels=64, size=(1, 1, 32))
    full, none = (check(_emulation, replace(case, valid_fraction=share))["counters"] for share in (1.0, 0.0))
    of_both_arrays = 2 * 32 * 64 * 2
    assert full["global_load_bytes"] - none["global_load_bytes"] == of_both_arrays
    assert full["global_load_sectors"] - none["global_load_sectors"] == of_both_arrays // 32
