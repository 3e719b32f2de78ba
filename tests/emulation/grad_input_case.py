"""The gradient for the input of a `forward_case.Case`: random data full of traps, and a float64 answer."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from forward_case import (
    ACCUMULATOR_ROUNDING,
    NUMPY_TYPES,
    ROUNDING,
    SMALLEST,
    Case,
    decode,
    encode,
    factors,
    guarded,
    poisoned,
)

GEOMETRIES = {
    "1d": {"size": (1, 1, 30), "kernel": (1, 1, 5), "padding": ((0, 0), (0, 0), (2, 2))},
    "3d": {"size": (5, 6, 7), "kernel": (3, 3, 3), "padding": ((1, 1), (1, 1), (1, 1))},
    "asymmetric": {"size": (5, 6, 7), "kernel": (2, 3, 4), "padding": ((1, 0), (0, 2), (3, 1))},
    "strides": {"size": (1, 13, 12), "stride": (1, 2, 3)},
    "stride_3": {"size": (1, 1, 40), "stride": (1, 1, 3), "kernel": (1, 1, 4), "padding": ((0, 0), (0, 0), (2, 0))},
    "3d_strides": {
        "size": (7, 9, 11), "kernel": (3, 3, 3), "stride": (2, 1, 2), "padding": ((1, 1), (0, 1), (1, 0)),
    },
    "kernel_below_stride": {"size": (1, 11, 13), "kernel": (1, 2, 1), "stride": (1, 3, 3), "padding": ((0, 0),) * 3},
    "patches": {"size": (1, 9, 12), "stride": (1, 3, 3), "padding": ((0, 0),) * 3},
    "stride_beyond_size": {"size": (1, 3, 5), "kernel": (1, 2, 3), "stride": (1, 7, 9)},
    "dilation": {"size": (1, 13, 14), "dilation": (1, 2, 3), "padding": ((0, 0), (2, 2), (3, 3))},
    "dilation_equals_stride": {
        "size": (1, 9, 8), "dilation": (1, 2, 2), "stride": (1, 2, 2), "padding": ((0, 0), (3, 0), (0, 4)),
    },
    "dilation_shares_a_factor": {
        "size": (1, 17, 19), "dilation": (1, 2, 6), "stride": (1, 4, 4), "padding": ((0, 0), (3, 1), (5, 6)),
    },
    "dilation_below_stride": {
        "size": (1, 14, 16), "dilation": (1, 2, 3), "stride": (1, 3, 2), "padding": ((0, 0), (1, 2), (3, 3)),
    },
    "windows_outside": {"size": (1, 2, 2), "padding": ((0, 0), (4, 4), (4, 4))},
    "cropped": {"size": (1, 10, 11), "kernel": (1, 2, 3), "stride": (1, 3, 3), "padding": ((0, 0), (0, 0), (1, 0))},
    "pointwise": {"size": (1, 9, 8), "kernel": (1, 1, 1), "padding": ((0, 0),) * 3},
    "pointwise_strided": {
        "size": (1, 9, 8), "kernel": (1, 1, 1), "stride": (1, 2, 2), "padding": ((0, 0), (1, 0), (0, 1)),
    },
    "121_taps": {"size": (1, 12, 12), "kernel": (1, 11, 11), "padding": ((0, 0), (5, 5), (5, 5))},
    "343_taps": {"size": (5, 5, 6), "kernel": (7, 7, 7), "padding": ((3, 3), (3, 3), (3, 3)), "stride": (2, 1, 2)},
    "32_taps": {"size": (1, 1, 40), "kernel": (1, 1, 32), "padding": ((0, 0), (0, 0), (16, 15))},
    "33_taps": {"size": (1, 1, 40), "kernel": (1, 1, 33), "padding": ((0, 0), (0, 0), (16, 16)), "stride": (1, 1, 2)},
}  # fmt: skip


@dataclass
class Data:
    """What goes in, rounded to the case's type; `grad` has NaN and infinities in every invalid output."""

    grad: np.ndarray
    valid: np.ndarray | None
    mask: np.ndarray | None
    weight: np.ndarray


@dataclass
class Answer:
    grad_input: np.ndarray  # float64
    magnitude: np.ndarray  # sum of |grad * w|: what rounding errors of the sum are relative to
    live: np.ndarray = field(repr=False)  # (taps, *rows): the tap leads from the position to a valid output


@dataclass
class Run:
    grad_input: np.ndarray
    config: str
    counters: dict[str, int]


def flags(rng: np.random.Generator, shape: tuple[int, ...], fraction: float) -> np.ndarray:
    return np.where(rng.random(shape) < fraction, rng.choice([1, 2, 255], shape), 0).astype(np.uint8)


def make_data(case: Case, mask: np.ndarray | None = None, has_valid: bool = True, valid_outputs: float = 0.7) -> Data:
    rng = np.random.default_rng(case.seed)
    images = case.images_of_mask
    if mask is None and images > 0:
        mask = flags(rng, (images, *case.size), case.valid_fraction)
    grad = encode(rng.standard_normal((case.batch, *case.output_size, case.filters)), case.dtype)
    valid = None
    if has_valid:
        valid = flags(rng, (max(images, 1), *case.output_size), valid_outputs)
        invalid = np.broadcast_to(valid == 0, (case.batch, *case.output_size))
        traps = encode(np.array([np.nan, np.inf, -np.inf]), case.dtype)
        grad[invalid] = rng.choice(traps, (int(invalid.sum()), case.filters))
    weight = encode(rng.standard_normal((case.filters, *case.kernel, case.channels // case.groups)), case.dtype)
    return Data(grad, valid, mask, weight)


def answer(case: Case, data: Data) -> Answer:
    """The transpose of the specification in float64: one tap at a time, every output gives to its inputs."""
    grad, weight = factors(data.grad, case), factors(data.weight, case)
    outputs = (case.batch, *case.output_size)
    positions = (case.batch, *case.size)
    valid = np.ones(outputs, bool)
    if data.valid is not None:
        valid = np.broadcast_to(data.valid != 0, outputs)
    mask = np.ones(positions, bool)
    if data.mask is not None:
        mask = np.broadcast_to(data.mask != 0, positions)
    given = np.where(valid[..., None], grad, 0.0).reshape(*outputs, case.groups, -1)
    sums = np.zeros((*positions, case.groups, case.channels // case.groups))
    magnitude = np.zeros_like(sums)
    live = np.zeros((case.taps, *positions), bool)
    for index, tap in enumerate(itertools.product(*(range(k) for k in case.kernel))):
        at = [
            np.arange(n) * s + t * d - before
            for n, s, t, d, (before, _) in zip(case.output_size, case.stride, tap, case.dilation, case.padding)
        ]
        within = [(a >= 0) & (a < n) for a, n in zip(at, case.size)]
        source = np.ix_(np.arange(case.batch), *(np.flatnonzero(w) for w in within))
        target = np.ix_(np.arange(case.batch), *(a[w] for a, w in zip(at, within)))
        w = weight[:, tap[0], tap[1], tap[2]].reshape(case.groups, -1, case.channels // case.groups)
        sums[target] += np.einsum("ndhwgk,gkc->ndhwgc", given[source], w)
        magnitude[target] += np.einsum("ndhwgk,gkc->ndhwgc", np.abs(given[source]), np.abs(w))
        live[index][target] = valid[source]
    live &= mask
    flat = (*positions, case.channels)
    return Answer(np.where(mask[..., None], sums.reshape(flat), 0.0), magnitude.reshape(flat), live)


def run(
    emulation: Any,
    case: Case,
    data: Data,
    seed: int = 0,
    preempt: bool = False,
    row_order: np.ndarray | None = None,
) -> Run:
    arrays = {
        "grad": guarded(data.grad, case.offset),
        "valid": None if data.valid is None else guarded(data.valid),
        "mask": None if data.mask is None else guarded(data.mask),
        "weight": guarded(data.weight, case.offset),
        "grad_input": poisoned((case.batch, *case.size, case.channels), NUMPY_TYPES[case.dtype], case.offset),
        "row_order": None if row_order is None else guarded(row_order),
    }
    done = emulation.grad_input(case.problem(), case.dtype, arrays, config=case.config, seed=seed, preempt=preempt)
    return Run(arrays["grad_input"], done["config"], done["counters"])


def check(
    emulation: Any,
    case: Case,
    mask: np.ndarray | None = None,
    has_valid: bool = True,
    valid_outputs: float = 0.7,
    **options: Any,
) -> Run:
    """Runs the case and compares everything it wrote; returns what it did."""
    data = make_data(case, mask, has_valid, valid_outputs)
    done = run(emulation, case, data, **options)
    if case.config:
        assert done.config == case.config
    expected = answer(replace(case, config=done.config), data)
    got, want = decode(done.grad_input, case.dtype), expected.grad_input
    # Nothing rounds to 0 that is not 0: where no output gives anything, or the mask is 0, no bit may be set.
    nothing = ~expected.live.any(axis=0)
    assert not got[nothing].any(), f"{np.count_nonzero(got[nothing])} values where there is nothing to sum"
    terms = case.taps * case.filters // case.groups + 4
    bound = (
        ROUNDING[case.dtype] * np.abs(want)
        + terms * ACCUMULATOR_ROUNDING[case.dtype] * expected.magnitude
        + SMALLEST[case.dtype]
    )
    assert not np.isnan(got).any(), f"{np.isnan(got).sum()} NaN where the answer is finite"
    worst = np.max(np.abs(got - want) - bound, initial=-np.inf)
    assert worst <= 0, f"an element is off by {worst} beyond its bound"
    norm = np.linalg.norm(want)
    allowed = ROUNDING[case.dtype] + math.sqrt(terms) * 4 * ACCUMULATOR_ROUNDING[case.dtype]
    assert norm == 0 or np.linalg.norm(got - want) <= allowed * norm + SMALLEST[case.dtype] * math.sqrt(got.size)
    return done


def tiles_of_classes(case: Case, block_m: int) -> list[np.ndarray]:
    """Row numbers of each tile that has any: positions a stride apart on every axis, `block_m` at a time."""
    rows = np.arange(case.batch * math.prod(case.size)).reshape(case.batch, *case.size)
    tiles = []
    for first in itertools.product(*(range(min(s, n)) for s, n in zip(case.stride, case.size))):
        one = rows[(slice(None), *(slice(f, None, s) for f, s in zip(first, case.stride)))].ravel()
        tiles += [one[i : i + block_m] for i in range(0, len(one), block_m)]
    return tiles


def expected_mma(case: Case, live: np.ndarray, block_m: int, block_n: int, block_k: int = 32) -> int:
    """Products that the live (tile, tap) pairs need; a stage is two of them deep."""
    flat = live.reshape(case.taps, -1)
    live_pairs = sum(int(flat[:, tile].any(axis=1).sum()) for tile in tiles_of_classes(case, block_m))
    filter_blocks = -(-(case.filters // case.groups) // block_k)
    channel_tiles = -(-(case.channels // case.groups) // block_n) * case.groups
    return live_pairs * filter_blocks * channel_tiles * (block_m // 16) * (block_n // 8) * 2


def check_holes_stay_empty(emulation: Any, case: Case) -> None:
    """Infinite weights would turn a 0 that is multiplied into NaN."""
    data = make_data(case)
    data.weight[...] = encode(np.array(np.inf), case.dtype)
    holes = decode(run(emulation, case, data).grad_input, case.dtype)[data.mask == 0]
    assert not holes.any(), "infinite weights reach a hole"
