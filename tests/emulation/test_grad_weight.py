"""The grad_weight kernels' own code, run on the emulated machine, against a float64 loop over the specification."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from forward_case import Case, decode, encode, line
from grad_weight_case import answer, check, check_scaled_input, expected_mma, make_data, run

from maskconv_ext import _emulation

MMA = ("mma_128x128x32_s3", "mma_64x128x32_s4", "mma_64x64x32_s4")
TF32 = ("tf32_128x128x16_s3", "tf32_64x128x16_s4", "tf32_64x64x16_s4")
SIMT = {
    "float64": ("simt_64x32x8_s2", "simt_16x32x8_s2"),
    "float32": ("simt_64x64x8_s2", "simt_16x64x8_s2"),
    "float16": ("simt_64x64x8_s2", "simt_16x64x8_s2"),
}
CONFLICTS = [f"{what}_bank_conflicts" for what in ("ldmatrix", "cp_async", "shared_load", "shared_store")]

BASE = Case(valid_fraction=0.8)
ODD = replace(BASE, channels=5, filters=5)
TF32_KERNELS = [replace(BASE, dtype="float32", allow_tf32=True, config=config) for config in TF32]
ALL_KERNELS = [
    *(replace(BASE, dtype=dtype, config=config) for dtype in ("bfloat16", "float16") for config in MMA),
    *TF32_KERNELS,
    *(replace(ODD, dtype=dtype, config=config) for dtype, configs in SIMT.items() for config in configs),
    replace(ODD, dtype="bfloat16", config=SIMT["float32"][0]),
]
EACH_KERNEL = pytest.mark.parametrize("base", ALL_KERNELS, ids=lambda case: f"{case.dtype}-{case.config}")
TENSOR_CORES = pytest.mark.parametrize(
    "base", [*(replace(BASE, config=config) for config in MMA), *TF32_KERNELS], ids=lambda case: case.config
)
# One case of each kernel body, where what is tested is common to all tiles.
BODIES = pytest.mark.parametrize("base", [BASE, replace(ODD, dtype="float32")], ids=["mma", "simt"])


def pointwise(case: Case, length: int) -> Case:
    """The case as a 1x1 convolution of a line: a column is a channel."""
    return replace(case, size=(1, 1, length), kernel=(1, 1, 1), padding=((0, 0),) * 3)


@EACH_KERNEL
@pytest.mark.parametrize("tiles, beyond", [(0, 1), (0, 8), (1, -8), (1, -1), (1, 0), (1, 1), (1, 8)])
def test_filter_tails(base, tiles, beyond):
    filters = tiles * base.tile[0] + beyond
    unit = base.channel_unit
    if filters % unit != 0:
        with pytest.raises(ValueError, match=f"needs a multiple of {unit} filters a group, got {filters}"):
            check(_emulation, replace(line(base, 20), filters=filters))
        return
    check(_emulation, replace(line(base, 20), filters=filters))


@EACH_KERNEL
@pytest.mark.parametrize("tiles, beyond", [(0, 1), (0, 8), (1, -8), (1, -1), (1, 0), (1, 1), (1, 8)])
def test_column_tails(base, tiles, beyond):
    channels = tiles * base.tile[1] + beyond
    unit = base.channel_unit
    if channels % unit != 0:
        with pytest.raises(ValueError, match=f"needs a multiple of {unit} channels a group, got {channels}"):
            check(_emulation, replace(line(base, 20), channels=channels))
        return
    check(_emulation, replace(pointwise(base, 20), channels=channels))


@EACH_KERNEL
@pytest.mark.parametrize("odd, aligned", [(1, 8), (2, 16), (3, 24), (7, 40), (67, 72)])
def test_taps_that_share_tiles_or_cross_them(base, odd, aligned):
    check(_emulation, replace(base, size=(1, 5, 6), channels=aligned if base.on_tensor_cores else odd))


@EACH_KERNEL
@pytest.mark.parametrize("rows", [1, 31, 32, 33, 95, 96, 97, 129])
@pytest.mark.parametrize("dense", [False, True])
def test_row_tails(base, rows, dense):
    case = replace(pointwise(base, rows), mask_batch=0 if dense else None)
    check(_emulation, case, has_valid=not dense)


@EACH_KERNEL
@pytest.mark.parametrize("splits", [2, 3, 8, 9, 17, 64])
def test_splits(base, splits):
    """More than the reduction has lanes, and more than there are rows."""
    case = replace(line(base, 45), filters=8)
    done = check(_emulation, case, splits=splits)
    assert done.splits == splits
    assert done.reduction["barriers"] > 0


@EACH_KERNEL
@pytest.mark.parametrize("beyond", [-1, 0, 1, 40])
@pytest.mark.parametrize("valid_fraction", [0.3, 1.0])
def test_lists_of_several_parts(base, beyond, valid_fraction):
    """Rows enough that the list of live rows is filled, used and filled again, with a rest to carry over."""
    scan = _emulation.grad_weight_rows_per_scan(base.config)
    case = replace(pointwise(base, 4 * scan + 3 * scan * (valid_fraction < 1) + beyond), valid_fraction=valid_fraction)
    check(_emulation, replace(case, filters=8, channels=8), valid_outputs=1.0, splits=1)


GEOMETRIES = {
    "1d": {"size": (1, 1, 30), "kernel": (1, 1, 5), "padding": ((0, 0), (0, 0), (2, 2))},
    "3d": {"size": (5, 6, 7), "kernel": (3, 3, 3), "padding": ((1, 1), (1, 1), (1, 1))},
    "asymmetric": {"size": (5, 6, 7), "kernel": (2, 3, 4), "padding": ((1, 0), (0, 2), (3, 1))},
    "strides": {"size": (1, 13, 12), "stride": (1, 2, 3)},
    "3d_strides": {
        "size": (7, 9, 11), "kernel": (3, 3, 3), "stride": (2, 1, 2), "padding": ((1, 1), (0, 1), (1, 0)),
    },
    "dilation": {"size": (1, 13, 14), "dilation": (1, 2, 3), "padding": ((0, 0), (2, 2), (3, 3))},
    "both": {"size": (1, 9, 8), "dilation": (1, 2, 2), "stride": (1, 2, 2), "padding": ((0, 0), (3, 0), (0, 4))},
    "windows_outside": {"size": (1, 2, 2), "padding": ((0, 0), (4, 4), (4, 4))},
    "1x1": {"size": (1, 9, 8), "kernel": (1, 1, 1), "padding": ((0, 0), (0, 0), (0, 0))},
    "1x1_strides": {"size": (1, 9, 8), "kernel": (1, 1, 1), "stride": (1, 2, 2), "padding": ((0, 0), (1, 0), (0, 1))},
    "11x11": {"size": (1, 12, 12), "kernel": (1, 11, 11), "padding": ((0, 0), (5, 5), (5, 5)), "valid_fraction": 0.1},
    "7x7x7": {"size": (7, 7, 8), "kernel": (7, 7, 7), "padding": ((3, 3), (3, 3), (3, 3)), "valid_fraction": 0.02},
    "87": {"size": (1, 1, 90), "kernel": (1, 1, 87), "padding": ((0, 0), (0, 0), (43, 43))},
}  # fmt: skip


@BODIES
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_geometry(base, geometry):
    batch = 1 if geometry == "7x7x7" else 2
    check(_emulation, replace(base, batch=batch, channels=8 if base is BASE else 3, **GEOMETRIES[geometry]))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_few_channels_and_many_taps(dtype, channels):
    """One channel: as many taps in a tile as it has columns."""
    case = Case(dtype=dtype, channels=channels, filters=16, size=(1, 14, 15), valid_fraction=0.3)
    check(_emulation, replace(case, kernel=(1, 11, 11), padding=((0, 0), (5, 5), (5, 5))))


@pytest.mark.parametrize(
    "base",
    [
        Case(groups=2, channels=16, filters=16),
        Case(groups=3, channels=24, filters=24),
        Case(groups=3, channels=24, filters=15),
        Case(dtype="float32", allow_tf32=True, groups=3, channels=12, filters=36),
        Case(groups=2, channels=80, filters=144),
        Case(dtype="float32", groups=2, channels=6, filters=10),
        Case(dtype="float32", groups=5, channels=5, filters=5),  # depthwise
        Case(dtype="bfloat16", groups=4, channels=12, filters=8),
        Case(dtype="float64", groups=2, channels=2, filters=68),
    ],
    ids=lambda case: f"{case.dtype}-{case.groups}-{case.channels}-{case.filters}",
)
@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("has_windows", [False, True])
def test_groups(base, splits, has_windows):
    check(_emulation, base, splits=splits, windows=base.groups if has_windows else 1)


@EACH_KERNEL
def test_without_a_scale(base):
    check(_emulation, replace(base, normalization="none", batch=2), splits=2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("config", MMA)
def test_a_scaled_input_is_rounded_once(config, dtype):
    check_scaled_input(_emulation, replace(pointwise(BASE, 1), dtype=dtype, config=config, channels=64, filters=64))


def test_a_scale_beyond_fp16():
    """It overflows with what it multiplies, and makes no NaN of zeros."""
    case = replace(pointwise(BASE, 40), dtype="float16", config=MMA[-1], valid_fraction=1.0)
    data = make_data(case, valid_outputs=1.0)
    data.scale[...] = 1e6
    data.x[...] = 0
    assert not run(_emulation, case, data, splits=1).grad_weight.any()
    data.x[...] = 2
    data.grad[...] = 1
    assert np.isposinf(run(_emulation, case, data, splits=1).grad_weight).all()


@EACH_KERNEL
@pytest.mark.parametrize("mask_batch", [0, 1, 3])
@pytest.mark.parametrize("has_valid", [False, True])
def test_mask_batch(base, mask_batch, has_valid):
    case = replace(base, batch=3, size=(1, 5, 6), mask_batch=mask_batch)
    check(_emulation, case, has_valid=has_valid, splits=2)


@EACH_KERNEL
@pytest.mark.parametrize("what", ["no_input", "no_grad"])
@pytest.mark.parametrize("splits", [1, 3])
def test_nothing_valid(base, what, splits):
    """Exact zeros, of which nothing was read but the masks."""
    fractions = {"valid_fraction": 0.0} if what == "no_input" else {}
    case = replace(base, size=(1, 6, 7), **fractions)
    done = check(_emulation, case, valid_outputs=0.7 if what == "no_input" else 0.0, splits=splits)
    assert not decode(done.grad_weight, case.dtype).any()
    assert done.counters["mma"] == done.counters["ldmatrix"] == done.counters["cp_async_requests"] == 0
    tiles = -(-case.taps * case.channels // case.tile[1])
    rows = 6 * 7
    assert done.counters["global_load_bytes"] <= rows * (tiles + case.taps + tiles)  # a tap may lie in two tiles


@EACH_KERNEL
def test_empty_batch(base):
    done = check(_emulation, replace(base, batch=0, mask_batch=1))
    assert not decode(done.grad_weight, base.dtype).any()


@EACH_KERNEL
@pytest.mark.parametrize("offset", [1, 3])
def test_unaligned(base, offset):
    case = replace(base, offset=offset, config="" if base.on_tensor_cores else base.config, size=(1, 5, 6))
    assert check(_emulation, case).config.startswith("simt")
    if base.on_tensor_cores:
        with pytest.raises(ValueError, match="needs grad, input and result to start on a 16-byte boundary"):
            check(_emulation, replace(base, offset=offset))


@EACH_KERNEL
@pytest.mark.parametrize("splits", [1, 5])
def test_same_bits_whatever_the_order_of_threads(base, splits):
    """And whatever lies in holes and under invalid gradients."""
    data = make_data(base)
    clean = replace(data, x=data.x.copy(), grad=data.grad.copy())
    zero = encode(np.zeros(1), base.dtype)[0]
    clean.x[np.broadcast_to(data.mask == 0, data.x.shape[:-1])] = zero
    clean.grad[np.broadcast_to(data.valid[..., 0] == 0, data.grad.shape[:-1])] = zero
    first = run(_emulation, base, data, splits=splits)
    for seed, preempt in ((1, False), (2, True)):
        again = run(_emulation, base, clean, splits=splits, seed=seed, preempt=preempt)
        assert again.grad_weight.tobytes() == first.grad_weight.tobytes()
        assert again.counters == first.counters
        assert again.reduction == first.reduction


@TENSOR_CORES
@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize(
    "case",
    [
        Case(channels=40, filters=72, size=(1, 12, 17), valid_fraction=0.02),
        Case(channels=8, filters=64, size=(1, 16, 16), valid_fraction=0.5),
        Case(channels=64, filters=64, size=(1, 16, 16), valid_fraction=0.3),
        Case(channels=64, groups=2, filters=64, size=(1, 7, 30), valid_fraction=0.01),
    ],
    ids=lambda case: f"{case.channels}-{case.valid_fraction}",
)
def test_products_are_those_of_live_rows(base, splits, case):
    case = replace(case, dtype=base.dtype, allow_tf32=base.allow_tf32, config=base.config)
    done = check(_emulation, case, splits=splits)
    live = answer(case, make_data(case)).live
    assert done.counters["mma"] == expected_mma(case, live, *case.tile[:2], splits, case.tile[2]) > 0
    assert done.counters["uninitialized_shared_bytes_read"] == 0


@pytest.mark.parametrize("config", MMA)
def test_holes_cost_nothing_wherever_they_lie(config):
    """Of a scattered tenth, no more products than of a tenth in one piece."""
    case = replace(pointwise(BASE, 640), config=config)
    scattered = np.zeros((1, 1, 1, 640), np.uint8)
    scattered[..., ::10] = 1
    together = np.zeros_like(scattered)
    together[..., :64] = 1
    full = check(_emulation, case, mask=np.ones_like(scattered), has_valid=False, splits=1).counters["mma"]
    for mask in (scattered, together):
        assert check(_emulation, case, mask=mask, has_valid=False, splits=1).counters["mma"] * 10 == full


def test_patches_cost_what_they_leave():
    """Of 60 % hidden patches, at most a twentieth more products than the live (tap, row) pairs need."""
    case = replace(BASE, batch=2, size=(1, 32, 32), channels=64, filters=64, config="mma_64x64x32_s4")
    shown = np.random.default_rng(0).random((2, 1, 4, 4)).argsort(axis=None).reshape(2, 1, 4, 4) < 13
    mask = np.kron(shown, np.ones((1, 1, 8, 8))).astype(np.uint8)
    done = check(_emulation, case, mask=mask, has_valid=False, splits=1)
    live = answer(case, make_data(case, mask, has_valid=False)).live
    least = live.sum() * case.channels * case.filters / (16 * 8 * 16)
    assert least <= done.counters["mma"] <= 1.05 * least
    assert least <= 0.42 * live.size * case.channels * case.filters / (16 * 8 * 16)


@EACH_KERNEL
@pytest.mark.parametrize("scaled", [False, True])
def test_no_bank_conflicts(base, scaled):
    """Of whole tiles without a hole: lanes that idle could hide a conflict."""
    block_m, block_n, _ = base.tile
    case = replace(pointwise(base, 160), filters=block_m, channels=block_n, mask_batch=0)
    for splits in (1, 2):
        done = check(_emulation, case, has_valid=scaled, valid_outputs=1.0, splits=splits)
        for counters in (done.counters, done.reduction):
            assert {name: counters[name] for name in CONFLICTS} == dict.fromkeys(CONFLICTS, 0)
            assert counters["uninitialized_shared_bytes_read"] == 0


@EACH_KERNEL
def test_only_live_values_are_read(base):
    """Bytes the kernel asks for: of x those of live taps, of grad and its scale those of rows with a live tap; and the
    masks."""
    case = replace(pointwise(base, 200), filters=8, channels=8, valid_fraction=0.3)
    done = check(_emulation, case, splits=1)
    live = int(answer(case, make_data(case)).live.sum())
    data = make_data(case)
    element = {"float64": 8, "float32": 4}.get(case.dtype, 2)
    loaded = done.counters["global_load_bytes"] + done.counters["cp_async_bytes"]
    masks = 200 + int((data.valid != 0).sum())
    assert loaded == masks + live * ((8 + 8) * element + max(element, 4))


def test_more_than_2_31_elements(tmp_path):
    """Offsets beyond 2^31 elements, in a sparse file of which three pages exist."""
    step = 2**28
    size, channels = 2 * step + 1, 8
    x = np.memmap(tmp_path / "sparse", np.uint16, "w+", shape=(1, 1, 1, size, channels))
    small = encode(np.random.default_rng(0).standard_normal((1, 1, 1, 3, channels)), "bfloat16")
    x[:, :, :, ::step] = small
    rows = Case(channels=channels, size=(1, 1, 3), kernel=(1, 1, 1), padding=((0, 0),) * 3, mask_batch=0)
    taps = replace(rows, kernel=(1, 1, 3))  # of one window, as far apart as that
    wide_rows = replace(rows, size=(1, 1, size), stride=(1, 1, step))
    wide_taps = replace(taps, size=(1, 1, size), dilation=(1, 1, step))
    for dense, wide in ((rows, wide_rows), (taps, wide_taps)):
        data = replace(make_data(dense, has_valid=False), x=small)
        expected = run(_emulation, dense, data)
        got = np.zeros_like(expected.grad_weight)
        arrays = {"grad": data.grad, "valid": None, "input": x, "mask": None, "grad_weight": got}
        _emulation.grad_weight(wide.problem(), "bfloat16", arrays)
        assert got.tobytes() == expected.grad_weight.tobytes()


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    pick = rng.choice
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
        dtype=str(pick(["bfloat16", "float16", "float32", "float64"])),
        batch=batch,
        size=size,  # type: ignore[arg-type]
        channels=groups * int(pick([1, 3, 8, 16, 40])),
        filters=groups * int(pick([1, 4, 8, 72])),
        groups=groups,
        kernel=kernel,  # type: ignore[arg-type]
        stride=tuple(int(s) for s in pick([1, 2, 3], 3)),  # type: ignore[arg-type]
        padding=padding,
        dilation=dilation,  # type: ignore[arg-type]
        mask_batch=int(pick([0, 1, batch])),
        valid_fraction=float(pick([0.05, 0.5, 0.95])),
        offset=int(pick([0, 0, 1])),
        allow_tf32=seed % 2 == 0,
        seed=seed,
    )


@pytest.mark.parametrize("seed", range(40))
def test_random(seed):
    splits = (0, 1, 2, 7)[seed % 4]
    check(_emulation, random_case(seed), has_valid=seed % 3 > 0, splits=splits, seed=seed, preempt=seed % 5 == 0)


R50_56 = Case(batch=256, size=(1, 56, 56), channels=64, filters=64)


def plan(case: Case, **options: object) -> tuple[str, int, int]:
    return _emulation.plan_grad_weight(case.problem(), case.dtype, **options)


def test_the_tile_that_is_expected_to_be_fastest() -> None:
    assert plan(replace(R50_56, channels=128, filters=128))[0] == "mma_128x128x32_s3"
    assert plan(replace(R50_56, channels=128))[0] == "mma_64x128x32_s4"
    assert plan(R50_56)[0] == "mma_64x64x32_s4"  # of 576 columns 64 would idle beside tiles of 128
    # A tile of two taps saves traffic, but under a mask each tap has rows of its own.
    assert plan(replace(R50_56, filters=128))[0] == "mma_64x64x32_s4"
    assert plan(replace(R50_56, filters=128, mask_batch=0))[0] == "mma_128x128x32_s3"
    # Large tiles would fill the device once and a tenth, and partial sums take more than the images.
    assert plan(replace(R50_56, channels=512, filters=512, size=(1, 7, 7))) == ("mma_64x64x32_s4", 1, 0)
    assert plan(replace(R50_56, kernel=(1, 1, 1), padding=((0, 0),) * 3))[0] == "mma_64x64x32_s4"
    assert plan(replace(R50_56, dtype="float32"))[0] == "simt_64x64x8_s2"
    assert plan(replace(R50_56, dtype="float32", allow_tf32=True))[0] == "tf32_64x64x16_s4"
    assert plan(replace(R50_56, dtype="float32", allow_tf32=True, channels=128))[0] == "tf32_64x128x16_s4"
    assert plan(replace(R50_56, dtype="float32", allow_tf32=True, filters=6))[0] == "simt_16x64x8_s2"
    assert plan(replace(R50_56, channels=3))[0] == "simt_64x64x8_s2"
    assert plan(replace(R50_56, filters=3))[0] == "simt_16x64x8_s2"
    assert plan(replace(R50_56, dtype="float64"))[0] == "simt_64x32x8_s2"
    assert plan(replace(R50_56, groups=64))[0] == "simt_16x64x8_s2"
    assert plan(R50_56, aligned=False)[0] == "simt_64x64x8_s2"
    assert plan(R50_56, device=_emulation.DeviceProperties(compute_capability=75))[0] == "simt_64x64x8_s2"


def test_splits_fill_the_device_within_the_workspace() -> None:
    blocks = 9  # of 64 x 64
    weight = 64 * 64 * 9 * 4
    _, splits, workspace = plan(R50_56)
    assert splits * blocks >= 0.9 * 132
    assert workspace == splits * weight <= 64 * 2**20  # and less than the images
    small = replace(R50_56, batch=8)
    assert 1 < plan(small)[1] <= 8 * 56 * 56 * 64 * 2 // weight
    few = _emulation.DeviceProperties(multiprocessors=8)
    assert plan(R50_56, device=few)[1] < splits
    # So many tiles that they fill the device by themselves, or a result too large to be kept several times.
    assert plan(replace(R50_56, channels=2048, filters=2048, size=(1, 7, 7)))[1:] == (1, 0)
    # Few rows are not worth the second kernel.
    assert plan(replace(R50_56, batch=1, size=(1, 10, 10)))[1:] == (1, 0)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="no tile is named 'fast'; there are mma_128x128x32_s3"):
        check(_emulation, Case(config="fast"))
    with pytest.raises(ValueError, match="computes in float16 and bfloat16 only"):
        check(_emulation, Case(dtype="float32", config=MMA[0]))
    with pytest.raises(ValueError, match=r"not allowed: torch\.backends\.cudnn\.conv\.fp32_precision"):
        check(_emulation, Case(dtype="float32", config=TF32[0]))
    with pytest.raises(ValueError, match="does not compute in float64"):
        check(_emulation, Case(dtype="float64", config=SIMT["float32"][0]))
    with pytest.raises(ValueError, match="computes in float64 only"):
        check(_emulation, Case(dtype="float32", config=SIMT["float64"][0]))
