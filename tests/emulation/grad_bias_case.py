"""One bias gradient for the emulated kernels: random data full of traps, and a float64 answer."""

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
    has_valid: bool = True
    valid_fraction: float = 0.6
    offset: int = 0  # elements by which grad misses its alignment
    seed: int = 0

    def problem(self) -> dict[str, Any]:
        names = ("batch", "positions", "filters", "window_batch", "window_channels")
        return {name: getattr(self, name) for name in names}


def check(emulation: Any, case: Case, seed: int = 0, preempt: bool = False) -> dict[str, Any]:
    """Runs the case and compares everything it wrote; returns what the emulation said of it."""
    rng = np.random.default_rng(case.seed)
    shape = (case.batch, case.positions, case.filters)
    windows = (case.window_batch, case.positions, case.window_channels)
    wide = np.float64 if case.dtype == "float64" else np.float32
    valid = rng.random(windows) < case.valid_fraction
    of_images = np.broadcast_to(valid, (case.batch, *windows[1:]))
    counts = np.repeat(of_images, case.filters // case.window_channels, 2)
    grad = encode(rng.standard_normal(shape), case.dtype)
    if case.has_valid:
        traps = encode(np.array([np.nan, np.inf, -np.inf]), case.dtype)
        grad[~counts] = rng.choice(traps, int((~counts).sum()))
    else:  # the first filter's bias is infinite, and nothing else
        counts = np.ones(shape, bool)
        grad[:, :1, 0] = encode(np.array(np.inf), case.dtype)

    arrays = {
        "grad": guarded(grad, case.offset),
        "valid": guarded(np.where(valid, rng.choice([1, 2, 255], windows), 0).astype(np.uint8)),
        "grad_bias": poisoned((case.filters,), NUMPY_TYPES[case.dtype]),
        "partial_sums": poisoned((MAX_ROW_BLOCKS, case.filters), wide),
    }
    if not case.has_valid:
        arrays["valid"] = None
    done = emulation.grad_bias(case.problem(), case.dtype, arrays, seed=seed, preempt=preempt)
    done.update(arrays)

    terms = np.where(counts, decode(grad, case.dtype), 0.0)
    total, magnitude = terms.sum((0, 1)), np.abs(terms).sum((0, 1))
    got, special = decode(arrays["grad_bias"], case.dtype), np.isinf(total)
    np.testing.assert_array_equal(got[special], total[special])
    with np.errstate(invalid="ignore"):
        bound = ROUNDING[case.dtype] * np.abs(total)
        bound += case.batch * case.positions * ACCUMULATOR_ROUNDING[case.dtype] * magnitude
    assert_within(got[~special], total[~special], bound[~special], case)
    return done


def assert_within(got: np.ndarray, want: np.ndarray, bound: np.ndarray, case: Case) -> None:
    assert not np.isnan(got).any(), f"{np.isnan(got).sum()} NaN where the answer is finite"
    worst = np.max(np.abs(got - want) - bound - SMALLEST[case.dtype], initial=-np.inf)
    assert worst <= 0, f"an element is off by {worst} beyond its bound"
