"""The depthwise kernels against the specification, and what they load."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import forward_case
import grad_input_case
import grad_weight_case
import numpy as np
import pytest
from depthwise_case import MAX_VECTORS, RUN_ROWS, STAGE_STRIPS, STRIP_TAPS, WIDEST, depthwise, in_line, wide
from forward_case import Case, encode
from special_kernels import Kernels

from maskconv_ext import _emulation

KERNELS = Kernels("depthwise")
EACH_DTYPE = pytest.mark.parametrize("dtype", list(WIDEST))
EACH_PASS = pytest.mark.parametrize(
    "case_of", [forward_case, grad_input_case, grad_weight_case], ids=["forward", "grad_input", "grad_weight"]
)
CONFLICTS = [f"shared_{what}_bank_conflicts" for what in ("load", "store")]


@EACH_PASS
@EACH_DTYPE
@pytest.mark.parametrize("channels", [1, 2, 3, 8, 37])
@pytest.mark.parametrize("offset", [0, 1])
def test_channel_tails(case_of, dtype, channels, offset):
    case_of.check(KERNELS, depthwise(channels, dtype=dtype, offset=offset, size=(1, 3, 9)))


@EACH_PASS
@EACH_DTYPE
@pytest.mark.parametrize("vectors", [MAX_VECTORS - 1, MAX_VECTORS, MAX_VECTORS + 1, 2 * MAX_VECTORS + 1])
def test_column_blocks(case_of, dtype, vectors):
    case_of.check(KERNELS, wide(depthwise(1, dtype=dtype, size=(1, 2, 9)), vectors))


@EACH_PASS
@pytest.mark.parametrize("length", [1, RUN_ROWS - 1, RUN_ROWS, RUN_ROWS + 1, 3 * RUN_ROWS + 1, 40 * RUN_ROWS + 1])
def test_run_tails(case_of, length):
    case_of.check(KERNELS, in_line(8, length, 3))


@EACH_PASS
@pytest.mark.parametrize(
    "kernel", [1, STRIP_TAPS - 1, STRIP_TAPS, STRIP_TAPS + 1, 33, STAGE_STRIPS * STRIP_TAPS + 1, 87, 300]
)
def test_strip_tails(case_of, kernel):
    case_of.check(KERNELS, in_line(4, 20, kernel, valid_fraction=0.8))


@EACH_PASS
@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
@pytest.mark.parametrize(
    "geometry",
    [
        {"size": (5, 6, 7), "kernel": (3, 3, 3), "padding": ((1, 1), (1, 1), (1, 1))},
        {"size": (5, 6, 7), "kernel": (2, 3, 4), "padding": ((1, 0), (0, 2), (3, 1))},
        {"size": (1, 13, 22), "stride": (1, 2, 3)},
        {"size": (7, 9, 11), "kernel": (3, 3, 3), "stride": (2, 1, 2), "padding": ((1, 1), (0, 1), (1, 0))},
        {"size": (1, 13, 24), "dilation": (1, 2, 3), "padding": ((0, 0), (2, 2), (3, 3))},
        {"size": (1, 9, 18), "dilation": (1, 2, 2), "stride": (1, 2, 2), "padding": ((0, 0), (3, 0), (0, 4))},
        {"size": (1, 9, 40), "kernel": (1, 2, 9), "dilation": (1, 3, 4), "stride": (1, 2, 6)},
        {"size": (1, 9, 40), "kernel": (1, 2, 9), "dilation": (1, 1, 2), "stride": (1, 3, 3)},
        {"size": (1, 4, 60), "kernel": (1, 1, 20), "stride": (1, 1, 2), "padding": ((0, 0), (0, 0), (9, 9))},
        {"size": (1, 3, 11), "kernel": (1, 1, 2), "stride": (1, 1, 5)},  # steps beyond the kernel
        {"size": (1, 2, 2), "padding": ((0, 0), (4, 4), (4, 4))},  # windows wholly outside
        {"size": (1, 9, 8), "kernel": (1, 1, 1), "stride": (1, 2, 2), "padding": ((0, 0), (1, 0), (0, 1))},
        {"size": (1, 12, 12), "kernel": (1, 11, 11), "padding": ((0, 0), (5, 5), (5, 5)), "valid_fraction": 0.1},
        {"size": (7, 7, 8), "kernel": (7, 7, 7), "padding": ((3, 3), (3, 3), (3, 3)), "valid_fraction": 0.02},
    ],
    ids=lambda geometry: "-".join(f"{k}{v}" for k, v in geometry.items() if k != "valid_fraction").replace(" ", ""),
)
@pytest.mark.parametrize("pad_is_valid", [False, True])
def test_geometry(case_of, dtype, geometry, pad_is_valid):
    case_of.check(KERNELS, depthwise(4, dtype=dtype, batch=2, pad_is_valid=pad_is_valid, **geometry))


@EACH_PASS
@pytest.mark.parametrize("mask_batch", [0, 1, 3])
def test_mask_batch(case_of, mask_batch):
    case_of.check(KERNELS, depthwise(8, batch=3, size=(1, 6, 17), mask_batch=mask_batch))


@pytest.mark.parametrize("normalization", ["ratio", "mean", "sqrt", "none"])
@pytest.mark.parametrize("mask_update", ["any", "all", "center", "threshold", "fraction"])
@pytest.mark.parametrize("pad_is_valid", [False, True])
def test_options(normalization, mask_update, pad_is_valid):
    options = {"normalization": normalization, "mask_update": mask_update, "pad_is_valid": pad_is_valid}
    case = depthwise(
        4, size=(1, 6, 8), kernel=(1, 2, 3), padding=((0, 0), (2, 1), (2, 3)), threshold=0.5, fill=-2.5, **options
    )
    forward_case.check(KERNELS, replace(case, valid_fraction=0.7))
    # The centre in the middle of a strip, and in none but the last.
    forward_case.check(KERNELS, in_line(4, 30, 33, valid_fraction=0.7, threshold=0.5, **options))
    forward_case.check(KERNELS, replace(case, size=(1, 6, 20), stride=(1, 1, 2), kernel=(1, 2, 4)))


@EACH_DTYPE
@pytest.mark.parametrize(
    "fill",
    [{"fill": 0.0}, {"fill": 3.5}, {"fill": float("nan")}, {"fill": float("-inf")}, {"fill_with_bias": True}],
    ids=str,
)
@pytest.mark.parametrize("bias", [False, True])
def test_fill(dtype, fill, bias):
    forward_case.check(KERNELS, depthwise(4, dtype=dtype, size=(1, 6, 9), valid_fraction=0.1, bias=bias, **fill))


@EACH_PASS
def test_holes_change_nothing(case_of):
    """Bit for bit: NaN and infinities under the mask leave no trace, whatever order threads run in."""
    case = depthwise(12, batch=2, kernel=(1, 5, 9), padding=((0, 0), (2, 2), (4, 4)))
    data = case_of.make_data(case)
    filled = dict(vars(data))
    for name, where in (("x", data.mask), ("grad", getattr(data, "valid", None))):
        if name in filled:
            filled[name] = np.where((where == 0)[..., None], encode(np.zeros(1), case.dtype)[0], filled[name])
    first = case_of.run(KERNELS, case, data)
    for seed, preempt in ((1, False), (2, True)):
        again = case_of.run(KERNELS, case, type(data)(**filled), seed=seed, preempt=preempt)
        for key, value in vars(first).items():
            other = vars(again)[key]
            assert value.tobytes() == other.tobytes() if isinstance(value, np.ndarray) else value == other


def test_infinite_weights_do_not_reach_a_hole():
    grad_input_case.check_holes_stay_empty(KERNELS, depthwise(4))


@EACH_PASS
def test_nothing_valid(case_of):
    """No value is loaded where none is valid: bytes of the mask and the weights are all."""
    case = depthwise(8, valid_fraction=0.0, fill=7.0, bias=False, mask_batch=1)
    options = {} if case_of is forward_case else {"valid_outputs": 0.0}
    loaded = [case_of.check(KERNELS, wide(case, n), **options).counters["global_load_bytes"] for n in (2, 3)]
    of_weights = 0 if case_of is grad_weight_case else case.taps * WIDEST[case.dtype] * 2
    assert loaded[1] - loaded[0] == of_weights


def test_a_hole_is_not_loaded():
    """A value is loaded where it is valid, once for each strip and run that meet it."""
    case = replace(wide(in_line(1, RUN_ROWS, STRIP_TAPS, mask_batch=1, bias=False), 32), valid_fraction=1.0)
    full = forward_case.check(KERNELS, case).counters["global_load_bytes"]
    mask = np.ones((1, *case.size), np.uint8)
    mask[..., 1:3] = 0
    holes = forward_case.check(KERNELS, case, mask=mask).counters["global_load_bytes"]
    assert full - holes == 2 * case.channels * 2


def test_a_short_run_and_strip_load_what_they_meet():
    case = replace(wide(in_line(1, 6, 3, mask_batch=0, bias=False), 32), padding=((0, 0),) * 3)
    element, blocks = 2, 1
    values = 6 + blocks * case.taps
    assert forward_case.check(KERNELS, case).counters["global_load_bytes"] == values * case.channels * element


@EACH_PASS
@EACH_DTYPE
def test_loads_are_shared_by_rows_and_taps(case_of, dtype):
    """Of a run and strip, as many loads as there are positions, in whole sectors, and no bank conflict."""
    span, lines = RUN_ROWS + STRIP_TAPS - 1, 4
    case = wide(depthwise(1, dtype=dtype, mask_batch=0, bias=False), MAX_VECTORS)
    case = replace(case, size=(1, 1, span), kernel=(1, 1, STRIP_TAPS), padding=((0, 0),) * 3)
    if case_of is grad_input_case:  # as many rows of grad_input, which meet as many outputs
        case = replace(case, size=(1, 1, RUN_ROWS), padding=((0, 0), (0, 0), (STRIP_TAPS - 1,) * 2))
    options = {} if case_of is forward_case else {"has_valid": False}
    one = case_of.check(KERNELS, case, **options).counters
    several = case_of.check(KERNELS, replace(case, batch=1 + lines), **options).counters  # in the same block
    element = {"float64": 8, "float32": 4}.get(dtype, 2)
    more = {name: several[name] - one[name] for name in one}
    values = span + RUN_ROWS if case_of is grad_weight_case else span  # those of grad too
    assert more["global_load_bytes"] == lines * values * case.channels * element
    assert more["global_load_sectors"] * 32 == more["global_load_bytes"]
    assert more["global_store_sectors"] * 32 == more["global_store_bytes"]
    assert {name: several[name] for name in CONFLICTS} == dict.fromkeys(CONFLICTS, 0)
    assert several["uninitialized_shared_bytes_read"] == 0


@EACH_DTYPE
@pytest.mark.parametrize("splits", [1, 2, 5, 40])
def test_splits(dtype, splits):
    """Also of which the last have no runs; with 40 the planner would not split so few."""
    case = depthwise(8, dtype=dtype, batch=3, size=(1, 6, 17))
    done = grad_weight_case.check(KERNELS, case, splits=splits)
    assert done.splits == splits
    assert any(done.reduction.values()) == (splits > 1)


@pytest.mark.parametrize("vectors, kernel", [(1, 3), (3, 7), (8, 3), (11, 5), (24, 49), (32, 3)])
def test_threads_that_share_runs(vectors, kernel):
    """From one vector of channels and one strip, 256 threads to share a run, to one."""
    grad_weight_case.check(KERNELS, replace(wide(in_line(1, 60, kernel, batch=5), vectors), mask_batch=1))


def test_planned_splits():
    device = _emulation.DeviceProperties(multiprocessors=4)
    case = depthwise(96, batch=128, size=(1, 56, 56), kernel=(1, 7, 7), padding=((0, 0), (3, 3), (3, 3)))
    weight_bytes = 96 * 49 * 4
    assert _emulation.plan_depthwise_grad_weight(case.problem(), "bfloat16", device) == (16, 16 * weight_bytes)
    small = replace(case, batch=1)  # of 448 runs
    assert _emulation.plan_depthwise_grad_weight(small.problem(), "bfloat16", device) == (3, 3 * weight_bytes)
    tiny = replace(case, batch=1, size=(1, 7, 7))
    assert _emulation.plan_depthwise_grad_weight(tiny.problem(), "bfloat16", device) == (1, 0)


@pytest.mark.parametrize("kernel", [1, 3])
def test_more_than_2_31_elements(tmp_path, kernel):
    """Three outputs, or the three taps of one, 2^28 positions apart: a sparse file of which three pages exist."""
    step, channels = 2**28, 8
    size = 2 * step + 1
    x = np.memmap(tmp_path / "sparse", np.uint16, "w+", shape=(1, 1, 1, size, channels))
    dense = replace(in_line(channels, 3, kernel, mask_batch=0), padding=((0, 0),) * 3)
    data = forward_case.make_data(dense)
    x[:, :, :, ::step] = data.x
    expected = forward_case.run(KERNELS, dense, data)
    wide_steps = {"stride": (1, 1, step)} if kernel == 1 else {"dilation": (1, 1, step)}
    arrays = {
        "input": x, "mask": None, "weight": data.weight, "bias": data.bias,
        "output": np.zeros_like(expected.output),
        "out_mask": np.zeros_like(expected.out_mask),
        "window_sum": np.zeros_like(expected.window_sum),
    }  # fmt: skip
    _emulation.depthwise_forward(replace(dense, size=(1, 1, size), **wide_steps).problem(), "bfloat16", arrays)
    assert arrays["output"].tobytes() == expected.output.tobytes()


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    pick = rng.choice
    kernel = tuple(int(k) for k in pick([1, 2, 3, 4, 8], 3))
    dilation = tuple(int(d) for d in pick([1, 2, 3], 3))
    padding = tuple((int(a), int(b)) for a, b in pick(4, (3, 2)))
    size = tuple(
        max(int(n), (k - 1) * d + 1 - sum(pad), 1)
        for n, k, d, pad in zip(rng.integers(1, 12, 3), kernel, dilation, padding)
    )
    batch = int(pick([1, 2, 3]))
    fields: dict[str, Any] = {"size": size, "kernel": kernel, "dilation": dilation, "padding": padding}
    return depthwise(
        int(pick([1, 4, 6, 8, 40])),
        dtype=str(pick(list(WIDEST))),
        batch=batch,
        stride=tuple(int(s) for s in pick([1, 2, 3, 4], 3)),
        mask_batch=int(pick([0, 1, batch])),
        valid_fraction=float(pick([0.05, 0.5, 0.95])),
        pad_is_valid=bool(pick([False, True])),
        normalization=str(pick(["ratio", "mean", "sqrt", "none"])),
        mask_update=str(pick(["any", "all", "center", "threshold", "fraction"])),
        threshold=float(rng.random()),
        fill=float(pick([0.0, 1.5, np.nan])),
        bias=bool(pick([False, True])),
        offset=int(pick([0, 0, 1])),
        seed=seed,
        **fields,
    )


@EACH_PASS
@pytest.mark.parametrize("seed", range(25))
def test_random(case_of, seed):
    options = {"splits": 1 + seed % 3} if case_of is grad_weight_case else {}
    case_of.check(KERNELS, random_case(seed), seed=seed, preempt=seed % 4 == 0, **options)


@pytest.mark.parametrize(
    "case, reason",
    [
        (depthwise(96), ""),
        (Case(), "the depthwise kernel needs one channel and one filter a group, got 16 and 16"),
        (replace(depthwise(4), filters=8),
         "the depthwise kernel needs one channel and one filter a group, got 1 and 2"),
        (depthwise(4, kernel=(11, 11, 11), size=(20, 20, 20)),
         "the kernel has 1331 taps; the CUDA kernel takes at most 1024"),
        (depthwise(4, stride=(1, 2**15, 2**17)),
         "the strides or the dilation are too large for the depthwise kernel to count in 32 bits"),
        (replace(depthwise(4), size=(1, 1, 2**31 - 1), stride=(1, 1, 2), padding=((0, 0), (1, 1), (4, 4))),
         "the windows reach over 2147483655 positions of one axis; the CUDA kernel counts them in 32 bits"),
        (depthwise(2**12, batch=2**20, size=(1, 512, 512)),
         "the output has 274877906944 positions x 4096 channels: more tiles than one launch can carry"),
    ],
    ids=lambda value: value[:30].replace(" ", "_") if isinstance(value, str) else "",
)  # fmt: skip
def test_what_the_kernel_takes(case, reason):
    assert _emulation.why_not_depthwise(case.problem()) == reason


def test_work():
    """ConvNeXt's first stage: input and output once, and a multiplication each row and tap."""
    case = depthwise(96, batch=128, size=(1, 56, 56), kernel=(1, 7, 7), padding=((0, 0), (3, 3), (3, 3)))
    bytes_, multiply_adds = _emulation.depthwise_work(case.problem(), "bfloat16")
    positions = 128 * 56 * 56
    assert bytes_ == 2 * positions * 96 * 2
    assert multiply_adds == positions * 96 * 49
