"""Rows in the order of their taps: the keys they are sorted by, the same results in any order, and the work spared."""

from __future__ import annotations

from dataclasses import replace

import forward_case
import grad_input_case
import numpy as np
import pytest
from forward_case import Case, line
from grad_input_case import GEOMETRIES
from row_order_case import expected_keys, forward_live, forward_order, grad_input_order, with_numbers_of_no_row
from test_forward import ALL_KERNELS, MMA
from test_forward import random_case as random_forward
from test_grad_input import random_case as random_grad_input

from maskconv_ext import _emulation
from maskconv_ext.bench import suite
from maskconv_ext.bench.live import BLOCK_M, live_fraction

EACH_KERNEL = pytest.mark.parametrize("base", ALL_KERNELS, ids=lambda case: f"{case.dtype}-{case.config}")
BODIES = pytest.mark.parametrize("base", [Case(), Case(dtype="float32", channels=3, filters=5)], ids=["mma", "simt"])


def check_forward(case: Case, data: forward_case.Data | None = None, order: np.ndarray | None = None, **options):
    """Bit for bit what raster order gives, which test_forward.py compares with the specification."""
    data = data or forward_case.make_data(case)
    order = forward_order(_emulation, case, data, **options) if order is None else order
    raster = forward_case.run(_emulation, case, data)
    done = forward_case.run(_emulation, case, data, row_order=order, **options)
    for name in ("output", "out_mask", "window_sum"):
        assert getattr(done, name).tobytes() == getattr(raster, name).tobytes(), name
    return raster, done


def check_grad_input(case: Case, has_valid: bool = True, order: np.ndarray | None = None, **options):
    """The same, for test_grad_input.py."""
    data = grad_input_case.make_data(case, has_valid=has_valid)
    order = grad_input_order(_emulation, case, data, **options) if order is None else order
    raster = grad_input_case.run(_emulation, case, data)
    done = grad_input_case.run(_emulation, case, data, row_order=order, **options)
    assert done.grad_input.tobytes() == raster.grad_input.tobytes()
    return raster, done


@EACH_KERNEL
@pytest.mark.parametrize("tiles, beyond", [(0, 1), (1, -1), (1, 0), (1, 1)])
def test_row_tails(base, tiles, beyond):
    case = line(base, tiles * base.tile[0] + beyond)
    check_forward(case)
    if "mma" not in base.config or base.channels % 8 == 0:
        check_grad_input(replace(case, filters=16))


@BODIES
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_geometry(base, geometry):
    case = replace(base, batch=2, valid_fraction=0.3, **geometry)
    check_forward(case)
    check_grad_input(replace(case, filters=16 if base.channels == 16 else 3))


@BODIES
@pytest.mark.parametrize("mask_update", ["any", "all", "center", "threshold", "fraction"])
@pytest.mark.parametrize("pad_is_valid", [False, True])
def test_options(base, mask_update, pad_is_valid):
    case = replace(
        base, size=(1, 6, 8), kernel=(1, 2, 3), padding=((0, 0), (2, 1), (2, 3)), threshold=0.5, fill=-2.5,
        mask_update=mask_update, pad_is_valid=pad_is_valid, valid_fraction=0.7,
    )  # fmt: skip
    check_forward(case)


@BODIES
@pytest.mark.parametrize("mask_batch", [0, 1, 3])
def test_mask_batch(base, mask_batch):
    case = replace(base, batch=3, size=(1, 6, 7), mask_batch=mask_batch)
    check_forward(case)
    for has_valid in (False, True):
        check_grad_input(replace(case, filters=16, stride=(1, 1, 2)), has_valid)


@pytest.mark.parametrize(
    "base",
    [
        Case(groups=3, channels=24, filters=48),
        Case(dtype="float32", groups=5, channels=5, filters=5),
        Case(dtype="float64", groups=2, channels=2, filters=68),
    ],
    ids=lambda case: f"{case.dtype}-{case.groups}",
)
def test_groups(base):
    check_forward(base)
    check_grad_input(base)


@pytest.mark.parametrize("seed", range(100, 130))
def test_random(seed):
    check_forward(random_forward(seed), seed=seed, preempt=seed % 4 == 0)
    check_grad_input(random_grad_input(seed), has_valid=seed % 3 > 0, seed=seed, preempt=seed % 4 == 0)


@BODIES
@pytest.mark.parametrize("of", ["another mask", "chance", "raster"])
def test_every_permutation_is_right(base, of):
    case = replace(base, batch=2, filters=16, mask_update="center")
    rows = case.batch * np.prod(case.output_size)
    assert rows == case.batch * np.prod(case.size)
    order = {
        "another mask": lambda: forward_order(_emulation, case, forward_case.make_data(replace(case, seed=1))),
        "chance": lambda: np.random.default_rng(0).permutation(rows).astype(np.uint32),
        "raster": lambda: np.arange(rows, dtype=np.uint32),
    }[of]()
    raster, ordered = check_forward(case, order=order)
    if of == "raster":
        assert ordered.counters["mma"] == raster.counters["mma"]
    check_grad_input(case, order=order)


def are_right_or_untouched(done: np.ndarray, raster: np.ndarray, named: np.ndarray) -> bool:
    """Rows are those of raster order, or nothing was written; the latter where the order does not name them."""
    done, raster = (array.reshape(-1, array.shape[-1]).view(np.uint8) for array in (done, raster))
    untouched = (done == forward_case.POISON).all(1)
    others = np.setdiff1d(np.arange(len(done)), named)
    return ((done == raster).all(1) | untouched).all() and untouched[others].all() and not untouched[named].all()


@EACH_KERNEL
@pytest.mark.parametrize("stride", [1, 2])
def test_numbers_that_are_no_rows_reach_no_memory(base, stride):
    """A caller's order is not looked at on the host; the emulator raises on any access out of bounds."""
    case = replace(base, batch=2, filters=max(base.filters, 16), stride=(1, stride, stride))
    data = forward_case.make_data(case)
    order, rows = with_numbers_of_no_row(forward_order(_emulation, case, data))
    done = forward_case.run(_emulation, case, data, row_order=order)
    assert are_right_or_untouched(done.output, forward_case.run(_emulation, case, data).output, rows)
    grad_data = grad_input_case.make_data(case)
    order, rows = with_numbers_of_no_row(grad_input_order(_emulation, case, grad_data))
    grad_done = grad_input_case.run(_emulation, case, grad_data, row_order=order)
    assert are_right_or_untouched(
        grad_done.grad_input, grad_input_case.run(_emulation, case, grad_data).grad_input, rows
    )


def test_nothing_valid_and_everything():
    for fraction in (0.0, 1.0):
        case = Case(valid_fraction=fraction, size=(1, 12, 13))
        raster, ordered = check_forward(case)
        assert ordered.counters["mma"] <= raster.counters["mma"]
        check_grad_input(case)


def test_empty_batch():
    case = Case(batch=0, mask_batch=1)
    keys = {
        "mask": forward_case.make_data(case).mask,
        "keys": np.zeros(0, np.uint32),
        "numbers": np.zeros(0, np.uint32),
    }
    assert not _emulation.forward_row_keys(case.problem(), keys)["counters"]["global_load_bytes"]


SPARSE = [
    Case(channels=40, filters=72, batch=2, size=(1, 20, 23), valid_fraction=0.05),
    Case(channels=8, filters=8, batch=2, size=(1, 24, 24), mask_update="center", valid_fraction=0.3),
    Case(channels=8, filters=8, size=(1, 24, 24), mask_update="all", valid_fraction=0.8),
    Case(channels=8, filters=8, size=(1, 18, 20), kernel=(1, 7, 7), padding=((0, 0), (3, 3), (3, 3)),
         valid_fraction=0.05),
]  # fmt: skip


@pytest.mark.parametrize("config", MMA)
@pytest.mark.parametrize("case", SPARSE, ids=lambda case: f"{case.mask_update}-{case.taps}-{case.channels}")
def test_products_are_those_of_the_order(config, case):
    """No tile multiplies for a tap that none of its valid rows has, in either order."""
    case = replace(case, config=config)
    data = forward_case.make_data(case)
    live, used = forward_live(case, forward_case.answer(case, data))
    order = forward_order(_emulation, case, data)
    raster, ordered = check_forward(case, data, order)
    assert raster.counters["mma"] == forward_case.expected_mma(case, live & used, *case.tile)
    wanted = forward_case.expected_mma(case, (live & used)[:, order], *case.tile)
    assert ordered.counters["mma"] == wanted < raster.counters["mma"]


@pytest.mark.parametrize("config", MMA)
@pytest.mark.parametrize("stride", [1, 2])
def test_products_of_grad_input_are_those_of_the_order(config, stride):
    case = Case(
        channels=40, filters=16, batch=2, size=(1, 24, 23), stride=(1, stride, stride), valid_fraction=0.2,
        config=config,
    )  # fmt: skip
    data = grad_input_case.make_data(case)
    live = grad_input_case.answer(case, data).live.reshape(case.taps, -1)
    order = grad_input_order(_emulation, case, data)
    raster, ordered = check_grad_input(case, order=order)
    # Columns and reduction change places.
    transposed = replace(case, channels=case.filters, filters=case.channels)
    wanted = forward_case.expected_mma(transposed, live[:, order], *case.tile)
    assert ordered.counters["mma"] == wanted < raster.counters["mma"]


def test_an_order_keeps_stride_classes_apart():
    """All valid: as few products as tiles of one class each, but for those that hold the end of two."""
    case = Case(channels=8, filters=8, size=(1, 64, 64), kernel=(1, 7, 7), padding=((0, 0), (3, 3), (3, 3)),
                stride=(1, 2, 2), valid_fraction=1.0, config="mma_64x64x32_s4")  # fmt: skip
    data = grad_input_case.make_data(case, valid_outputs=1.0)
    order = grad_input_order(_emulation, case, data)
    raster = grad_input_case.run(_emulation, case, data).counters["mma"]
    assert grad_input_case.run(_emulation, case, data, row_order=order).counters["mma"] <= 1.05 * raster


@pytest.mark.parametrize("mask_update", ["any", "center", "all"])
@pytest.mark.parametrize("kernel", [(3, 3), (7, 7)])
def test_the_bench_counts_what_the_kernels_visit(mask_update, kernel):
    layer = suite.Layer("small", 2, 8, 8, (24, 22), kernel)
    case = Case(
        channels=8, filters=8, batch=2, size=(1, 24, 22), kernel=(1, *kernel), mask_update=mask_update,
        padding=((0, 0), *((k // 2, k // 2) for k in kernel)), config="mma_128x64x32_s4",
    )  # fmt: skip
    data = forward_case.make_data(case)
    live = live_fraction(data.mask != 0, layer, mask_update)
    raster, ordered = check_forward(case, data)
    tiles = -(-2 * 24 * 22 // BLOCK_M)
    products = tiles * case.taps * (128 // 16) * (64 // 8) * (32 // 16)
    assert raster.counters["mma"] == pytest.approx(live.raster * products)
    assert ordered.counters["mma"] == pytest.approx(live.sorted * products)


def test_keys_of_any_number_of_taps():
    """Zero only without taps, equal for equal taps; at most 32 bits, of which all but a few are used."""
    for taps in (1, 2, 31, 32, 33, 64, 65, 121, 1024):
        case = line(Case(channels=8, filters=8, batch=2, valid_fraction=0.01), 40, kernel=taps)
        forward_order(_emulation, case, forward_case.make_data(case))
        bits = _emulation.forward_row_keys(case.problem(), no_rows(case))["bits"]
        assert bits == taps if taps <= 32 else 16 <= bits <= 32
        only_the_last_tap = np.zeros((taps, 1), bool)
        only_the_last_tap[-1] = True
        assert expected_keys(only_the_last_tap, 1)[0] == 2 ** (bits - 1)


def no_rows(case: Case) -> dict[str, np.ndarray]:
    data = forward_case.make_data(case)
    rows = case.batch * int(np.prod(case.output_size))
    return {"mask": data.mask, "keys": np.zeros(rows, np.uint32), "numbers": np.zeros(rows, np.uint32)}


R50_56 = Case(batch=256, size=(1, 56, 56), channels=64, filters=64)
DET_PAD = Case(batch=16, size=(1, 200, 304), channels=256, filters=256)


def pays(case: Case) -> tuple[bool, bool]:
    return (
        _emulation.expects_forward_order_to_pay(case.problem(), case.dtype),
        _emulation.expects_grad_input_order_to_pay(case.problem(), case.dtype),
    )


def test_a_layer_sorts_for_itself_where_that_costs_little_under_any_mask() -> None:
    assert pays(DET_PAD) == (True, True)
    assert pays(R50_56) == (False, False)  # 30 us of sorting, 120 us of convolution
    assert pays(replace(R50_56, dtype="float32")) == (True, True)  # which takes 12 times as long
    assert pays(replace(DET_PAD, mask_batch=0)) == (False, False)
    pointwise = replace(DET_PAD, channels=2048, filters=2048, kernel=(1, 1, 1), padding=((0, 0),) * 3)
    assert pays(pointwise) == (False, False)
    assert pays(replace(DET_PAD, batch=1, channels=16)) == (False, False)


def test_rows_are_counted_in_32_bits() -> None:
    assert _emulation.why_not_row_order(2**32 - 1) == ""
    reason = "there are 4294967296 rows; an order counts them in 32 bits"
    assert _emulation.why_not_row_order(2**32) == reason
    assert pays(replace(DET_PAD, batch=2**17)) == (False, False)
