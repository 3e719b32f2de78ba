"""The few-channels kernel against the specification, and what it multiplies and loads."""

from __future__ import annotations

from dataclasses import replace

import forward_case
import grad_input_case
import grad_weight_case
import numpy as np
import pytest
from forward_case import Case, line
from special_kernels import Kernels

from maskconv_ext import _emulation

KERNELS = Kernels("few_channels")
HALF = {"bfloat16", "float16"}
EACH_DTYPE = pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
EACH_PASS = pytest.mark.parametrize("case_of", [forward_case, grad_input_case], ids=["forward", "grad_input"])
CONFLICTS = [f"{what}_bank_conflicts" for what in ("ldmatrix", "cp_async", "shared_load", "shared_store")]


@EACH_PASS
@EACH_DTYPE
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 8, 12, 67])
@pytest.mark.parametrize("filters", [1, 3, 16])
def test_channels_and_filters(case_of, dtype, channels, filters):
    case_of.check(KERNELS, line(Case(dtype=dtype, channels=channels, filters=filters), 20))


@EACH_PASS
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("columns", [15, 16, 17, 31, 32, 33, 63, 64, 65, 130])
def test_column_tails(case_of, dtype, columns):
    few = {"channels": 3, "filters": columns} if case_of is forward_case else {"channels": columns, "filters": 3}
    case_of.check(KERNELS, line(Case(dtype=dtype, **few), 20))


@EACH_PASS
@EACH_DTYPE
@pytest.mark.parametrize("length", [1, 127, 128, 129])
def test_row_tails(case_of, dtype, length):
    case_of.check(KERNELS, line(Case(dtype=dtype, channels=3, filters=5), length))


@EACH_PASS
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(
    "geometry",
    [
        {"size": (1, 1, 30), "kernel": (1, 1, 5), "padding": ((0, 0), (0, 0), (2, 2))},
        {"size": (5, 6, 7), "kernel": (2, 3, 4), "padding": ((1, 0), (0, 2), (3, 1))},
        {"size": (1, 17, 18), "kernel": (1, 7, 7), "stride": (1, 2, 2), "padding": ((0, 0), (3, 3), (3, 3))},
        {"size": (7, 9, 11), "kernel": (3, 3, 3), "stride": (2, 1, 2), "padding": ((1, 1), (0, 1), (1, 0))},
        {"size": (1, 9, 8), "dilation": (1, 2, 2), "stride": (1, 2, 2), "padding": ((0, 0), (3, 0), (0, 4))},
        {"size": (1, 2, 2), "padding": ((0, 0), (4, 4), (4, 4))},  # windows wholly outside
        {"size": (1, 9, 8), "kernel": (1, 1, 1), "stride": (1, 2, 2), "padding": ((0, 0), (1, 0), (0, 1))},
        {"size": (1, 12, 12), "kernel": (1, 11, 11), "padding": ((0, 0), (5, 5), (5, 5)), "valid_fraction": 0.1},
        {"size": (7, 7, 8), "kernel": (7, 7, 7), "padding": ((3, 3), (3, 3), (3, 3)), "valid_fraction": 0.02},
    ],
    ids=lambda geometry: "-".join(f"{k}{v}" for k, v in geometry.items() if k != "valid_fraction").replace(" ", ""),
)
@pytest.mark.parametrize("pad_is_valid", [False, True])
def test_geometry(case_of, dtype, geometry, pad_is_valid):
    case = Case(dtype=dtype, channels=3, filters=4, batch=2, pad_is_valid=pad_is_valid, **geometry)
    case_of.check(KERNELS, case)


@EACH_PASS
@EACH_DTYPE
@pytest.mark.parametrize("channels, filters, groups", [(6, 4, 2), (12, 36, 3), (9, 3, 3), (4, 8, 4)])
def test_groups(case_of, dtype, channels, filters, groups):
    case_of.check(KERNELS, Case(dtype=dtype, channels=channels, filters=filters, groups=groups))


@EACH_PASS
@EACH_DTYPE
@pytest.mark.parametrize("mask_batch", [0, 1, 3])
@pytest.mark.parametrize("offset", [0, 1])
def test_mask_batch_and_alignment(case_of, dtype, mask_batch, offset):
    case = Case(dtype=dtype, channels=3, filters=8, batch=3, size=(1, 6, 7), mask_batch=mask_batch, offset=offset)
    case_of.check(KERNELS, case)


@pytest.mark.parametrize("normalization", ["ratio", "mean", "sqrt", "none"])
@pytest.mark.parametrize("mask_update", ["any", "all", "center", "threshold", "fraction"])
@pytest.mark.parametrize("fill", [{"fill": -2.5}, {"fill": float("nan")}, {"fill_with_bias": True}], ids=str)
def test_options(normalization, mask_update, fill):
    options = {"normalization": normalization, "mask_update": mask_update, "threshold": 0.5, **fill}
    case = Case(channels=3, filters=8, size=(1, 6, 8), kernel=(1, 2, 3), padding=((0, 0), (2, 1), (2, 3)), **options)
    forward_case.check(KERNELS, replace(case, valid_fraction=0.7, pad_is_valid=True))


@EACH_PASS
@EACH_DTYPE
def test_holes_change_nothing(case_of, dtype):
    """Bit for bit: NaN and infinities under the mask leave no trace, whatever order threads run in."""
    case = Case(dtype=dtype, channels=3, filters=5, batch=2)
    data = case_of.make_data(case)
    name, where = ("x", data.mask[..., None]) if case_of is forward_case else ("grad", data.valid)
    filled = dict(vars(data))
    filled[name] = np.where(where == 0, forward_case.encode(np.zeros(1), dtype)[0], filled[name])
    first = case_of.run(KERNELS, case, data)
    for seed, preempt in ((1, False), (2, True)):
        again = case_of.run(KERNELS, case, type(data)(**filled), seed=seed, preempt=preempt)
        for key, value in vars(first).items():
            other = vars(again)[key]
            assert value.tobytes() == other.tobytes() if isinstance(value, np.ndarray) else value == other


EACH_HALF = pytest.mark.parametrize("dtype", sorted(HALF))


@EACH_HALF
@pytest.mark.parametrize("channels", [1, 2, 3, 7, 8, 67])
@pytest.mark.parametrize("filters", [1, 3, 31, 32, 33, 65])
def test_grad_weight_tails(dtype, channels, filters):
    """Columns, which are odd with an odd channel count: up to 64 taps in a tile."""
    grad_weight_case.check(KERNELS, line(Case(dtype=dtype, channels=channels, filters=filters), 33, kernel=5))


@pytest.mark.parametrize("taps", [31, 33, 64, 65, 130])
def test_grad_weight_of_many_taps(taps):
    grad_weight_case.check(KERNELS, line(Case(channels=1, filters=3, valid_fraction=0.3), 40, kernel=taps))


@EACH_HALF
@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("mask_batch", [0, 1, 3])
def test_grad_weight_splits_and_masks(dtype, splits, mask_batch):
    case = Case(dtype=dtype, channels=6, filters=4, groups=2, batch=3, mask_batch=mask_batch, stride=(1, 2, 1))
    assert grad_weight_case.check(KERNELS, case, splits=splits).splits == splits
    grad_weight_case.check(KERNELS, replace(case, offset=1, pad_is_valid=True), has_valid=False, splits=splits)


def test_grad_weight_of_volumes():
    case = Case(channels=3, filters=5, size=(5, 6, 7), kernel=(2, 3, 3), dilation=(2, 1, 1), stride=(1, 1, 2), batch=2)
    grad_weight_case.check(KERNELS, case, splits=2, preempt=True)


@pytest.mark.parametrize("case_of", [grad_input_case, grad_weight_case])
@EACH_HALF
def test_windows_of_groups_and_no_scale(case_of, dtype):
    case = Case(dtype=dtype, channels=6, filters=10, groups=2, batch=2)
    case_of.check(KERNELS, case, windows=2)
    case_of.check(KERNELS, replace(case, normalization="none"), windows=2)


def test_grad_weight_is_packed():
    """147 columns of RGB make three tiles of 64; a list of more rows than one scan, and no bank conflict."""
    case = replace(RGB, size=(1, 40, 60), mask_batch=0)
    done = grad_weight_case.check(KERNELS, case, has_valid=False, splits=1)
    steps = -(-case.output_size[1] * case.output_size[2] // 16)
    assert done.config == "packed_64x64x16_s2"
    # Near the border a tile's taps may all be outside, so some rows are not listed.
    most = steps * 3 * (64 // 16) * (64 // 8)
    assert 0.8 * most <= done.counters["mma"] <= most
    assert {name: done.counters[name] for name in CONFLICTS} == dict.fromkeys(CONFLICTS, 0)


RGB = Case(channels=3, filters=64, kernel=(1, 7, 7), stride=(1, 2, 2), padding=((0, 0), (3, 3), (3, 3)))


def test_products_are_packed():
    """RGB: 147 steps of the reduction take five times 32, for 128 rows x 64 filters."""
    case = replace(RGB, size=(1, 16, 32), mask_batch=0)
    done = forward_case.check(KERNELS, case)
    tiles, steps = 1, 5
    assert done.config == "packed_128x64x32_s2"
    assert done.counters["mma"] == tiles * steps * (128 // 16) * (64 // 8) * (32 // 16)


def test_holes_cost_nothing():
    mask = np.zeros((1, 1, 16, 32), np.uint8)
    case = replace(RGB, size=(1, 16, 32), mask_batch=1, fill=7.0)
    done = forward_case.check(KERNELS, case, mask=mask)
    assert done.counters["mma"] == 0
    assert (forward_case.decode(done.output, case.dtype) == 7.0).all()


@pytest.mark.parametrize(
    "dtype, columns", [("float64", 16), ("float32", 16), *((dtype, n) for dtype in sorted(HALF) for n in (32, 64))]
)
def test_conflicts_and_sectors(dtype, columns):
    """Of a whole tile: no bank conflict, and a warp's request in the main loop few sectors.

    A request has 32 steps of a row, which are ten neighbouring taps and a bit: of half types pieces of two lines of the
    kernel, 2 x 42 bytes; on the ordinary cores 8 steps of four rows.
    """
    long = replace(RGB, dtype=dtype, filters=columns, size=(1, 16, 32), kernel=(1, 4, 7), mask_batch=0, bias=False)
    long = replace(long, padding=((0, 0), (1, 2), (3, 3)))  # as many rows as with one line of taps
    short = replace(long, kernel=(1, 1, 7), padding=((0, 0), (0, 0), (3, 3)))
    counters = [forward_case.check(KERNELS, case).counters for case in (long, short)]
    loop = {name: counters[0][name] - counters[1][name] for name in counters[0]}
    assert {name: counters[0][name] for name in CONFLICTS} == dict.fromkeys(CONFLICTS, 0)
    assert counters[0]["uninitialized_shared_bytes_read"] == 0
    most = {"bfloat16": 4, "float16": 4, "float32": 8, "float64": 12}[dtype]
    assert loop["global_load_sectors"] <= most * loop["global_load_requests"]


@EACH_PASS
@EACH_DTYPE
def test_lanes_that_read_bits_of_several_words_meet_no_bank_twice(case_of, dtype):
    """Of windows of more than 32 taps; with one channel a warp's steps are as many taps."""
    wide = {"kernel": (1, 9, 9), "padding": ((0, 0), (4, 4), (4, 4)), "size": (1, 8, 16), "mask_batch": 0}
    columns = 64 if dtype in HALF else 16
    for depth in (1, 3):
        few = (depth, columns) if case_of is forward_case else (columns, depth)
        counters = case_of.check(KERNELS, Case(dtype=dtype, channels=few[0], filters=few[1], **wide)).counters
        assert {name: counters[name] for name in CONFLICTS} == dict.fromkeys(CONFLICTS, 0)


@EACH_PASS
@pytest.mark.parametrize("seed", range(20))
def test_random(case_of, seed):
    rng = np.random.default_rng(seed)
    pick = rng.choice
    groups = int(pick([1, 1, 2]))
    case = Case(
        dtype=str(pick(["bfloat16", "float16", "float32", "float64"])),
        batch=2,
        size=(1, int(rng.integers(5, 12)), int(rng.integers(7, 12))),
        channels=groups * int(pick([1, 3, 4, 7, 24])),
        filters=groups * int(pick([1, 3, 16, 70])),
        groups=groups,
        kernel=(1, int(pick([1, 2, 3])), int(pick([1, 3, 4]))),
        stride=(1, int(pick([1, 2])), int(pick([1, 3]))),
        padding=((0, 0), (int(pick(3)), int(pick(3))), (int(pick(3)), int(pick(3)))),
        dilation=(1, int(pick([1, 2])), int(pick([1, 2]))),
        mask_batch=int(pick([0, 1, 2])),
        valid_fraction=float(pick([0.05, 0.5, 0.95])),
        bias=bool(pick([False, True])),
        seed=seed,
    )
    case_of.check(KERNELS, case, seed=seed, preempt=seed % 4 == 0)


STEM = replace(RGB, batch=256, size=(1, 224, 224))


@pytest.mark.parametrize(
    "case, options, reason",
    [
        (STEM, {}, ""),
        (STEM, {"of_grad_input": True}, ""),
        (replace(STEM, filters=67), {"of_grad_input": True}, ""),
        (replace(STEM, channels=67, filters=3), {}, ""),
        (replace(STEM, channels=64), {}, "the implicit GEMM loads 64 channels a group 16 bytes at a time"),
        (replace(STEM, channels=64), {"aligned": False}, ""),
        (replace(STEM, channels=64), {"of_grad_input": True},
         "the implicit GEMM loads 64 filters a group 16 bytes at a time"),
        (replace(STEM, dtype="float32"), {},
         "the few-channels kernel is for at most 16 columns, got 64 filters a group"),
        (replace(STEM, dtype="float32"), {"of_grad_input": True}, ""),
        (replace(STEM, dtype="float32", channels=64), {"of_grad_input": True},
         "the few-channels kernel is for at most 16 columns, got 64 channels a group"),
        (STEM, {"device": _emulation.DeviceProperties(compute_capability=75)},
         "the few-channels kernel needs compute capability 8.0 for this type"),
        (STEM, {"device": _emulation.DeviceProperties(shared_bytes_per_block=32768)},
         "the few-channels kernel needs 41532 bytes of shared memory for 49 taps, this device has 32768"),
        (replace(STEM, batch=2**26), {}, "the few-channels kernel has more tiles than one launch can carry"),
    ],
    ids=lambda value: value[:30].replace(" ", "_") if isinstance(value, str) else "",
)  # fmt: skip
def test_what_the_kernel_is_for(case, options, reason):
    assert _emulation.why_not_few_channels(case.problem(), case.dtype, **options) == reason


@pytest.mark.parametrize(
    "case, options, reason",
    [
        (STEM, {}, ""),
        (replace(STEM, channels=64, filters=3), {}, ""),
        (replace(STEM, channels=64), {}, "the implicit GEMM loads channels and filters 16 bytes at a time"),
        (replace(STEM, channels=64), {"aligned": False}, ""),
        (replace(STEM, dtype="float32"), {},
         "the few-channels kernel of grad_weight computes in float16 and bfloat16 only"),
        (STEM, {"device": _emulation.DeviceProperties(compute_capability=75)},
         "the few-channels kernel needs compute capability 8.0 for this type"),
    ],
    ids=lambda value: value[:30].replace(" ", "_") if isinstance(value, str) else "",
)  # fmt: skip
def test_what_the_kernel_of_grad_weight_is_for(case, options, reason):
    assert _emulation.why_not_few_channels_grad_weight(case.problem(), case.dtype, **options) == reason


@pytest.mark.parametrize("stride", [(1, 2, 2), (1, 1, 2), (1, 1, 1)])
@pytest.mark.parametrize("filters", [3, 20])
def test_a_stride_leaves_grad_input_its_share_of_the_work(stride, filters):
    """Of 49 taps each class of positions has some, which are packed; classes differ, and estimates know their mean."""
    case = replace(RGB, channels=64, filters=filters, size=(1, 32, 32), stride=stride, mask_batch=0, valid_fraction=1.0)
    done = grad_input_case.check(KERNELS, case, has_valid=False)
    _, estimated = _emulation.few_channels_work(case.problem(), case.dtype, of_grad_input=True)
    counted = done.counters["mma"] * 16 * 8 * 16
    assert 0.85 * counted <= estimated <= 1.25 * counted


def test_work():
    bytes_, multiply_adds = _emulation.few_channels_work(STEM.problem(), "bfloat16")
    assert bytes_ == 2 * 256 * (224 * 224 * 3 + 112 * 112 * 64)
    assert multiply_adds == 256 * 112 * 112 * 64 * 160
