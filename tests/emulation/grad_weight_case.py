"""The gradient for the weight of a `forward_case.Case`: random data full of traps, and a float64 answer."""

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
    round_to_tf32,
)
from grad_input_case import flags, make_scale, per_channel, rounds_factors, trapped


@dataclass
class Data:
    """What goes in, rounded to the case's type; NaN and infinities in every invalid output and every hole."""

    grad: np.ndarray
    valid: np.ndarray | None  # (images, *output_size, windows)
    scale: np.ndarray | None  # as valid, 0 where that is
    x: np.ndarray
    mask: np.ndarray | None


@dataclass
class Answer:
    grad_weight: np.ndarray  # float64
    magnitude: np.ndarray  # sum of |grad * x|: what rounding errors of the sum are relative to
    live: np.ndarray = field(repr=False)  # (taps, rows): grad is valid, and the tap meets a valid input


@dataclass
class Run:
    grad_weight: np.ndarray
    config: str
    splits: int
    counters: dict[str, int]
    reduction: dict[str, int]


def make_data(
    case: Case, mask: np.ndarray | None = None, has_valid: bool = True, valid_outputs: float = 0.7, windows: int = 1
) -> Data:
    rng = np.random.default_rng(case.seed)
    images = case.images_of_mask
    if mask is None and images > 0:
        mask = flags(rng, (images, *case.size), case.valid_fraction)
    valid = flags(rng, (max(images, 1), *case.output_size, windows), valid_outputs) if has_valid else None
    x = rng.standard_normal((case.batch, *case.size, case.channels))
    grad = rng.standard_normal((case.batch, *case.output_size, case.filters))
    return Data(
        trapped(rng, grad, None if valid is None else valid == 0, case.dtype),
        valid,
        make_scale(rng, case, valid),
        trapped(rng, x, None if mask is None else mask[..., None] == 0, case.dtype),
        mask,
    )


def answer(case: Case, data: Data) -> Answer:
    """The specification in float64, one tap at a time."""
    rows = (case.batch, *case.output_size)
    counts, scale = np.ones((*rows, 1), bool), None
    if data.valid is not None:
        counts = np.broadcast_to(data.valid != 0, (*rows, data.valid.shape[-1]))
    if data.scale is not None:
        scale = np.broadcast_to(data.scale.astype(np.float64), counts.shape)[..., None]  # of each group, or of all
    valid = counts.any(-1)
    grad = np.where(per_channel(counts, case.filters), factors(data.grad, case), 0.0).reshape(
        *rows, case.groups, case.filters // case.groups
    )
    x = factors(data.x, case) if scale is None else decode(data.x, case.dtype)
    sums = np.zeros((case.filters, *case.kernel, case.channels // case.groups))
    magnitude = np.zeros_like(sums)
    live = np.zeros((case.taps, math.prod(rows)), bool)
    for index, tap in enumerate(itertools.product(*(range(k) for k in case.kernel))):
        at = [
            np.arange(n) * s + t * d - before
            for n, s, t, d, (before, _) in zip(case.output_size, case.stride, tap, case.dilation, case.padding)
        ]
        within = [(a >= 0) & (a < n) for a, n in zip(at, case.size)]
        in_image = within[0][:, None, None] & within[1][None, :, None] & within[2][None, None, :]
        place = np.ix_(np.arange(case.batch), *(np.clip(a, 0, n - 1) for a, n in zip(at, case.size)))
        meets = valid & in_image
        if data.mask is not None:
            meets &= np.broadcast_to(data.mask, (case.batch, *case.size))[place] != 0
        picked = np.where(meets[..., None], x[place], 0.0).reshape(*rows, case.groups, case.channels // case.groups)
        if scale is not None:  # what the kernel multiplies is the input times the scale
            picked = picked * scale
            if case.config.startswith("tf32"):
                picked = round_to_tf32(picked.astype(np.float32))
        of_tap = (slice(None), *tap)
        sums[of_tap] = np.einsum("ndhwgk,ndhwgc->gkc", grad, picked).reshape(case.filters, -1)
        magnitude[of_tap] = np.einsum("ndhwgk,ndhwgc->gkc", np.abs(grad), np.abs(picked)).reshape(case.filters, -1)
        live[index] = meets.ravel()
    return Answer(sums, magnitude, live)


def run(emulation: Any, case: Case, data: Data, splits: int = 0, seed: int = 0, preempt: bool = False) -> Run:
    weight = (case.filters, *case.kernel, case.channels // case.groups)
    arrays = {
        "grad": guarded(data.grad, case.offset),
        "valid": None if data.valid is None else guarded(data.valid),
        "scale": None if data.scale is None else guarded(data.scale),
        "window_channels": 1 if data.valid is None else data.valid.shape[-1],
        "input": guarded(data.x, case.offset),
        "mask": None if data.mask is None else guarded(data.mask),
        "grad_weight": poisoned(weight, NUMPY_TYPES[case.dtype], case.offset),
    }
    done = emulation.grad_weight(
        case.problem(), case.dtype, arrays, config=case.config, splits=splits, seed=seed, preempt=preempt
    )
    return Run(arrays["grad_weight"], done["config"], done["splits"], done["counters"], done["reduction"])


def check(
    emulation: Any,
    case: Case,
    mask: np.ndarray | None = None,
    has_valid: bool = True,
    valid_outputs: float = 0.7,
    windows: int = 1,
    **options: Any,
) -> Run:
    """Runs the case and compares everything it wrote; returns what it did."""
    data = make_data(case, mask, has_valid, valid_outputs, windows)
    done = run(emulation, case, data, **options)
    if case.config:
        assert done.config == case.config
    expected = answer(replace(case, config=done.config), data)
    got, want = decode(done.grad_weight, case.dtype), expected.grad_weight
    terms = expected.live.shape[1] + 4
    of_factors = ROUNDING[case.dtype] if rounds_factors(data, done.config, ("simt", "tf32", "depthwise")) else 0.0
    bound = (
        ROUNDING[case.dtype] * np.abs(want)
        + (terms * ACCUMULATOR_ROUNDING[case.dtype] + of_factors) * expected.magnitude
        + SMALLEST[case.dtype]
    )
    assert not np.isnan(got).any(), f"{np.isnan(got).sum()} NaN where the answer is finite"
    # Nothing rounds to 0 that is not 0: a tap no row is live for has no bit set.
    nothing = ~expected.live.any(axis=1).reshape(case.kernel)
    assert not got[:, nothing].any(), f"{np.count_nonzero(got[:, nothing])} values where there is nothing to sum"
    worst = np.max(np.abs(got - want) - bound, initial=-np.inf)
    assert worst <= 0, f"an element is off by {worst} beyond its bound"
    norm = np.linalg.norm(want)
    allowed = ROUNDING[case.dtype] + math.sqrt(terms) * 4 * ACCUMULATOR_ROUNDING[case.dtype]
    assert norm == 0 or np.linalg.norm(got - want) <= allowed * norm + SMALLEST[case.dtype] * math.sqrt(got.size)
    return done


def check_scaled_input(emulation: Any, case: Case) -> None:
    """Of one output, whose weights' gradients are products: the input times the scale, which has more bits than the
    type, is rounded once."""
    case = replace(case, valid_fraction=1.0)
    data = make_data(case, valid_outputs=1.0)
    assert data.scale is not None
    data.grad = encode(np.sign(decode(data.grad, case.dtype)), case.dtype)
    data.scale[...] = 9 / 7
    got = decode(run(emulation, case, data, splits=1).grad_weight, case.dtype).reshape(case.filters, case.channels)
    x, grad = decode(data.x, case.dtype).ravel(), decode(data.grad, case.dtype).ravel()
    want = np.outer(grad, decode(encode(x * data.scale.astype(np.float64).ravel(), case.dtype), case.dtype))
    wrong = np.count_nonzero(got != want)
    assert wrong <= 0.01 * got.size, f"{wrong} of {got.size} products are not as rounded once"


def expected_mma(case: Case, live: np.ndarray, block_m: int, block_n: int, splits: int = 1, block_k: int = 32) -> int:
    """Products: of each tile and split the rows live for any of the tile's taps, in whole stages of two mma."""
    channels = case.channels // case.groups
    columns = case.taps * channels
    rows = live.shape[1]
    per_split = -(-rows // splits)
    steps = 0
    for first in range(0, columns, block_n):
        taps = live[first // channels : (min(first + block_n, columns) - 1) // channels + 1].any(axis=0)
        steps += sum(-(-int(taps[i : i + per_split].sum()) // block_k) for i in range(0, rows, per_split))
    filter_tiles = -(-(case.filters // case.groups) // block_m) * case.groups
    return steps * filter_tiles * (block_m // 16) * (block_n // 8) * 2
