"""The kernels for masks of any kind, run on the emulated machine: window, select and finish, against NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from forward_case import line
from masks_case import (
    Case,
    check_finish,
    check_given_windows,
    check_select,
    check_window,
    make_mask,
    per_channel,
    run_window,
)

from maskconv_ext import _emulation, native

DTYPES = ("float64", "float32", "bfloat16", "float16")
WIDEST = {"float64": 2, "float32": 4, "bfloat16": 8, "float16": 8}
KINDS = {
    "shared": Case(channels=6),
    "shared soft": Case(channels=6, soft=True),
    "channels": per_channel(6, groups=2),
    "channels soft": per_channel(6, groups=3, soft=True),
    "parts": Case(channels=8, parts=(1, 2, 5), groups=2, filters=8),  # one part lies in both groups
    "parts soft": Case(channels=8, parts=(3, 5), soft=True, mask_batch=1, batch=2),
}
EACH_KIND = pytest.mark.parametrize("base", KINDS.values(), ids=KINDS)
CONFLICTS = ("shared_load_bank_conflicts", "shared_store_bank_conflicts")


@EACH_KIND
@pytest.mark.parametrize(
    "geometry",
    [
        {"size": (1, 1, 30), "kernel": (1, 1, 5), "padding": ((0, 0), (0, 0), (2, 2))},
        {"size": (4, 5, 6), "kernel": (2, 3, 4), "padding": ((1, 0), (0, 2), (3, 1))},
        {"size": (1, 9, 8), "dilation": (1, 2, 2), "stride": (1, 2, 3), "padding": ((0, 0), (3, 0), (0, 4))},
        {"size": (1, 2, 2), "padding": ((0, 0), (4, 4), (4, 4))},  # windows wholly outside
    ],
    ids=["1-D", "3-D", "dilated", "outside"],
)
@pytest.mark.parametrize("pad_is_valid", [False, True])
def test_windows(base, geometry, pad_is_valid):
    check_window(_emulation, replace(base, pad_is_valid=pad_is_valid, **geometry))


@EACH_KIND
@pytest.mark.parametrize("mask_update", ["all", "center", "threshold", "fraction"])
def test_mask_update(base, mask_update):
    # An even and an odd window; padding far enough for windows, and centres, outside the image.
    case = replace(base, size=(1, 6, 8), kernel=(1, 2, 3), padding=((0, 0), (2, 1), (2, 3)), threshold=0.5)
    for pad_is_valid in (False, True):
        case = replace(case, pad_is_valid=pad_is_valid, mask_update=mask_update)
        check_window(_emulation, replace(case, valid_fraction=0.9))
        check_window(_emulation, replace(case, valid_fraction=1.0))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("channels, groups", [(2, 2), (3, 1), (31, 1), (33, 1), (66, 2), (5, 5), (70, 1)])
def test_sums_over_channels(channels, groups, soft):
    done = check_window(_emulation, per_channel(channels, groups=groups, soft=soft, size=(1, 3, 5)))
    assert done["threads_per_sum"] == min(32, 1 << (channels // groups - 1).bit_length())


@pytest.mark.parametrize("length", [1, 255, 256, 257])
@pytest.mark.parametrize("base", [Case(), per_channel(2, groups=2)], ids=["shared", "channels"])
def test_window_tails(base, length):
    check_window(_emulation, line(base, length))


@pytest.mark.parametrize("mask_batch", [0, 1, 3])
@pytest.mark.parametrize("soft", [False, True])
def test_mask_batch(mask_batch, soft):
    """Without a mask everything in the image is valid, and the windows are those of one image."""
    check_window(_emulation, Case(batch=3, mask_batch=mask_batch, soft=soft and mask_batch > 0))
    if mask_batch > 0:
        check_window(_emulation, per_channel(5, batch=3, mask_batch=mask_batch, soft=soft))


def test_float64_counts_in_float64():
    check_window(_emulation, per_channel(3, dtype="float64", soft=True, mask_update="fraction"))
    case = Case(dtype="float64", soft=True)
    mask = np.where(make_mask(case) != 0, 1 / 3, 0.0)
    got, _ = run_window(_emulation, case, mask)
    thirds = np.rint(got.window_sum * 3)
    np.testing.assert_allclose(got.window_sum, thirds / 3, rtol=1e-15)


def test_every_order_gives_the_same_sums():
    case = per_channel(67, soft=True, size=(1, 4, 5))
    mask = np.random.default_rng(0).random(make_mask(case).shape).astype(np.float32)
    first = run_window(_emulation, case, mask)[0].window_sum
    for seed in (1, 2):
        assert run_window(_emulation, case, mask, seed=seed, preempt=True)[0].window_sum.tobytes() == first.tobytes()


LAYOUTS = ("rows", "planes", "in place")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@EACH_KIND
def test_select(base, dtype, layout):
    check_select(_emulation, replace(base, dtype=dtype, batch=2, size=(2, 3, 7)), layout)


@pytest.mark.parametrize("layout", ("rows", "planes"))
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("tiles, beyond", [(0, 1), (0, 3), (1, -1), (1, 0), (1, 1), (1, 8)])
def test_select_channel_tails(dtype, soft, layout, tiles, beyond):
    channels = tiles * 8 * WIDEST[dtype] + beyond
    size = (1, 2, 9) if channels % WIDEST[dtype] else (1, 2, 8)
    done = check_select(_emulation, per_channel(channels, dtype=dtype, soft=soft, size=size), layout)
    assert done["vector"] == (1 if channels % WIDEST[dtype] else WIDEST[dtype])


@pytest.mark.parametrize("layout", ("rows", "planes"))
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("tiles, beyond", [(0, 1), (1, -1), (1, 0), (1, 1), (2, 4)])
def test_select_position_tails(dtype, layout, tiles, beyond):
    length = tiles * 8 * WIDEST[dtype] + beyond
    base = Case(dtype=dtype, batch=2, channels=16, parts=(5, 11), size=(1, 1, length))
    done = check_select(_emulation, base, layout)
    assert layout == "rows" or done["position_vector"] == (1 if length % WIDEST[dtype] else WIDEST[dtype])
    check_select(_emulation, replace(base, mask_batch=1, soft=True), layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_select_of_unaligned_tensors(layout):
    case = Case(channels=16, size=(1, 2, 8), soft=True, offset=1)
    assert check_select(_emulation, case, layout)["vector"] == 1


def test_select_more_rows_than_blocks():
    """Of one channel 1024 steps of 1024 rows are a step a block; one row more, and each takes two."""
    check_select(_emulation, Case(dtype="float32", channels=1, size=(1, 1, 1024 * 1024 + 1)), "rows")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("soft", [False, True])
def test_select_without_bank_conflicts(dtype, soft):
    tile = 8 * WIDEST[dtype]
    case = per_channel(tile, dtype=dtype, soft=soft, size=(1, 1, tile))
    counters = check_select(_emulation, case, "planes")["counters"]
    assert [counters[name] for name in CONFLICTS] == [0, 0]
    assert counters["uninitialized_shared_bytes_read"] == 0


def test_select_does_not_read_holes():
    full, none = (
        check_select(_emulation, Case(channels=64, valid_fraction=share), "rows")["counters"] for share in (1.0, 0.0)
    )
    assert full["global_load_bytes"] - none["global_load_bytes"] == 9 * 11 * 64 * 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("filters", [1, 3, 8, 31, 64, 67, 264])
def test_finish_filters(dtype, filters):
    done = check_finish(_emulation, Case(dtype=dtype, filters=filters, batch=2))
    assert done["vector"] == (WIDEST[dtype] if filters % WIDEST[dtype] == 0 else 1)


@pytest.mark.parametrize("length", [1, 127, 128, 129, 400])
def test_finish_row_tails(length):
    check_finish(_emulation, line(Case(filters=64), length))  # 128 rows a step of a block
    check_finish(_emulation, line(Case(filters=5, batch=3, mask_batch=1), length))


@EACH_KIND
@pytest.mark.parametrize("normalization", ["ratio", "mean", "sqrt", "none"])
@pytest.mark.parametrize("mask_update", ["any", "center", "threshold"])
def test_finish_options(base, normalization, mask_update):
    # With a threshold of 0, and with valid centres, windows of nothing may be valid.
    options = {"normalization": normalization, "mask_update": mask_update, "valid_fraction": 0.2}
    check_finish(_emulation, replace(base, dtype="float32", filters=24, **options))
    check_finish(_emulation, replace(base, filters=24, fill_with_bias=True, **options))


@pytest.mark.parametrize("fill", [0.0, 3.5, float("nan"), float("-inf")])
@pytest.mark.parametrize("bias", [False, True])
def test_finish_fill(fill, bias):
    check_finish(_emulation, Case(fill=fill, bias=bias, valid_fraction=0.1))


def test_finish_of_unaligned_tensors():
    assert check_finish(_emulation, Case(offset=1))["vector"] == 1


def test_finish_does_not_read_what_is_not_valid():
    case = Case(filters=64, bias=False, fill=7.0)
    full, none = (check_finish(_emulation, replace(case, valid_fraction=share))["counters"] for share in (1.0, 0.0))
    sums, by_each_thread_of_a_row = 9 * 11 * 64 * 2, 9 * 11 * 8 * 4
    assert full["global_load_bytes"] - none["global_load_bytes"] == sums + by_each_thread_of_a_row


@EACH_KIND
@pytest.mark.parametrize("dtype", DTYPES)
def test_given_windows(base, dtype):
    check_given_windows(_emulation, replace(base, dtype=dtype, filters=12, batch=3, mask_batch=1, valid_fraction=0.2))
    check_given_windows(_emulation, replace(base, dtype=dtype, filters=12, batch=2, valid_fraction=0.2, fill=2.0))


def test_no_images():
    case = Case(batch=0, mask_batch=1, size=(1, 2, 3))
    check_window(_emulation, case)
    for done in (*(check_select(_emulation, case, layout) for layout in LAYOUTS), check_finish(_emulation, case)):
        assert not any(done["counters"].values())


def test_masks_that_are_refused():
    most = native.CUDA_MAX_MASK_PARTS
    assert _emulation.why_not_parts([2] * 500) == _emulation.why_not_parts([3] + [2] * (most - 1)) == ""
    with pytest.raises(ValueError, match="the mask has 65 parts; the CUDA kernels take at most 64, or equal ones"):
        check_window(_emulation, Case(channels=131, parts=(3,) + (2,) * most))
