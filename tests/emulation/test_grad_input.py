"""The grad_input kernels' own code, run on the emulated machine, against a float64 loop over the specification."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from forward_case import Case, decode, encode, line
from grad_input_case import GEOMETRIES, Data, answer, check, check_holes_stay_empty, expected_mma, make_data, run

from maskconv_ext import _emulation

MMA = ("mma_256x128x32_s4", "mma_256x64x32_s4", "mma_128x128x32_s4", "mma_128x64x32_s4", "mma_64x64x32_s4")
TF32 = tuple(config.replace("mma", "tf32").replace("x32", "x16") for config in MMA)
SIMT = {"float64": "simt_64x32x8_s2", "float32": "simt_64x64x8_s2", "float16": "simt_64x64x8_s2"}
CONFLICTS = [f"{what}_bank_conflicts" for what in ("ldmatrix", "cp_async", "shared_load", "shared_store")]

# The mask lets most rows take part: what is tested is the gather from grad, whose holes are its own.
BASE = Case(valid_fraction=0.8)
TF32_KERNELS = [replace(BASE, dtype="float32", allow_tf32=True, config=config) for config in TF32]
ALL_KERNELS = [
    *(replace(BASE, dtype=dtype, config=config) for dtype in ("bfloat16", "float16") for config in MMA),
    *TF32_KERNELS,
    *(replace(BASE, dtype=dtype, filters=5, channels=5, config=config) for dtype, config in SIMT.items()),
    replace(BASE, dtype="bfloat16", filters=5, channels=5, config=SIMT["float32"]),
]
EACH_KERNEL = pytest.mark.parametrize("base", ALL_KERNELS, ids=lambda case: f"{case.dtype}-{case.config}")
TENSOR_CORES = pytest.mark.parametrize(
    "base", [*(replace(BASE, config=config) for config in MMA), *TF32_KERNELS], ids=lambda case: case.config
)
# One case of each kernel body, where what is tested is common to all tiles.
BODIES = pytest.mark.parametrize("base", [BASE, replace(BASE, dtype="float32", filters=3)], ids=["mma", "simt"])


@EACH_KERNEL
@pytest.mark.parametrize("tiles, beyond", [(0, 1), (1, -1), (1, 0), (1, 1)])
def test_row_tails(base, tiles, beyond):
    check(_emulation, line(base, tiles * base.tile[0] + beyond))


@EACH_KERNEL
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_row_tails_of_classes(base, beyond):
    """Two classes whose sizes differ by one: of one the last tile may be empty."""
    check(_emulation, replace(line(base, 2 * base.tile[0] + beyond), stride=(1, 1, 2)))


@EACH_KERNEL
@pytest.mark.parametrize("tiles, beyond", [(0, 1), (0, 8), (1, -8), (1, -1), (1, 0), (1, 1), (1, 8)])
def test_channel_tails(base, tiles, beyond):
    channels = tiles * base.tile[1] + beyond
    unit = base.channel_unit
    if channels % unit != 0:
        with pytest.raises(ValueError, match=f"needs a multiple of {unit} channels a group, got {channels}"):
            check(_emulation, replace(line(base, 20), channels=channels))
        base = replace(base, config="")
    check(_emulation, replace(line(base, 20), channels=channels))


@TENSOR_CORES
@pytest.mark.parametrize("units", [1, 3, 4, 5, 8, 9])
def test_filter_tails_of_mma(base, units):
    check(_emulation, replace(line(base, 20), filters=units * base.channel_unit))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("filters", [1, 2, 3, 7, 8, 9, 67])
def test_filter_tails_of_simt(dtype, filters):
    config = SIMT.get(dtype, SIMT["float32"])
    check(_emulation, replace(line(replace(BASE, dtype=dtype, config=config), 20), filters=filters))


@BODIES
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("has_valid", [False, True])
def test_geometry(base, geometry, has_valid):
    check(_emulation, replace(base, batch=2, channels=8, filters=8, **geometry), has_valid=has_valid)


def test_every_stride_dilation_and_padding():
    """Of one axis: what may go wrong there does not depend on the others."""
    for stride in (1, 2, 3, 4):
        for dilation in (1, 2, 3, 4, 6):
            for before in (0, 1, 2, 5):
                case = replace(
                    BASE, channels=8, filters=8, size=(1, 1, 19), stride=(1, 1, stride), dilation=(1, 1, dilation),
                    kernel=(1, 1, 3), padding=((0, 0), (0, 0), (before, 3)), seed=stride,
                )  # fmt: skip
                check(_emulation, case)


@BODIES
def test_taps_that_hit_nothing(base):
    """A kernel smaller than its stride leaves positions no output has seen; they must still be written."""
    case = replace(base, size=(1, 9, 10), kernel=(1, 1, 1), stride=(1, 3, 2), padding=((0, 0),) * 3, mask_batch=0)
    done = check(_emulation, case, has_valid=False)
    seen = np.zeros((9, 10), bool)
    seen[::3, ::2] = True
    nothing = decode(done.grad_input, case.dtype)[0, 0]
    assert not nothing[~seen].any()
    assert nothing[seen].all()


def test_most_taps():
    case = line(replace(BASE, channels=8, filters=8), 70, kernel=1024)
    check(_emulation, case, valid_outputs=0.02)
    with pytest.raises(ValueError, match="the kernel has 1025 taps; the CUDA kernel takes at most 1024"):
        check(_emulation, line(case, 70, kernel=1025))


@pytest.mark.parametrize(
    "base",
    [
        replace(BASE, groups=2, channels=16, filters=16),
        replace(BASE, groups=3, channels=15, filters=24),  # groups that start off a 16-byte boundary
        replace(BASE, groups=2, channels=144, filters=80),
        replace(BASE, groups=2, channels=144, filters=80, stride=(1, 2, 1)),
        replace(BASE, dtype="float32", allow_tf32=True, groups=3, channels=12, filters=36),
        replace(BASE, dtype="float32", allow_tf32=True, groups=2, channels=144, filters=40),
        replace(BASE, dtype="float32", groups=2, channels=6, filters=10),
        replace(BASE, dtype="float32", groups=5, channels=5, filters=5),  # depthwise
        replace(BASE, groups=4, channels=8, filters=12),
        replace(BASE, dtype="float64", groups=2, channels=68, filters=2),
    ],
    ids=lambda case: f"{case.dtype}-{case.groups}-{case.channels}-{case.filters}-{case.stride[1]}",
)
def test_groups(base):
    check(_emulation, base)


@EACH_KERNEL
@pytest.mark.parametrize("mask_batch", [0, 1, 3])
@pytest.mark.parametrize("has_valid", [False, True])
def test_mask_batch(base, mask_batch, has_valid):
    case = replace(base, batch=3, size=(1, 6, 7), mask_batch=mask_batch, stride=(1, 1, 2))
    check(_emulation, case, has_valid=has_valid)


@EACH_KERNEL
@pytest.mark.parametrize("offset", [1, 3])
def test_unaligned(base, offset):
    config = "" if base.on_tensor_cores else base.config
    done = check(_emulation, replace(base, offset=offset, config=config, size=(1, 5, 6)))
    assert done.config.startswith("simt")
    if base.on_tensor_cores:
        with pytest.raises(ValueError, match="needs grad and weight to start on a 16-byte boundary"):
            check(_emulation, replace(base, offset=offset))


@EACH_KERNEL
def test_nothing_valid(base):
    """Of no output is the gradient read, nor are weights."""
    done = check(_emulation, base, valid_outputs=0.0)
    assert done.counters["mma"] == done.counters["ldmatrix"] == done.counters["cp_async_requests"] == 0
    positions = np.prod(base.size)
    assert done.counters["global_load_bytes"] <= positions * (1 + base.taps)  # bytes of both masks


@EACH_KERNEL
def test_only_holes(base):
    """Zeros are stored, and only the mask is read."""
    done = check(_emulation, replace(base, valid_fraction=0.0))
    assert done.counters["mma"] == done.counters["ldmatrix"] == done.counters["cp_async_requests"] == 0
    column_tiles = -(-base.channels // base.tile[1])
    assert done.counters["global_load_bytes"] == np.prod(base.size) * column_tiles


@EACH_KERNEL
def test_infinite_weights_leave_holes_at_zero(base):
    check_holes_stay_empty(_emulation, base)


@EACH_KERNEL
def test_empty_batch(base):
    case = replace(base, batch=0, mask_batch=1)
    done = run(_emulation, case, make_data(case, has_valid=False))
    assert not any(done.counters.values())
    assert done.grad_input.size == 0


def without_traps(case: Case, data: Data) -> Data:
    grad = data.grad.copy()
    grad[np.broadcast_to(data.valid == 0, grad.shape[:-1])] = encode(np.zeros(1), case.dtype)[0]
    return replace(data, grad=grad)


@EACH_KERNEL
def test_invalid_outputs_change_nothing(base):
    """Bit for bit: NaN and infinities where grad is not valid leave no trace, whatever order threads run in."""
    case = replace(base, stride=(1, 2, 1))
    data = make_data(case)
    zeros = without_traps(case, data)
    first = run(_emulation, case, data)
    for seed, preempt in ((1, False), (2, True)):
        again = run(_emulation, case, zeros, seed=seed, preempt=preempt)
        assert again.grad_input.tobytes() == first.grad_input.tobytes()
        assert again.counters == first.counters


@TENSOR_CORES
@pytest.mark.parametrize(
    "case",
    [
        Case(channels=72, filters=40, size=(1, 12, 17), valid_fraction=0.1),
        Case(channels=64, filters=8, size=(1, 16, 16), valid_fraction=0.9),
        Case(channels=64, groups=2, filters=64, size=(1, 7, 30), valid_fraction=0.05),
        Case(channels=8, filters=40, size=(1, 21, 30), stride=(1, 2, 2), valid_fraction=0.9),
        Case(channels=8, filters=8, size=(1, 40, 24), stride=(1, 3, 2), kernel=(1, 2, 5), valid_fraction=0.9),
        Case(channels=8, filters=8, size=(1, 40, 24), stride=(1, 2, 2), dilation=(1, 2, 3), padding=((0, 0),) * 3),
    ],
    ids=lambda case: f"{case.channels}-{case.filters}-stride{case.stride[1]}-dilation{case.dilation[1]}",
)
def test_products_are_those_of_live_taps(base, case):
    case = replace(case, dtype=base.dtype, allow_tf32=base.allow_tf32, config=base.config)
    done = check(_emulation, case)
    live = answer(case, make_data(case)).live
    assert done.counters["mma"] == expected_mma(case, live, *case.tile) > 0


def test_a_stride_costs_its_share_of_taps():
    """Of 16 taps at stride 2 a class has four, and a tile of 64 rows needs no other."""
    case = Case(
        channels=8, filters=8, size=(1, 32, 32), kernel=(1, 4, 4), stride=(1, 2, 2), mask_batch=0,
        config="mma_64x64x32_s4",
    )  # fmt: skip
    tiles, taps, products = 32 * 32 // 64, 4, (64 // 16) * (64 // 8) * (32 // 16)
    assert check(_emulation, case, has_valid=False).counters["mma"] == tiles * taps * products


@pytest.mark.parametrize("config", MMA)
def test_half_a_plane_of_holes_costs_half(config):
    case = replace(Case(), config=config, size=(1, 32, 16))
    half = np.ones((1, *case.size), np.uint8)
    half[:, :, 16:] = 0
    full = check(_emulation, case, mask=np.ones_like(half), has_valid=False).counters["mma"]
    assert check(_emulation, case, mask=half, has_valid=False).counters["mma"] <= 0.55 * full


@EACH_KERNEL
@pytest.mark.parametrize("stride", [1, 2])
def test_no_bank_conflicts(base, stride):
    """Of whole tiles: with fewer rows or channels some lanes idle, which could hide a conflict."""
    block_m, block_n, _ = base.tile
    case = replace(line(base, block_m * stride), channels=block_n, filters=64, stride=(1, 1, stride))
    counters = check(_emulation, case).counters
    assert {name: counters[name] for name in CONFLICTS} == dict.fromkeys(CONFLICTS, 0)
    assert counters["uninitialized_shared_bytes_read"] == 0


@EACH_KERNEL
def test_what_is_not_valid_is_not_read(base):
    """Bytes the kernel asks for from grad: exactly those of live taps, once per tile of channels."""
    case = replace(base, filters=8, channels=8, size=(1, 6, 10), mask_batch=1, valid_fraction=1.0)
    dense = check(_emulation, case, valid_outputs=1.0)
    sparse = check(_emulation, case, valid_outputs=0.4)
    dense_live = int(answer(case, make_data(case, valid_outputs=1.0)).live.sum())
    live = int(answer(case, make_data(case, valid_outputs=0.4)).live.sum())
    element = {"float64": 8, "float32": 4}.get(case.dtype, 2)
    loaded = sparse.counters["global_load_bytes"] + sparse.counters["cp_async_bytes"]
    loaded_dense = dense.counters["global_load_bytes"] + dense.counters["cp_async_bytes"]
    assert loaded_dense - loaded == (dense_live - live) * 8 * element > 0


def test_stores_are_wide_where_channels_allow():
    """float32: a thread stores its four channels as one request where they are aligned, else one by one."""
    case = Case(dtype="float32", filters=4, channels=64, size=(1, 8, 8), mask_batch=0)
    wide = check(_emulation, case, has_valid=False).counters["global_store_requests"]
    narrow = check(_emulation, replace(case, channels=63), has_valid=False).counters["global_store_requests"]
    assert narrow == 4 * wide


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    pick = rng.choice
    dtype = str(pick(["bfloat16", "float16", "float32", "float64"]))
    groups = int(pick([1, 1, 2, 3]))
    kernel = tuple(int(k) for k in pick([1, 2, 3, 4], 3))
    dilation = tuple(int(d) for d in pick([1, 2, 3], 3))
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
        channels=groups * int(pick([1, 8, 16, 70, 72])),
        filters=groups * int(pick([1, 3, 8, 16, 40])),
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


@pytest.mark.parametrize("seed", range(60))
def test_random(seed):
    case = random_case(seed)
    check(
        _emulation, case, has_valid=seed % 3 > 0, valid_outputs=(0.1, 0.6, 0.95)[seed % 7 % 3], seed=seed,
        preempt=seed % 4 == 0,
    )  # fmt: skip


def test_more_than_2_31_elements(tmp_path):
    """Offsets beyond 2^31 elements, in a sparse file of which three pages exist: one position, three outputs."""
    step = 2**28
    size, channels = 2 * step + 1, 8
    dense = Case(channels=channels, filters=8, size=(1, 1, 3), kernel=(1, 1, 1), padding=((0, 0),) * 3, mask_batch=0)
    data = make_data(dense, has_valid=False)
    expected = run(_emulation, dense, data)
    grad = np.memmap(tmp_path / "sparse", np.uint16, "w+", shape=(1, 1, 1, size, 8))
    grad[:, :, :, ::step] = data.grad
    far = replace(
        dense, size=(1, 1, 1), kernel=(1, 1, 3), dilation=(1, 1, step), padding=((0, 0), (0, 0), (2 * step,) * 2)
    )
    weight = np.zeros((8, 1, 1, 3, channels), np.uint16)
    weight[:] = data.weight
    arrays = {
        "grad": grad, "valid": None, "mask": None, "weight": weight,
        "grad_input": np.zeros((1, 1, 1, 1, channels), np.uint16),
    }  # fmt: skip
    _emulation.grad_input(far.problem(), "bfloat16", arrays)
    total = decode(expected.grad_input, "bfloat16").sum(axis=3)
    np.testing.assert_allclose(decode(arrays["grad_input"], "bfloat16")[:, :, :, 0], total, rtol=0.03, atol=0.05)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="no tile is named 'fast'; there are mma_256x128x32_s4"):
        check(_emulation, replace(BASE, config="fast"))
    with pytest.raises(ValueError, match="computes in float16 and bfloat16 only"):
        check(_emulation, replace(BASE, dtype="float32", config=MMA[0]))
    with pytest.raises(ValueError, match="needs a multiple of 4 filters a group, got 6"):
        check(_emulation, replace(BASE, dtype="float32", filters=6, allow_tf32=True, config=TF32[0]))
    with pytest.raises(ValueError, match="needs a multiple of 8 filters a group, got 5"):
        check(_emulation, replace(BASE, filters=5, config=MMA[0]))
    with pytest.raises(ValueError, match="does not compute in float64"):
        check(_emulation, replace(BASE, dtype="float64", config=SIMT["float32"]))
