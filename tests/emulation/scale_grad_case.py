"""One first pass of a backward for the emulated kernels: random data full of traps, and a float64 answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from forward_case import ACCUMULATOR_ROUNDING, NUMPY_TYPES, ROUNDING, SMALLEST, decode, encode, guarded, poisoned

MAX_ROW_BLOCKS = 1024


@dataclass(frozen=True)
class Case:
    dtype: str = "bfloat16"
    batch: int = 2
    positions: int = 37
    filters: int = 16
    window_batch: int = 2
    window_channels: int = 1
    window_size: int = 9
    soft: bool = False
    normalization: str = "ratio"
    bias: bool = True
    bias_from_all: bool = False
    valid_fraction: float = 0.6
    offset: int = 0  # elements by which grad and scaled miss their alignment
    seed: int = 0

    def problem(self) -> dict[str, Any]:
        names = ("batch", "positions", "filters", "window_batch", "window_channels", "window_size", "soft")
        return {name: getattr(self, name) for name in (*names, "normalization", "bias_from_all")}


def check(emulation: Any, case: Case, seed: int = 0, preempt: bool = False) -> dict[str, Any]:
    """Runs the case and compares everything it wrote; returns what the emulation said of it."""
    rng = np.random.default_rng(case.seed)
    shape = (case.batch, case.positions, case.filters)
    windows = (case.window_batch, case.positions, case.window_channels)
    wide = np.float64 if case.dtype == "float64" else np.float32
    valid = rng.random(windows) < case.valid_fraction
    if case.soft:
        sums = rng.uniform(0.1, case.window_size, windows).astype(wide)
    else:
        sums = rng.integers(1, case.window_size + 1, windows).astype(np.int32)
    sums[~valid] = 0
    sums[valid & (rng.random(windows) < 0.1)] = 0  # as mask_update "center" may have it: no scale is applied
    per_filter = [np.repeat(np.broadcast_to(a, (case.batch, *windows[1:])), case.filters // case.window_channels, 2)
                  for a in (valid, sums)]  # fmt: skip
    counts, s = per_filter
    grad = encode(rng.standard_normal(shape), case.dtype)
    if case.bias_from_all:  # the first filter's bias is infinite, and nothing else
        grad[~counts & (np.arange(case.filters) == 0)] = encode(np.array(np.inf), case.dtype)
    else:
        traps = encode(np.array([np.nan, np.inf, -np.inf]), case.dtype)
        grad[~counts] = rng.choice(traps, int((~counts).sum()))

    arrays = {
        "grad": guarded(grad, case.offset),
        "valid": guarded(np.where(valid, rng.choice([1, 2, 255], windows), 0).astype(np.uint8)),
        "window_sum": guarded(sums),
        "scaled": poisoned(shape, NUMPY_TYPES[case.dtype], case.offset),
        "grad_bias": poisoned((case.filters,), NUMPY_TYPES[case.dtype]) if case.bias else None,
        "partial_sums": poisoned((MAX_ROW_BLOCKS, case.filters), wide) if case.bias else None,
    }
    done = emulation.scale_grad(case.problem(), case.dtype, arrays, seed=seed, preempt=preempt)
    done.update(arrays)

    g = decode(grad, case.dtype)
    safe = np.where(s != 0, s, 1).astype(np.float64)
    scale = {
        "ratio": case.window_size / safe,
        "mean": 1 / safe,
        "sqrt": np.sqrt(case.window_size / safe),
        "none": np.ones(shape),
    }[case.normalization]
    want = np.where(counts, g, 0.0) * np.where(s != 0, scale, 1.0)
    rounding, sum_rounding = ROUNDING[case.dtype], ACCUMULATOR_ROUNDING[case.dtype]
    assert_within(decode(arrays["scaled"], case.dtype), want, (rounding + 4 * sum_rounding) * np.abs(want), case)
    assert not decode(arrays["scaled"], case.dtype)[~counts].any()
    if case.bias:
        terms = g if case.bias_from_all else np.where(counts, g, 0.0)
        total, magnitude = terms.sum((0, 1)), np.abs(terms).sum((0, 1))
        bound = rounding * np.abs(total) + case.batch * case.positions * sum_rounding * magnitude
        got, special = decode(arrays["grad_bias"], case.dtype), np.isinf(total)
        np.testing.assert_array_equal(got[special], total[special])
        assert_within(got[~special], total[~special], bound[~special], case)
    return done


def assert_within(got: np.ndarray, want: np.ndarray, bound: np.ndarray, case: Case) -> None:
    assert not np.isnan(got).any(), f"{np.isnan(got).sum()} NaN where the answer is finite"
    worst = np.max(np.abs(got - want) - bound - SMALLEST[case.dtype], initial=-np.inf)
    assert worst <= 0, f"an element is off by {worst} beyond its bound"
