"""One masked convolution for the emulated forward kernels: random data full of traps, and a float64 answer."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

NUMPY_TYPES = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}
ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
ACCUMULATOR_ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-24, "bfloat16": 2.0**-24}
SMALLEST = {"float64": 0.0, "float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}

GUARD = 128  # elements around every array, in the same allocation
ALIGNMENT = 256  # bytes, as device allocators give; counts of sectors depend on it
POISON = 0x5B  # of every byte of the outputs before a launch


def encode(values: np.ndarray, dtype: str) -> np.ndarray:
    """Float64 values, rounded, as arrays of `dtype` are stored (bfloat16: its bits)."""
    if dtype != "bfloat16":
        with np.errstate(over="ignore"):
            return values.astype(NUMPY_TYPES[dtype])
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def decode(stored: np.ndarray, dtype: str) -> np.ndarray:
    if dtype != "bfloat16":
        return stored.astype(np.float64)
    return (stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def round_to_tf32(values: np.ndarray) -> np.ndarray:
    """To 10 bits of fraction, ties away from zero; NaN and infinities stay."""
    finite = np.where(np.isfinite(values), values, 0.0).astype(np.float64)
    smallest_normal = -125
    step = np.ldexp(1.0, np.maximum(np.frexp(finite)[1], smallest_normal) - 11)
    return np.where(np.isfinite(values), np.trunc(finite / step + np.copysign(0.5, finite)) * step, values)


def factors(stored: np.ndarray, case: Case) -> np.ndarray:
    """What the case's kernel multiplies, in float64."""
    values = decode(stored, case.dtype)
    return round_to_tf32(values) if case.config.startswith("tf32") else values


def poisoned(shape: tuple[int, ...], dtype: Any, offset: int = 0) -> np.ndarray:
    """An array in the middle of a larger, poisoned allocation, `offset` elements off its alignment."""
    size = np.dtype(dtype).itemsize
    buffer = np.full((math.prod(shape) + 2 * GUARD) * size + ALIGNMENT, POISON, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT + (GUARD + offset) * size
    return buffer[start : start + math.prod(shape) * size].view(dtype).reshape(shape)


def guarded(values: np.ndarray, offset: int = 0) -> np.ndarray:
    array = poisoned(values.shape, values.dtype, offset)
    array[...] = values
    return array


@dataclass(frozen=True)
class Case:
    """Axes are (depth, height, width); `padding` is (before, after) per axis."""

    dtype: str = "bfloat16"
    batch: int = 1
    size: tuple[int, int, int] = (1, 9, 11)
    channels: int = 16
    filters: int = 16
    groups: int = 1
    kernel: tuple[int, int, int] = (1, 3, 3)
    stride: tuple[int, int, int] = (1, 1, 1)
    padding: tuple[tuple[int, int], ...] = ((0, 0), (1, 1), (1, 1))
    dilation: tuple[int, int, int] = (1, 1, 1)
    mask_batch: int | None = None  # None: as batch
    valid_fraction: float = 0.5
    pad_is_valid: bool = False
    normalization: str = "ratio"
    mask_update: str = "any"
    threshold: float = 0.0
    fill: float = 0.0
    fill_with_bias: bool = False
    bias: bool = True
    weight_sum: bool = False  # sums of weights decide what is valid; normalization "weight" divides by them too
    offset: int = 0  # elements by which input, weight, bias, weight_sum and output miss their alignment
    config: str = ""
    allow_tf32: bool = False
    seed: int = 0

    @property
    def output_size(self) -> tuple[int, ...]:
        return tuple(
            (n + sum(pad) - (k - 1) * d - 1) // s + 1
            for n, pad, k, d, s in zip(self.size, self.padding, self.kernel, self.dilation, self.stride)
        )

    @property
    def images_of_mask(self) -> int:
        return self.batch if self.mask_batch is None else self.mask_batch

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    @property
    def tile(self) -> tuple[int, int, int]:
        """block_m, block_n and block_k of the config."""
        block_m, block_n, block_k = map(int, self.config.split("_")[1].split("x"))
        return block_m, block_n, block_k

    @property
    def on_tensor_cores(self) -> bool:
        return self.config.startswith(("mma", "tf32"))

    @property
    def channel_unit(self) -> int:
        """Channels and filters a group come in multiples of it: 16 bytes, on tensor cores."""
        return 16 // np.dtype(NUMPY_TYPES[self.dtype]).itemsize if self.on_tensor_cores else 1

    def problem(self) -> dict[str, Any]:
        return {
            "batch": self.batch,
            "channels": self.channels,
            "filters": self.filters,
            "groups": self.groups,
            "input": self.size,
            "output": self.output_size,
            "kernel": self.kernel,
            "stride": self.stride,
            "padding": tuple(before for before, _ in self.padding),
            "dilation": self.dilation,
            "mask_batch": self.images_of_mask,
            "pad_is_valid": self.pad_is_valid,
            "allow_tf32": self.allow_tf32,
            "normalization": self.normalization,
            "mask_update": self.mask_update,
            "threshold": self.threshold,
            "fill": self.fill,
            "fill_with_bias": self.fill_with_bias,
        }


@dataclass
class Data:
    """What goes in, rounded to the case's type; `x` has NaN and infinities in every hole."""

    x: np.ndarray
    mask: np.ndarray | None
    weight: np.ndarray
    bias: np.ndarray | None
    weight_sum: np.ndarray | None


@dataclass
class Answer:
    output: np.ndarray  # float64
    magnitude: np.ndarray  # scale * sum of |x * w|: what rounding errors of the sum are relative to
    window_sum: np.ndarray
    out_mask: np.ndarray
    live: np.ndarray = field(repr=False)  # (taps, rows): the tap is in the image and not in a hole


def make_data(case: Case, mask: np.ndarray | None = None) -> Data:
    rng = np.random.default_rng(case.seed)
    if mask is None and case.images_of_mask > 0:
        valid = rng.random((case.images_of_mask, *case.size)) < case.valid_fraction
        mask = np.where(valid, rng.choice([1, 2, 255], valid.shape), 0).astype(np.uint8)
    x = encode(rng.standard_normal((case.batch, *case.size, case.channels)), case.dtype)
    if mask is not None:
        holes = np.broadcast_to(mask == 0, (case.batch, *case.size))
        traps = encode(np.array([np.nan, np.inf, -np.inf]), case.dtype)
        x[holes] = rng.choice(traps, (int(holes.sum()), case.channels))
    weight = encode(rng.standard_normal((case.filters, *case.kernel, case.channels // case.groups)), case.dtype)
    bias = encode(rng.standard_normal(case.filters), case.dtype) if case.bias else None
    return Data(x, mask, weight, bias, make_weight_sum(case, rng))


def make_weight_sum(case: Case, rng: np.random.Generator) -> np.ndarray | None:
    """(images of the mask, *output, K): what these sums are of is of no concern to the kernels; every fifth is 0."""
    if not case.weight_sum and case.normalization != "weight":
        return None
    shape = (max(case.images_of_mask, 1), *case.output_size, case.filters)
    sums = rng.uniform(0.5, 3.0, shape) * rng.choice([-1, 1], shape) * (rng.random(shape) < 0.8)
    return sums.astype(np.float64 if case.dtype == "float64" else np.float32)


def answer(case: Case, data: Data) -> Answer:
    """The specification in float64, one tap at a time."""
    x, weight = factors(data.x, case), factors(data.weight, case)
    rows = (case.batch, *case.output_size)
    per_group = (case.groups, case.channels // case.groups)
    sums = np.zeros((*rows, case.groups, case.filters // case.groups))
    magnitude = np.zeros_like(sums)
    window_sum = np.zeros(rows, np.int64)
    center = np.zeros(rows, bool)
    live = np.zeros((case.taps, math.prod(rows)), bool)
    center_tap = tuple((k - 1) // 2 for k in case.kernel)
    for index, tap in enumerate(itertools.product(*(range(k) for k in case.kernel))):
        at = [
            np.arange(n) * s + t * d - before
            for n, s, t, d, (before, _) in zip(case.output_size, case.stride, tap, case.dilation, case.padding)
        ]
        within = [(a >= 0) & (a < n) for a, n in zip(at, case.size)]
        in_image = within[0][:, None, None] & within[1][None, :, None] & within[2][None, None, :]
        place = np.ix_(np.arange(case.batch), *(np.clip(a, 0, n - 1) for a, n in zip(at, case.size)))
        valid = np.broadcast_to(in_image, rows).copy()
        if data.mask is not None:
            valid &= np.broadcast_to(data.mask, (case.batch, *case.size))[place] != 0
        picked = np.where(valid[..., None], x[place], 0.0).reshape(*rows, *per_group)
        w = weight[:, tap[0], tap[1], tap[2]].reshape(case.groups, -1, per_group[1])
        sums += np.einsum("ndhwgc,gkc->ndhwgk", picked, w)
        magnitude += np.einsum("ndhwgc,gkc->ndhwgk", np.abs(picked), np.abs(w))
        counted = valid | (~in_image & case.pad_is_valid)
        window_sum += counted
        if tap == center_tap:
            center = counted
        live[index] = valid.ravel()

    safe = np.maximum(window_sum, 1)
    scale = {
        "ratio": case.taps / safe,
        "mean": 1 / safe,
        "sqrt": np.sqrt(case.taps / safe),
        "weight": np.ones(rows),
        "none": np.ones(rows),
    }[case.normalization][..., None]
    ok = {
        "any": window_sum > 0,
        "all": window_sum == case.taps,
        "center": center,
        "threshold": window_sum >= case.threshold * case.taps,
        "fraction": window_sum > 0,
    }[case.mask_update]
    bias = decode(data.bias, case.dtype) if data.bias is not None else np.zeros(case.filters)
    filled = bias if case.fill_with_bias else case.fill
    flat = (*rows, case.filters)
    ok_of_filter = ok[..., None]
    if data.weight_sum is not None:
        divisor = np.broadcast_to(data.weight_sum.astype(np.float64), flat)
        ok_of_filter = ok_of_filter & (divisor != 0)
        if case.normalization == "weight":
            scale = 1 / np.where(divisor != 0, divisor, 1.0)
    output = np.where(ok_of_filter, scale * sums.reshape(flat) + bias, filled)
    images = max(case.images_of_mask, 1)
    out_mask = (window_sum / case.taps).astype(np.float32) if case.mask_update == "fraction" else ok.astype(np.uint8)
    return Answer(
        output,
        np.abs(scale) * magnitude.reshape(flat),
        window_sum[:images].astype(np.int32),
        out_mask[:images],
        live,
    )


@dataclass
class Run:
    output: np.ndarray
    out_mask: np.ndarray
    window_sum: np.ndarray
    config: str
    counters: dict[str, int]


def run(
    emulation: Any,
    case: Case,
    data: Data,
    seed: int = 0,
    preempt: bool = False,
    row_order: np.ndarray | None = None,
) -> Run:
    rows = case.output_size
    images = max(case.images_of_mask, 1)
    soft = case.mask_update == "fraction"
    arrays = {
        "input": guarded(data.x, case.offset),
        "mask": None if data.mask is None else guarded(data.mask),
        "weight": guarded(data.weight, case.offset),
        "bias": None if data.bias is None else guarded(data.bias, case.offset),
        "output": poisoned((case.batch, *rows, case.filters), NUMPY_TYPES[case.dtype], case.offset),
        "out_mask": poisoned((images, *rows), np.float32 if soft else np.uint8),
        "window_sum": poisoned((images, *rows), np.int32),
        "row_order": None if row_order is None else guarded(row_order),
    }
    if data.weight_sum is not None:
        arrays["weight_sum"] = guarded(data.weight_sum, case.offset)
    done = emulation.forward(case.problem(), case.dtype, arrays, config=case.config, seed=seed, preempt=preempt)
    return Run(arrays["output"], arrays["out_mask"], arrays["window_sum"], done["config"], done["counters"])


def assert_close(case: Case, output: np.ndarray, expected: Answer) -> None:
    """One rounding to the output type on top of the worst case of an accumulation in any order."""
    got, want = decode(output, case.dtype), expected.output
    special = ~np.isfinite(want)
    np.testing.assert_array_equal(got[special], want[special])
    got, want = got[~special], want[~special]
    terms = case.taps * case.channels // case.groups + 4
    magnitude = expected.magnitude[~special] + np.abs(want)
    bound = (
        ROUNDING[case.dtype] * np.abs(want)
        + terms * ACCUMULATOR_ROUNDING[case.dtype] * magnitude
        + SMALLEST[case.dtype]
    )
    worst = np.max(np.abs(got - want) - bound, initial=-np.inf)
    assert not np.isnan(got).any(), f"{np.isnan(got).sum()} NaN where the answer is finite"
    assert worst <= 0, f"an element is off by {worst} beyond its bound"
    norm = np.linalg.norm(want)
    allowed = ROUNDING[case.dtype] + math.sqrt(terms) * 4 * ACCUMULATOR_ROUNDING[case.dtype]
    assert norm == 0 or np.linalg.norm(got - want) <= allowed * norm + SMALLEST[case.dtype] * math.sqrt(got.size)


def check(emulation: Any, case: Case, mask: np.ndarray | None = None, **options: Any) -> Run:
    """Runs the case and compares everything it wrote; returns what it did."""
    data = make_data(case, mask)
    done = run(emulation, case, data, **options)
    if case.config:
        assert done.config == case.config
    expected = answer(replace(case, config=done.config), data)
    np.testing.assert_array_equal(done.window_sum, expected.window_sum)
    np.testing.assert_array_equal(done.out_mask, expected.out_mask)
    assert_close(case, done.output, expected)
    return done


def line(case: Case, length: int, kernel: int = 3) -> Case:
    """The case in one dimension, its output as long as its input."""
    before = (kernel - 1) // 2
    return replace(
        case,
        size=(1, 1, length),
        kernel=(1, 1, kernel),
        padding=((0, 0), (0, 0), (before, kernel - 1 - before)),
    )


def expected_mma(case: Case, live: np.ndarray, block_m: int, block_n: int, block_k: int = 32) -> int:
    """Products that the live (tile, tap) pairs need; a stage is two of them deep."""
    tiles = -(-live.shape[1] // block_m)
    padded = np.zeros((live.shape[0], tiles * block_m), bool)
    padded[:, : live.shape[1]] = live
    live_pairs = int(padded.reshape(live.shape[0], tiles, block_m).any(axis=2).sum())
    channel_blocks = -(-(case.channels // case.groups) // block_k)
    filter_tiles = -(-(case.filters // case.groups) // block_n) * case.groups
    return live_pairs * channel_blocks * filter_tiles * (block_m // 16) * (block_n // 8) * 2
