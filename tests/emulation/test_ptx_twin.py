"""Each wrapper of device/ptx.cuh: what the emulation computes against NumPy and, where a GPU is at hand, against
the GPU. The probes are the kernels of csrc/kernels/ptx_probe.cuh, the same on both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from forward_case import NUMPY_TYPES, decode, encode, round_to_tf32

from maskconv_ext import _emulation

LANES = 32
MOVED_BYTES = (1, 2, 4, 8, 16)
COPIED_BYTES = (4, 8, 16)
FLOATS_16 = ("f16", "bf16")
TORCH_16 = {"f16": torch.float16, "bf16": torch.bfloat16}
SEEDS = range(5)


def run(name: str, words: np.ndarray, seed: int = 0) -> np.ndarray:
    """The probe's output; seeds above 0 also switch threads at memory accesses."""
    words = np.ascontiguousarray(words).view(np.uint32)
    return _emulation.ptx_probe(name, words, seed=seed, preempt=seed > 0)[0]


def random_words(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)


def narrow(values: np.ndarray, kind: str) -> np.ndarray:
    """The 16 bits of each value, as torch rounds it."""
    return torch.from_numpy(values).to(TORCH_16[kind]).view(torch.int16).numpy().view(np.uint16)


def widen(bits: np.ndarray, kind: str) -> np.ndarray:
    return torch.from_numpy(bits.view(np.int16)).view(TORCH_16[kind]).to(torch.float32).numpy()


def cp_async_words(count: int, seed: int) -> np.ndarray:
    """Input of cp_async_*: pieces of `count` words, then predicates of which about half are false."""
    predicates = np.random.default_rng(seed).integers(0, 2, LANES, dtype=np.uint32)
    return np.concatenate([random_words(LANES * count, seed), predicates])


def mma_tiles(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """a (16, 16) and b (16, 8) as 16-bit patterns, d (16, 8) as floats."""
    rng = np.random.default_rng(seed)
    a, b = (narrow(rng.standard_normal(shape).astype(np.float32), kind) for shape in ((16, 16), (16, 8)))
    return a, b, rng.standard_normal((16, 8)).astype(np.float32)


def mma_words(a: np.ndarray, b: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The fragments as the PTX manual lays them out: lane = 4 * group + pair."""
    words = np.zeros((LANES, 10), np.uint32)
    for lane in range(LANES):
        group, pair = divmod(lane, 4)
        two = slice(2 * pair, 2 * pair + 2)
        two_on = slice(2 * pair + 8, 2 * pair + 10)
        halves = [a[group, two], a[group + 8, two], a[group, two_on], a[group + 8, two_on]]
        halves += [b[two, group], b[two_on, group]]
        words[lane, :6] = np.concatenate(halves).view(np.uint32)
        words[lane, 6:] = np.concatenate([d[group, two], d[group + 8, two]]).view(np.uint32)
    return words.ravel()


def mma_tile(fragments: np.ndarray) -> np.ndarray:
    """The (16, 8) tile that the lanes' accumulators hold."""
    tile = np.zeros((16, 8), np.float32)
    for lane, registers in enumerate(fragments.view(np.float32).reshape(LANES, 4)):
        group, pair = divmod(lane, 4)
        tile[group, 2 * pair : 2 * pair + 2] = registers[:2]
        tile[group + 8, 2 * pair : 2 * pair + 2] = registers[2:]
    return tile


def tf32_tiles(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """a (16, 8), b (8, 8) and d (16, 8), with all bits a float has."""
    rng = np.random.default_rng(seed)
    a, b, d = (rng.standard_normal(shape).astype(np.float32) for shape in ((16, 8), (8, 8), (16, 8)))
    return a, b, d


def tf32_words(a: np.ndarray, b: np.ndarray, d: np.ndarray) -> np.ndarray:
    words = np.zeros((LANES, 10), np.float32)
    for lane in range(LANES):
        group, k = divmod(lane, 4)
        words[lane, :4] = a[group, k], a[group + 8, k], a[group, k + 4], a[group + 8, k + 4]
        words[lane, 4:6] = b[k, group], b[k + 4, group]
        words[lane, 6:8], words[lane, 8:] = d[group, 2 * k : 2 * k + 2], d[group + 8, 2 * k : 2 * k + 2]
    return words.ravel().view(np.uint32)


def cut_to_tf32(values: np.ndarray) -> np.ndarray:
    return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def tf32_floats() -> np.ndarray:
    """Around every value that TF32 rounds at, at some exponents, and the ends of the range; no NaN that says so in its
    lower bits only, of which the hardware makes an infinity."""
    tops = np.arange(1024, dtype=np.uint32) << 13
    lower = np.array([0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF], np.uint32)
    exponents = np.array([0, 1, 2, 100, 127, 128, 253, 254], np.uint32) << 23
    magnitudes = (exponents[:, None, None] + tops[:, None] + lower).ravel()
    magnitudes = np.concatenate([magnitudes, np.array([0x7F800000, 0x7FC00000, 0x7FFFFFFF], np.uint32)])
    return np.concatenate([magnitudes, magnitudes | np.uint32(1 << 31)]).view(np.float32)


def interesting_floats() -> np.ndarray:
    """Bit patterns around every value a 16-bit float rounds at, every exponent, both signs."""
    exponents = np.arange(256, dtype=np.uint32) << 23
    around_f16_tie = np.array([0, 0xFFF, 0x1000, 0x1001], np.uint32)
    around_bf16_tie = np.array([0, 0x7FFF, 0x8000, 0x8001], np.uint32)
    f16_edges = (np.arange(1024, dtype=np.uint32) << 13)[:, None] + around_f16_tie
    bf16_edges = (np.arange(128, dtype=np.uint32) << 16)[:, None] + around_bf16_tie
    few = (exponents[:, None] + np.concatenate([f16_edges[::37].ravel(), bf16_edges[::5].ravel()])).ravel()
    dense = ((np.array([112, 113, 127, 142], np.uint32) << 23)[:, None] + f16_edges.ravel()).ravel()
    magnitudes = np.concatenate([few, dense])
    return np.concatenate([magnitudes, magnitudes | np.uint32(1 << 31)]).view(np.float32)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", COPIED_BYTES)
def test_cp_async_copies_or_fills_with_zeros(size: int, seed: int) -> None:
    count = size // 4
    words = cp_async_words(count, seed)
    pieces, predicates = words[: LANES * count].reshape(LANES, count), words[LANES * count :]
    copied = np.where(predicates[:, None] != 0, pieces, 0)
    expected = copied[np.arange(LANES) ^ 1]  # the probe shows each lane its neighbour's
    np.testing.assert_array_equal(run(f"cp_async_{size}", words, seed).reshape(LANES, count), expected)


def test_cp_async_groups_land_in_order() -> None:
    words = random_words(3 * LANES)
    np.testing.assert_array_equal(run("cp_async_groups", words), words)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("matrices", [2, 4])
def test_ldmatrix_deals_rows_out_as_documented(matrices: int, seed: int) -> None:
    elements = random_words(matrices * 32, seed).view(np.uint16).reshape(matrices, 8, 8)
    got = run(f"ldmatrix_x{matrices}", elements, seed).view(np.uint16).reshape(LANES, matrices, 2)
    for lane in range(LANES):
        for matrix in range(matrices):
            first = lane % 4 * 2
            np.testing.assert_array_equal(got[lane, matrix], elements[matrix, lane // 4, first : first + 2])


@pytest.mark.parametrize("seed", SEEDS)
def test_ldmatrix_trans_deals_columns_out(seed: int) -> None:
    elements = random_words(4 * 32, seed).view(np.uint16).reshape(4, 8, 8)
    got = run("ldmatrix_x4_trans", elements, seed).view(np.uint16).reshape(LANES, 4, 2)
    for lane in range(LANES):
        for matrix in range(4):
            first = lane % 4 * 2
            np.testing.assert_array_equal(got[lane, matrix], elements[matrix, first : first + 2, lane // 4])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", FLOATS_16)
def test_mma_is_the_rounded_exact_product(kind: str, seed: int) -> None:
    a, b, d = mma_tiles(kind, seed)
    exact = d.astype(np.float64) + widen(a, kind).astype(np.float64) @ widen(b, kind).astype(np.float64)
    got = mma_tile(run(f"mma_{kind}", mma_words(a, b, d), seed))
    np.testing.assert_allclose(got, exact, rtol=2.0**-24, atol=1e-15)


@pytest.mark.parametrize("kind", FLOATS_16)
def test_mma_spreads_a_nan_over_its_row_only(kind: str) -> None:
    a, b, d = mma_tiles(kind, 0)
    a[3, 7] = 0x7FFF
    tile = mma_tile(run(f"mma_{kind}", mma_words(a, b, d)))
    assert np.isnan(tile[3]).all()
    assert np.isfinite(np.delete(tile, 3, axis=0)).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_mma_tf32_reads_the_upper_19_bits(seed: int) -> None:
    a, b, d = tf32_tiles(seed)
    exact = d.astype(np.float64) + cut_to_tf32(a).astype(np.float64) @ cut_to_tf32(b).astype(np.float64)
    got = mma_tile(run("mma_tf32", tf32_words(a, b, d), seed))
    np.testing.assert_allclose(got, exact, rtol=2.0**-24, atol=1e-15)


def test_mma_tf32_spreads_a_nan_over_its_row_only() -> None:
    a, b, d = tf32_tiles(0)
    a[3, 7] = np.nan
    tile = mma_tile(run("mma_tf32", tf32_words(a, b, d)))
    assert np.isnan(tile[3]).all()
    assert np.isfinite(np.delete(tile, 3, axis=0)).all()


def test_round_to_tf32_takes_ties_away_from_zero() -> None:
    values = tf32_floats()
    with np.errstate(over="ignore"):
        expected = round_to_tf32(values).astype(np.float32)
    got = run("round_to_tf32", values).view(np.float32)
    nan = np.isnan(values)
    assert np.isnan(got[nan]).all()
    np.testing.assert_array_equal(got.view(np.uint32)[~nan], expected.view(np.uint32)[~nan])


def pairs(name: str, seed: int) -> np.ndarray:
    """Words of x, and the upper and lower halves of a scale: moderate values, then anything finite."""
    rng = np.random.default_rng(seed)
    dtype = {"f16": "float16", "bf16": "bfloat16"}[name]
    x, scale = rng.standard_normal(4096), np.exp(rng.uniform(-3, 3, 4096))
    upper = decode(encode(scale, dtype), dtype)
    moderate = np.stack([encode(values, dtype).view(np.uint16) for values in (x, upper, scale - upper)])
    anything = rng.integers(0, 2**15, (3, 4096), np.uint16) | rng.integers(0, 2, (3, 4096), np.uint16) << 15
    largest = {"f16": 0x7BFF, "bf16": 0x7F7F}[name]
    anything = np.where(anything & 0x7FFF > largest, anything & 0x83FF, anything).astype(np.uint16)
    return np.concatenate([moderate, anything], 1).reshape(3, -1, 2).transpose(1, 0, 2).copy().view(np.uint32).ravel()


@pytest.mark.parametrize("name", ["f16", "bf16"])
def test_multiply_pair_rounds_a_product_with_a_scale_of_two_halves_once(name: str) -> None:
    dtype = {"f16": "float16", "bf16": "bfloat16"}[name]
    words = pairs(name, 13)[: 3 * 2048]
    x, upper, lower = (decode_words(words[i::3], dtype) for i in range(3))
    got = decode_words(run(f"multiply_pair_{name}", words), dtype)
    small = decode(encode(x * lower, dtype), dtype)
    np.testing.assert_array_equal(got, decode(encode(x * upper + small, dtype), dtype))
    once = decode(encode(x * (upper + lower), dtype), dtype)
    assert np.count_nonzero(got != once) < 0.02 * len(once)


def decode_words(words: np.ndarray, dtype: str) -> np.ndarray:
    return decode(np.ascontiguousarray(words).view(NUMPY_TYPES[dtype]), dtype)


@pytest.mark.parametrize("size", MOVED_BYTES)
def test_accesses_of_every_size_move_bytes_unchanged(size: int) -> None:
    words = random_words(4 * LANES)
    np.testing.assert_array_equal(run(f"move_{size}", words), words)


def test_atomic_or_shared_collects_every_lane() -> None:
    assert run("atomic_or_shared", np.uint32(1) << np.arange(LANES, dtype=np.uint32)) == [2**32 - 1]
    assert run("atomic_or_shared", np.arange(LANES, dtype=np.uint32)) == [31]


@pytest.mark.parametrize("kind", FLOATS_16)
def test_every_16_bit_pattern_widens_exactly(kind: str) -> None:
    bits = np.arange(2**16, dtype=np.uint32)
    expected = widen(bits.astype(np.uint16), kind)
    got = run(f"widen_{kind}", bits).view(np.float32)
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(got), nan)
    np.testing.assert_array_equal(got.view(np.uint32)[~nan], expected.view(np.uint32)[~nan])  # bits: -0.0 too
    if kind == "f16":
        numpy_own = bits.astype(np.uint16).view(np.float16).astype(np.float32)
        np.testing.assert_array_equal(got[~nan], numpy_own[~nan])


@pytest.mark.parametrize("kind", FLOATS_16)
def test_every_16_bit_pattern_survives_a_round_trip(kind: str) -> None:
    bits = np.arange(2**16, dtype=np.uint32)
    back = run(f"narrow_{kind}", run(f"widen_{kind}", bits))
    nan = np.isnan(widen(bits.astype(np.uint16), kind))
    np.testing.assert_array_equal(back[~nan], bits[~nan])
    assert (back[nan] == 0x7FFF).all()  # the canonical NaN, as the device writes it


@pytest.mark.parametrize("kind", FLOATS_16)
def test_narrowing_rounds_to_nearest_even(kind: str) -> None:
    values = interesting_floats()
    expected = narrow(values, kind)
    got = run(f"narrow_{kind}", values).astype(np.uint16)
    nan = np.isnan(values)
    np.testing.assert_array_equal(got[~nan], expected[~nan])
    assert (got[nan] == 0x7FFF).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_warp_built_ins(seed: int) -> None:
    values = random_words(LANES, seed)
    lane = np.arange(LANES)
    odd = values & 1
    ballot = int((odd.astype(np.uint64) << lane.astype(np.uint64)).sum())
    half = lane // 16
    half_mask = np.where(half == 0, 0x0000FFFF, 0xFFFF0000)
    halves = odd.reshape(2, 16)
    up = np.where(lane >= 3, lane - 3, lane)
    down = np.where(lane % 16 + 3 < 16, lane + 3, lane)
    lower_segment = np.where((lane ^ 12) < lane // 8 * 8 + 8, lane ^ 12, lane)
    columns = [
        np.full(LANES, ballot),
        ballot & half_mask,
        halves.any(axis=1)[half],
        halves.all(axis=1)[half],
        np.full(LANES, values[5]),
        values[lane // 8 * 8 + (lane + 3) % 8],
        values[lane ^ 16],
        values[lower_segment],
        values[up],
        values[down],
        np.full(LANES, np.bitwise_or.reduce(values)),
        (values.reshape(2, 16).astype(np.uint64).sum(axis=1) % 2**32)[half],
        [v.bit_count() | (v & -v).bit_length() << 8 | 32 - v.bit_length() << 16 for v in values.tolist()],
    ]
    got = run("warp_ops", values, seed).reshape(LANES, len(columns))
    for column, expected in enumerate(columns):
        np.testing.assert_array_equal(got[:, column], np.asarray(expected, np.uint64), f"result {column}")


@pytest.mark.parametrize("count", [0, 1, 63, 64])
def test_block_votes(count: int) -> None:
    predicates = (np.arange(2 * LANES) < count).astype(np.uint32)
    assert run("block_votes", predicates).tolist() == [count, count > 0, count == 2 * LANES]


def test_a_probe_refuses_what_it_cannot_run_on() -> None:
    with pytest.raises(ValueError, match="no such probe: ldmatrix_x9"):
        run("ldmatrix_x9", random_words(1))
    with pytest.raises(ValueError, match="ldmatrix_x4 takes 128 words, got 1"):
        run("ldmatrix_x4", random_words(1))


GPU_INPUTS = {
    **{f"cp_async_{size}": cp_async_words(size // 4, 1) for size in COPIED_BYTES},
    **{f"move_{size}": random_words(4 * LANES, 2) for size in MOVED_BYTES},
    "cp_async_groups": random_words(3 * LANES, 3),
    "ldmatrix_x2": random_words(64, 4),
    "ldmatrix_x4": random_words(128, 5),
    "ldmatrix_x4_trans": random_words(128, 11),
    "atomic_or_shared": random_words(LANES, 6) & 0x01010101,
    "warp_ops": random_words(LANES, 7),
    "block_votes": random_words(2 * LANES, 8) & 1,
    "narrow_f16": interesting_floats().view(np.uint32),
    "narrow_bf16": interesting_floats().view(np.uint32),
    "widen_f16": np.arange(2**16, dtype=np.uint32),
    "widen_bf16": np.arange(2**16, dtype=np.uint32),
    "mma_f16": mma_words(*mma_tiles("f16", 9)),
    "mma_bf16": mma_words(*mma_tiles("bf16", 10)),
    "mma_tf32": tf32_words(*tf32_tiles(12)),
    "round_to_tf32": tf32_floats().view(np.uint32),
    "multiply_pair_f16": pairs("f16", 14),
    "multiply_pair_bf16": pairs("bf16", 15),
}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="compares with a GPU, and there is none here")
@pytest.mark.parametrize("name", GPU_INPUTS)
def test_the_gpu_agrees_with_its_twin(name: str) -> None:
    words = GPU_INPUTS[name]
    device = torch.from_numpy(words.view(np.int32).copy()).cuda()
    gpu = torch.ops.maskconv_ext_testing.ptx_probe(name, device).cpu().numpy().view(np.uint32)
    twin = run(name, words)
    if name.startswith("mma"):  # the order and the rounding of the hardware's sums are its own
        np.testing.assert_allclose(gpu.view(np.float32), twin.view(np.float32), rtol=1e-5, atol=1e-5)
    elif name.startswith(("widen", "round")):  # which NaN a NaN becomes differs
        np.testing.assert_array_equal(gpu.view(np.float32), twin.view(np.float32))
    else:
        np.testing.assert_array_equal(gpu, twin)
