"""The forward kernels' own code, run on the emulated machine, against a float64 loop over the specification."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from forward_case import Case, Run, answer, check, decode, encode, expected_mma, line, make_data, run

from maskconv_ext import _emulation

MMA = ("mma_256x128x32_s4", "mma_256x64x32_s4", "mma_128x128x32_s4", "mma_128x64x32_s4", "mma_64x64x32_s4")
TF32 = tuple(config.replace("mma", "tf32").replace("x32", "x16") for config in MMA)
SIMT = {"float64": "simt_64x32x8_s2", "float32": "simt_64x64x8_s2", "float16": "simt_64x64x8_s2"}
CONFLICTS = [f"{what}_bank_conflicts" for what in ("ldmatrix", "cp_async", "shared_load", "shared_store")]

TF32_KERNELS = [Case(dtype="float32", allow_tf32=True, config=config) for config in TF32]
ALL_KERNELS = [
    *(Case(dtype=dtype, config=config) for dtype in ("bfloat16", "float16") for config in MMA),
    *TF32_KERNELS,
    *(Case(dtype=dtype, channels=5, config=config) for dtype, config in SIMT.items()),
    Case(dtype="bfloat16", channels=5, config=SIMT["float32"]),
]
EACH_KERNEL = pytest.mark.parametrize("base", ALL_KERNELS, ids=lambda case: f"{case.dtype}-{case.config}")
TENSOR_CORES = pytest.mark.parametrize(
    "base", [*(Case(config=config) for config in MMA), *TF32_KERNELS], ids=lambda case: case.config
)
# One case of each kernel body, where what is tested is common to all tiles.
BODIES = pytest.mark.parametrize("base", [Case(), Case(dtype="float32", channels=3)], ids=["mma", "simt"])


@EACH_KERNEL
@pytest.mark.parametrize("tiles, beyond", [(0, 1), (1, -1), (1, 0), (1, 1)])
def test_row_tails(base, tiles, beyond):
    check(_emulation, line(base, tiles * base.tile[0] + beyond))


@EACH_KERNEL
@pytest.mark.parametrize("tiles, beyond", [(0, 1), (0, 8), (1, -1), (1, 0), (1, 1), (1, 8)])
def test_filter_tails(base, tiles, beyond):
    check(_emulation, replace(line(base, 20), filters=tiles * base.tile[1] + beyond))


@TENSOR_CORES
@pytest.mark.parametrize("units", [1, 3, 4, 5, 8, 9])
def test_channel_tails_of_mma(base, units):
    check(_emulation, replace(line(base, 20), channels=units * base.channel_unit))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("channels", [1, 2, 3, 7, 8, 9, 67])
def test_channel_tails_of_simt(dtype, channels):
    config = SIMT.get(dtype, SIMT["float32"])
    check(_emulation, replace(line(Case(dtype=dtype, config=config), 20), channels=channels))


@BODIES
@pytest.mark.parametrize(
    "geometry",
    [
        {"size": (1, 1, 30), "kernel": (1, 1, 5), "padding": ((0, 0), (0, 0), (2, 2))},
        {"size": (5, 6, 7), "kernel": (3, 3, 3), "padding": ((1, 1), (1, 1), (1, 1))},
        {"size": (5, 6, 7), "kernel": (2, 3, 4), "padding": ((1, 0), (0, 2), (3, 1))},
        {"size": (1, 13, 12), "stride": (1, 2, 3)},
        {"size": (7, 9, 11), "kernel": (3, 3, 3), "stride": (2, 1, 2), "padding": ((1, 1), (0, 1), (1, 0))},
        {"size": (1, 13, 14), "dilation": (1, 2, 3), "padding": ((0, 0), (2, 2), (3, 3))},
        {"size": (1, 9, 8), "dilation": (1, 2, 2), "stride": (1, 2, 2), "padding": ((0, 0), (3, 0), (0, 4))},
        {"size": (1, 2, 2), "padding": ((0, 0), (4, 4), (4, 4))},  # windows wholly outside
        {"size": (1, 9, 8), "kernel": (1, 1, 1), "padding": ((0, 0), (0, 0), (0, 0))},
        {"size": (1, 9, 8), "kernel": (1, 1, 1), "stride": (1, 2, 2), "padding": ((0, 0), (1, 0), (0, 1))},
        {"size": (1, 12, 12), "kernel": (1, 11, 11), "padding": ((0, 0), (5, 5), (5, 5)), "valid_fraction": 0.1},
        {"size": (7, 7, 8), "kernel": (7, 7, 7), "padding": ((3, 3), (3, 3), (3, 3)), "valid_fraction": 0.02},
        {"size": (1, 1, 40), "kernel": (1, 1, 32), "padding": ((0, 0), (0, 0), (16, 15))},
        {"size": (1, 1, 40), "kernel": (1, 1, 33), "padding": ((0, 0), (0, 0), (16, 16))},
    ],
    ids=lambda geometry: "-".join(f"{k}{v}" for k, v in geometry.items() if k != "valid_fraction").replace(" ", ""),
)
@pytest.mark.parametrize("pad_is_valid", [False, True])
def test_geometry(base, geometry, pad_is_valid):
    check(_emulation, replace(base, batch=2, channels=8, pad_is_valid=pad_is_valid, **geometry))


def test_most_taps():
    case = line(Case(channels=8, filters=8, valid_fraction=0.02), 70, kernel=1024)
    check(_emulation, case)
    with pytest.raises(ValueError, match="the kernel has 1025 taps; the CUDA kernel takes at most 1024"):
        check(_emulation, line(Case(channels=8, filters=8, valid_fraction=0.02), 70, kernel=1025))


@pytest.mark.parametrize(
    "base",
    [
        Case(groups=2, channels=16, filters=16),
        Case(groups=3, channels=24, filters=15),  # groups that start off a 16-byte boundary
        Case(groups=2, channels=80, filters=130),
        Case(dtype="float32", allow_tf32=True, groups=3, channels=12, filters=9),
        Case(dtype="float32", allow_tf32=True, groups=2, channels=40, filters=130),
        Case(dtype="float32", groups=2, channels=6, filters=10),
        Case(dtype="float32", groups=5, channels=5, filters=5),  # depthwise
        Case(dtype="bfloat16", groups=4, channels=12, filters=8),
        Case(dtype="float64", groups=2, channels=2, filters=68),
    ],
    ids=lambda case: f"{case.dtype}-{case.groups}-{case.channels}-{case.filters}",
)
def test_groups(base):
    check(_emulation, base)


@EACH_KERNEL
@pytest.mark.parametrize("mask_batch", [0, 1, 3])
def test_mask_batch(base, mask_batch):
    check(_emulation, replace(base, batch=3, size=(1, 6, 7), mask_batch=mask_batch))


@BODIES
@pytest.mark.parametrize("normalization", ["ratio", "mean", "sqrt", "none"])
@pytest.mark.parametrize("mask_update", ["any", "all", "center", "threshold", "fraction"])
@pytest.mark.parametrize("pad_is_valid", [False, True])
def test_options(base, normalization, mask_update, pad_is_valid):
    options = {"normalization": normalization, "mask_update": mask_update, "pad_is_valid": pad_is_valid}
    # An even and an odd window; padding far enough for windows, and centres, outside the image.
    case = replace(
        base, size=(1, 6, 8), kernel=(1, 2, 3), padding=((0, 0), (2, 1), (2, 3)), threshold=0.5, fill=-2.5, **options
    )
    check(_emulation, replace(case, valid_fraction=0.7))


@BODIES
@pytest.mark.parametrize("threshold", [0.0, 1e-9, 1 / 9, 2 / 9, 0.3, 0.7, 1.0])
def test_thresholds(base, threshold):
    check(_emulation, replace(base, mask_update="threshold", threshold=threshold))


@EACH_KERNEL
@pytest.mark.parametrize(
    "fill",
    [{"fill": 0.0}, {"fill": 3.5}, {"fill": float("nan")}, {"fill": float("-inf")}, {"fill_with_bias": True}],
    ids=str,
)
@pytest.mark.parametrize("bias", [False, True])
def test_fill(base, fill, bias):
    check(_emulation, replace(base, size=(1, 6, 9), valid_fraction=0.1, bias=bias, **fill))


@EACH_KERNEL
@pytest.mark.parametrize("offset", [1, 3])
def test_unaligned(base, offset):
    case = replace(base, offset=offset, config="" if base.on_tensor_cores else base.config, size=(1, 5, 6))
    done = check(_emulation, case)
    assert done.config.startswith("simt")
    if base.on_tensor_cores:
        with pytest.raises(ValueError, match="needs input and weight to start on a 16-byte boundary"):
            check(_emulation, replace(base, offset=offset))


@EACH_KERNEL
def test_nothing_valid(base):
    case = replace(base, valid_fraction=0.0, fill=7.0)
    done = check(_emulation, case)
    assert (decode(done.output, case.dtype) == 7.0).all()
    assert done.counters["mma"] == done.counters["ldmatrix"] == done.counters["cp_async_requests"] == 0
    # Neither of image nor of weights was anything read: mask bytes and the bias are all.
    mask_bytes = np.prod(case.size) * case.taps
    bias_bytes = 16 * 256
    assert done.counters["global_load_bytes"] <= mask_bytes + bias_bytes


def test_outside_is_valid_but_nothing_is_live():
    case = replace(Case(), valid_fraction=0.0, pad_is_valid=True, fill=7.0)
    done = check(_emulation, case)
    assert done.counters["mma"] == 0
    assert (done.window_sum > 0).any()


@EACH_KERNEL
def test_empty_batch(base):
    """No rows, no launch; so the window of a shared mask is not counted either."""
    case = replace(base, batch=0, mask_batch=1)
    done = run(_emulation, case, replace(make_data(case), x=make_data(case).x[:0]))
    assert not any(done.counters.values())
    assert done.output.size == 0


@EACH_KERNEL
def test_holes_change_nothing(base):
    """Bit for bit: NaN and infinities under the mask leave no trace, whatever order threads run in."""
    data = make_data(base)
    zeros = replace_holes(base, data)
    first = run(_emulation, base, data)
    for seed, preempt in ((1, False), (2, True)):
        again = run(_emulation, base, zeros, seed=seed, preempt=preempt)
        assert again.output.tobytes() == first.output.tobytes()
        assert again.window_sum.tobytes() == first.window_sum.tobytes()
        assert again.out_mask.tobytes() == first.out_mask.tobytes()
        assert again.counters == first.counters


def replace_holes(case, data):
    x = data.x.copy()
    x[np.broadcast_to(data.mask == 0, x.shape[:-1])] = encode(np.zeros(1), case.dtype)[0]
    return replace(data, x=x)


@TENSOR_CORES
@pytest.mark.parametrize(
    "case",
    [
        Case(channels=40, filters=72, size=(1, 12, 17), valid_fraction=0.02),
        Case(channels=8, filters=64, size=(1, 16, 16), valid_fraction=0.5),
        Case(channels=64, groups=2, filters=64, size=(1, 7, 30), valid_fraction=0.01),
    ],
    ids=lambda case: f"{case.channels}-{case.valid_fraction}",
)
def test_products_are_those_of_live_taps(base, case):
    case = replace(case, dtype=base.dtype, allow_tf32=base.allow_tf32, config=base.config)
    done = check(_emulation, case)
    live = answer(case, make_data(case)).live
    assert done.counters["mma"] == expected_mma(case, live, *case.tile) > 0


@pytest.mark.parametrize("config", MMA)
def test_half_a_plane_costs_less(config):
    case = replace(Case(), config=config, size=(1, 32, 16), batch=1)
    half = np.ones((1, *case.size), np.uint8)
    half[:, :, 16:] = 0
    full = check(_emulation, case, mask=np.ones_like(half)).counters["mma"]
    assert 0.45 * full <= check(_emulation, case, mask=half).counters["mma"] <= 0.7 * full


@EACH_KERNEL
def test_no_bank_conflicts(base):
    """Of a whole tile: with fewer rows or filters some lanes idle, which could hide a conflict."""
    block_m, block_n, _ = base.tile
    case = replace(line(base, block_m), filters=block_n, channels=64, valid_fraction=0.9)
    counters = check(_emulation, case).counters
    assert {name: counters[name] for name in CONFLICTS} == dict.fromkeys(CONFLICTS, 0)
    assert counters["uninitialized_shared_bytes_read"] == 0


@EACH_KERNEL
def test_a_hole_is_not_read(base):
    """Bytes the kernel asks for from x: exactly those of live taps, once per tile of filters."""
    case = replace(base, filters=8, channels=8, bias=False, size=(1, 6, 10), mask_batch=0)
    shared = replace(case, mask_batch=1, valid_fraction=0.3)
    dense, sparse = check(_emulation, case), check(_emulation, shared)
    rows = int(answer(shared, make_data(shared)).live.sum())
    dense_rows = int(answer(case, make_data(case)).live.sum())
    element = {"float64": 8, "float32": 4}.get(case.dtype, 2)
    in_image = dense_rows  # mask bytes: one for each tap in the image
    loaded = sparse.counters["global_load_bytes"] + sparse.counters["cp_async_bytes"]
    loaded_dense = dense.counters["global_load_bytes"] + dense.counters["cp_async_bytes"]
    assert loaded_dense - (loaded - in_image) == (dense_rows - rows) * 8 * element


def test_more_than_2_31_elements(tmp_path):
    """Offsets beyond 2^31 elements, in a sparse file of which three pages exist."""
    step = 2**28
    size, channels = 2 * step + 1, 8
    x = np.memmap(tmp_path / "sparse", np.uint16, "w+", shape=(1, 1, 1, size, channels))
    rng = np.random.default_rng(0)
    small = encode(rng.standard_normal((1, 1, 1, 3, channels)), "bfloat16")
    x[:, :, :, ::step] = small
    dense = Case(channels=channels, size=(1, 1, 3), kernel=(1, 1, 1), padding=((0, 0),) * 3, mask_batch=0)
    wide = replace(dense, size=(1, 1, size), stride=(1, 1, step))
    data = replace(make_data(dense), x=small)
    expected = run(_emulation, dense, data)
    arrays = {
        "input": x, "mask": None, "weight": data.weight, "bias": data.bias,
        "output": np.zeros((1, 1, 1, 3, dense.filters), np.uint16),
        "out_mask": np.zeros((1, 1, 1, 3), np.uint8),
        "window_sum": np.zeros((1, 1, 1, 3), np.int32),
    }  # fmt: skip
    _emulation.forward(wide.problem(), "bfloat16", arrays)
    assert arrays["output"].tobytes() == expected.output.tobytes()
    # The taps of one window as far apart as that.
    taps = replace(dense, kernel=(1, 1, 3), filters=8)
    data = replace(make_data(taps), x=small)
    expected = run(_emulation, taps, data)
    arrays |= {
        "weight": data.weight, "bias": data.bias,
        "output": np.zeros((1, 1, 1, 1, 8), np.uint16),
        "out_mask": np.zeros((1, 1, 1, 1), np.uint8),
        "window_sum": np.zeros((1, 1, 1, 1), np.int32),
    }  # fmt: skip
    _emulation.forward(replace(taps, size=(1, 1, size), dilation=(1, 1, step)).problem(), "bfloat16", arrays)
    assert arrays["output"].tobytes() == expected.output.tobytes()


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    pick = rng.choice
    dtype = str(pick(["bfloat16", "float16", "float32", "float64"]))
    groups = int(pick([1, 1, 2, 3]))
    kernel = tuple(int(k) for k in pick([1, 2, 3, 4], 3))
    dilation = tuple(int(d) for d in pick([1, 2], 3))
    padding = tuple((int(a), int(b)) for a, b in pick(4, (3, 2)))
    size = tuple(
        max(int(n), (k - 1) * d + 1 - sum(pad), 1)
        for n, k, d, pad in zip(rng.integers(1, 8, 3), kernel, dilation, padding)
    )
    batch = int(pick([1, 2, 3]))
    return Case(
        dtype=dtype,
        batch=batch,
        size=size,  # type: ignore[arg-type]
        channels=groups * int(pick([1, 3, 8, 16, 40])),
        filters=groups * int(pick([1, 4, 8, 70])),
        groups=groups,
        kernel=kernel,  # type: ignore[arg-type]
        stride=tuple(int(s) for s in pick([1, 2, 3], 3)),  # type: ignore[arg-type]
        padding=padding,
        dilation=dilation,  # type: ignore[arg-type]
        mask_batch=int(pick([0, 1, batch])),
        valid_fraction=float(pick([0.05, 0.5, 0.95])),
        pad_is_valid=bool(pick([False, True])),
        normalization=str(pick(["ratio", "mean", "sqrt", "weight", "none"])),
        mask_update=str(pick(["any", "all", "center", "threshold", "fraction"])),
        threshold=float(rng.random()),
        fill=float(pick([0.0, 1.5, np.nan])),
        fill_with_bias=bool(pick([False, True])),
        bias=bool(pick([False, True])),
        offset=int(pick([0, 0, 1])),
        allow_tf32=seed % 2 == 0,
        seed=seed,
    )


@pytest.mark.parametrize("seed", range(60))
def test_random(seed):
    check(_emulation, random_case(seed), seed=seed, preempt=seed % 4 == 0)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="no tile is named 'fast'; there are mma_256x128x32_s4"):
        check(_emulation, Case(config="fast"))
    with pytest.raises(ValueError, match="computes in float16 and bfloat16 only"):
        check(_emulation, Case(dtype="float32", config=MMA[0]))
    with pytest.raises(ValueError, match="computes in float32 only"):
        check(_emulation, Case(allow_tf32=True, config=TF32[0]))
    with pytest.raises(ValueError, match=r"not allowed: torch\.backends\.cudnn\.conv\.fp32_precision"):
        check(_emulation, Case(dtype="float32", config=TF32[0]))
    with pytest.raises(ValueError, match="needs a multiple of 4 channels a group, got 6"):
        check(_emulation, Case(dtype="float32", channels=6, allow_tf32=True, config=TF32[0]))
    with pytest.raises(ValueError, match="needs a multiple of 8 channels a group, got 5"):
        check(_emulation, Case(channels=5, config=MMA[0]))
    with pytest.raises(ValueError, match="does not compute in float64"):
        check(_emulation, Case(dtype="float64", config=SIMT["float32"]))


def test_run_reports_the_config() -> None:
    done: Run = check(_emulation, Case())
    assert done.config in _emulation.gemm_configs()
