"""Masks of any kind for the emulated kernels window, select and finish: random data full of traps, and the answers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields
from typing import Any

import forward_case
import numpy as np
from forward_case import ACCUMULATOR_ROUNDING, NUMPY_TYPES, ROUNDING, SMALLEST, decode, encode, guarded, poisoned

GRID = 8  # soft values are multiples of 1 / 8: their sums are exact in any order


@dataclass(frozen=True)
class Case(forward_case.Case):
    soft: bool = False
    parts: tuple[int, ...] = ()  # input channels of each mask channel; () for a shared mask

    @property
    def window_channels(self) -> int:
        return self.groups if self.parts else 1

    @property
    def window_size(self) -> int:
        return self.taps * (self.channels // self.groups if self.parts else 1)

    @property
    def wide(self) -> Any:
        """What sums are in."""
        return np.float64 if self.dtype == "float64" else np.float32

    @property
    def windows_shape(self) -> tuple[int, ...]:
        return (max(self.images_of_mask, 1), *self.output_size, self.window_channels)


def per_channel(channels: int, **options: Any) -> Case:
    return Case(channels=channels, parts=(1,) * channels, **options)


def make_mask(case: Case) -> np.ndarray | None:
    """(mask_batch, *size, Cm), as the kernels take it."""
    if case.images_of_mask == 0:
        return None
    rng = np.random.default_rng(case.seed)
    shape = (case.images_of_mask, *case.size, len(case.parts) or 1)
    valid = rng.random(shape) < case.valid_fraction
    if case.soft:
        return (valid * rng.integers(1, GRID + 1, shape) / GRID).astype(case.wide)
    return np.where(valid, rng.choice([1, 2, 255], shape), 0).astype(np.uint8)


def of_channels(case: Case, mask: np.ndarray | None) -> np.ndarray:
    """What the mask says of each input channel, in float64: (mask_batch, *size, C)."""
    if mask is None:
        return np.ones((1, *case.size, case.channels))
    values = mask.astype(np.float64) if case.soft else (mask != 0).astype(np.float64)
    return np.repeat(values, case.parts or (case.channels,), axis=-1)


def mask_argument(case: Case, mask: np.ndarray | None) -> dict[str, Any]:
    return {"data": None if mask is None else guarded(mask), "soft": case.soft, "parts": list(case.parts)}


@dataclass
class Windows:
    """What `window` wrote, or should have."""

    window_sum: np.ndarray
    valid: np.ndarray
    fraction: np.ndarray | None

    def argument(self, case: Case) -> dict[str, Any]:
        return {
            "sum": guarded(self.window_sum),
            "valid": guarded(self.valid),
            "channels": case.window_channels,
            "size": case.window_size,
            "soft": case.soft,
        }


def windows_answer(case: Case, mask: np.ndarray | None) -> Windows:
    """The specification, one tap at a time."""
    m = of_channels(case, mask)
    shape = case.windows_shape
    per_group = (case.groups, -1) if case.parts else (1, case.channels)
    sums, center = np.zeros(shape), np.zeros(shape, bool)
    for tap in itertools.product(*(range(k) for k in case.kernel)):
        at = [
            np.arange(n) * s + t * d - before
            for n, s, t, d, (before, _) in zip(case.output_size, case.stride, tap, case.dilation, case.padding)
        ]
        within = [(a >= 0) & (a < n) for a, n in zip(at, case.size)]
        in_image = within[0][:, None, None] & within[1][None, :, None] & within[2][None, None, :]
        place = np.ix_(np.arange(shape[0]), *(np.clip(a, 0, n - 1) for a, n in zip(at, case.size)))
        values = np.where(in_image[None, ..., None], m[place], float(case.pad_is_valid)).reshape(
            *shape[:-1], *per_group
        )
        values = values.sum(-1) if case.parts else values[..., 0]
        sums += values
        if tap == tuple((k - 1) // 2 for k in case.kernel):
            center = values != 0
    valid = {
        "any": sums > 0,
        "all": sums == case.window_size,
        "center": center,
        "threshold": sums >= case.threshold * case.window_size,
        "fraction": sums > 0,
    }[case.mask_update]
    fraction = None
    if case.mask_update == "fraction":
        fraction = (sums / case.window_size).astype(case.wide if case.soft else np.float32)
    return Windows(sums.astype(case.wide if case.soft else np.int32), valid.astype(np.uint8), fraction)


def run_window(emulation: Any, case: Case, mask: np.ndarray | None, **options: Any) -> tuple[Windows, dict[str, Any]]:
    sums = case.wide if case.soft else np.int32
    fraction = case.mask_update == "fraction"
    arrays = {
        "channel_sums": poisoned((case.images_of_mask, *case.size, case.groups), sums) if case.parts else None,
        "window_sum": poisoned(case.windows_shape, sums),
        "valid": poisoned(case.windows_shape, np.uint8),
        "fraction": poisoned(case.windows_shape, case.wide if case.soft else np.float32) if fraction else None,
    }
    done = emulation.window(case.problem(), case.dtype, mask_argument(case, mask), arrays, **options)
    return Windows(arrays["window_sum"], arrays["valid"], arrays["fraction"]), done


def check_window(emulation: Any, case: Case, **options: Any) -> dict[str, Any]:
    """Every sum is exact."""
    mask = make_mask(case)
    got, done = run_window(emulation, case, mask, **options)
    want = windows_answer(case, mask)
    np.testing.assert_array_equal(got.window_sum, want.window_sum)
    np.testing.assert_array_equal(got.valid, want.valid)
    if want.fraction is not None:
        np.testing.assert_array_equal(got.fraction, want.fraction)
    return done


def make_input(case: Case, mask: np.ndarray | None) -> np.ndarray:
    """(N, *size, C), with NaN and infinities in every hole."""
    rng = np.random.default_rng(case.seed + 1)
    x = encode(rng.standard_normal((case.batch, *case.size, case.channels)), case.dtype)
    holes = np.broadcast_to(of_channels(case, mask) == 0, x.shape)
    x[holes] = rng.choice(encode(np.array([np.nan, np.inf, -np.inf]), case.dtype), int(holes.sum()))
    return x


def run_select(
    emulation: Any, case: Case, mask: np.ndarray | None, x: np.ndarray, layout: str, **options: Any
) -> tuple[np.ndarray, dict[str, Any]]:
    """`layout` is "rows", "planes" or "in place"."""
    given = guarded(np.ascontiguousarray(np.moveaxis(x, -1, 1)) if layout == "planes" else x, case.offset)
    selected = given if layout == "in place" else poisoned(x.shape, NUMPY_TYPES[case.dtype], case.offset)
    arrays = {"x": given, "selected": selected}
    done = emulation.select(
        case.problem(), case.dtype, mask_argument(case, mask), arrays, channels_last=layout != "planes", **options
    )
    return selected, done


def check_select(emulation: Any, case: Case, layout: str, **options: Any) -> dict[str, Any]:
    """Bit for bit: a product is rounded to the accumulator's type, then to the element's."""
    mask = make_mask(case)
    x = make_input(case, mask)
    got, done = run_select(emulation, case, mask, x, layout, **options)
    m = np.broadcast_to(of_channels(case, mask), x.shape)
    product = (np.where(m != 0, decode(x, case.dtype), 0.0) * m).astype(case.wide).astype(np.float64)
    want = np.where(m != 0, encode(product, case.dtype), encode(np.zeros(()), case.dtype))
    np.testing.assert_array_equal(got, want.astype(got.dtype))
    return done


@dataclass
class Finished:
    """What scale, bias and fill make of sums: the answer, and what rounding errors are relative to."""

    output: np.ndarray
    magnitude: np.ndarray

    def check(self, case: Case, stored: np.ndarray, roundings: int) -> None:
        got, want = decode(stored, case.dtype), self.output
        special = ~np.isfinite(want)
        np.testing.assert_array_equal(got[special], want[special])
        assert np.isfinite(got[~special]).all(), "not a number, where the answer is finite"
        bound = ROUNDING[case.dtype] * np.abs(want) + roundings * ACCUMULATOR_ROUNDING[case.dtype] * self.magnitude
        error = np.abs(got[~special] - want[~special]) - bound[~special]
        worst = np.max(error, initial=-np.inf) - SMALLEST[case.dtype]
        assert worst <= 0, f"an element is off by {worst} beyond its bound"


def of_filters(case: Case, windows: np.ndarray) -> np.ndarray:
    everywhere = np.broadcast_to(windows, (case.batch, *windows.shape[1:]))
    return np.repeat(everywhere, case.filters // case.window_channels, -1)


def finished(
    case: Case,
    windows: Windows,
    a: np.ndarray,
    magnitude: np.ndarray,
    bias: np.ndarray | None,
    weight_sum: np.ndarray | None,
) -> Finished:
    """Of sums `a` and their magnitude, (N, *output, K)."""
    valid, sums = of_filters(case, windows.valid != 0), of_filters(case, windows.window_sum.astype(np.float64))
    safe = np.where(sums != 0, sums, 1.0)
    ratio = np.where(sums != 0, case.window_size / safe, 1.0)
    ones = np.ones_like(ratio)
    scales = {"ratio": ratio, "mean": 1 / safe, "sqrt": np.sqrt(ratio), "weight": ones, "none": ones}
    scale = scales[case.normalization]
    if weight_sum is not None:
        divisor = np.broadcast_to(weight_sum.astype(np.float64), a.shape)
        valid = valid & (divisor != 0)
        if case.normalization == "weight":
            scale = 1 / np.where(divisor != 0, divisor, 1.0)
    b = np.zeros(case.filters) if bias is None else decode(bias, case.dtype)
    output = np.where(valid, scale * np.where(valid, a, 0.0) + b, b if case.fill_with_bias else case.fill)
    return Finished(output, np.abs(scale) * magnitude + np.abs(b))


def check_finish(emulation: Any, case: Case, **options: Any) -> dict[str, Any]:
    """Where an output is not valid the sums are NaN or infinite."""
    windows = windows_answer(case, make_mask(case))
    rng = np.random.default_rng(case.seed + 2)
    a = encode(rng.standard_normal((case.batch, *case.output_size, case.filters)), case.dtype)
    invalid = of_filters(case, windows.valid == 0)
    a[invalid] = rng.choice(encode(np.array([np.nan, np.inf, -np.inf]), case.dtype), int(invalid.sum()))
    bias = encode(rng.standard_normal(case.filters), case.dtype) if case.bias else None
    arrays = {"y": guarded(a, case.offset), "bias": None if bias is None else guarded(bias, case.offset)}
    weight_sum = forward_case.make_weight_sum(case, rng)
    if weight_sum is not None:
        arrays["weight_sum"] = guarded(weight_sum, case.offset)
    done = emulation.finish(case.problem(), case.dtype, windows.argument(case), arrays, **options)
    sums = np.where(invalid, 0.0, decode(a, case.dtype))
    finished(case, windows, sums, np.abs(sums), bias, weight_sum).check(case, arrays["y"], 6)
    return done


def check_given_windows(emulation: Any, case: Case) -> None:
    """The implicit GEMM over an input without holes, with windows that have nothing to do with it."""
    plain = forward_case.Case(
        **{f.name: getattr(case, f.name) for f in fields(forward_case.Case)}
        | {"mask_batch": 0, "bias": False, "normalization": "none", "mask_update": "any", "pad_is_valid": True}
        | {"weight_sum": False}
    )
    data = forward_case.make_data(plain)
    expected = forward_case.answer(plain, data)
    windows = windows_answer(case, make_mask(case))
    bias = encode(np.random.default_rng(case.seed).standard_normal(case.filters), case.dtype)
    arrays = {
        "input": guarded(data.x), "mask": None, "weight": guarded(data.weight), "bias": guarded(bias),
        "output": poisoned(expected.output.shape, NUMPY_TYPES[case.dtype]), "given": windows.argument(case),
    }  # fmt: skip
    weight_sum = forward_case.make_weight_sum(case, np.random.default_rng(case.seed + 4))
    if weight_sum is not None:
        arrays["weight_sum"] = guarded(weight_sum)
    emulation.forward(case.problem(), case.dtype, arrays, config=case.config, seed=0, preempt=False)
    roundings = case.taps * case.channels // case.groups + 8
    done = finished(case, windows, expected.output, expected.magnitude, bias, weight_sum)
    done.check(case, arrays["output"], roundings)
