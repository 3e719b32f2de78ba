"""What CUDA runs for masks of any kind, kernel after kernel on the emulated machine, against the loops of oracle.py."""

from __future__ import annotations

from dataclasses import replace

import grad_input_case
import grad_weight_case
import numpy as np
import oracle
import pytest
from forward_case import ACCUMULATOR_ROUNDING, NUMPY_TYPES, ROUNDING, SMALLEST, decode, encode, guarded, poisoned
from masks_case import Case, Windows, make_input, make_mask, of_channels, per_channel, run_select, run_window

from maskconv_ext import _emulation

SMALL = {"batch": 2, "size": (1, 5, 6), "filters": 16}
KINDS = {
    "shared soft": Case(channels=8, soft=True, **SMALL),
    "shared soft, one for the batch": Case(channels=8, soft=True, mask_batch=1, **SMALL),
    "channels": per_channel(8, **SMALL),
    "channels of groups": per_channel(16, groups=2, mask_batch=1, **SMALL),
    "channels soft": per_channel(8, soft=True, **SMALL),
    "parts": Case(channels=24, parts=(16, 8), **SMALL),
    "parts soft of groups": Case(channels=16, parts=(2, 7, 7), groups=2, soft=True, **SMALL),
    "depthwise": per_channel(4, groups=4, **{**SMALL, "filters": 4}),
}
EACH_KIND = pytest.mark.parametrize("base", KINDS.values(), ids=KINDS)


def live_positions(case: Case, mask: np.ndarray) -> np.ndarray:
    """Where no channel is valid nothing is read; other holes are zeros by then."""
    return guarded((of_channels(case, mask) != 0).any(-1).astype(np.uint8))


def forward(case: Case, layout: str) -> tuple[np.ndarray, Windows, oracle.Result, dict[str, int]]:
    """window, select, then the implicit GEMM with the windows given; the answer; and what the GEMM counted."""
    mask = make_mask(case)
    assert mask is not None
    x = make_input(case, mask)
    rng = np.random.default_rng(case.seed + 3)
    weight = encode(rng.standard_normal((case.filters, *case.kernel, case.channels // case.groups)), case.dtype)
    bias = encode(rng.standard_normal(case.filters), case.dtype)
    windows, _ = run_window(_emulation, case, mask)
    selected, _ = run_select(_emulation, case, mask, x, layout)
    output = poisoned((case.batch, *case.output_size, case.filters), NUMPY_TYPES[case.dtype])
    arrays = {
        "input": selected, "mask": live_positions(case, mask), "weight": guarded(weight), "bias": guarded(bias),
        "output": output, "given": windows.argument(case),
    }  # fmt: skip
    done = _emulation.forward(case.problem(), case.dtype, arrays, config=case.config)

    update = case.threshold if case.mask_update == "threshold" else case.mask_update
    expected = oracle.masked_conv(
        np.moveaxis(decode(x, case.dtype), -1, 1), np.moveaxis(mask, -1, 1),
        np.moveaxis(decode(weight, case.dtype), -1, 1), decode(bias, case.dtype), case.stride, case.padding,
        case.dilation, case.groups, normalization=case.normalization, mask_update=update,
        fill="bias" if case.fill_with_bias else case.fill, pad_is_valid=case.pad_is_valid,
        mask_channels=case.parts or None,
    )  # fmt: skip
    return decode(output, case.dtype), windows, expected, done["counters"]


def check_forward(case: Case, layout: str = "rows") -> None:
    output, windows, expected, _ = forward(case, layout)
    want, magnitude = (np.moveaxis(a, 1, -1) for a in (expected.output, expected.magnitude))
    bound = (expected.terms + 8) * ACCUMULATOR_ROUNDING[case.dtype] * magnitude + SMALLEST[case.dtype]
    bound += 1.01 * ROUNDING[case.dtype] * np.abs(want)
    if case.soft:  # what is selected is rounded to the element type
        bound += ROUNDING[case.dtype] * magnitude
    np.testing.assert_array_equal(np.isnan(output), np.isnan(want))
    worst = np.max((np.abs(output - want) - bound)[~np.isnan(want)], initial=-np.inf)
    assert worst <= 0, f"an element is off by {worst} beyond its bound"
    np.testing.assert_array_equal(windows.window_sum, np.moveaxis(expected.window_sum, 1, -1))
    out_mask = windows.valid if windows.fraction is None else windows.fraction
    np.testing.assert_allclose(out_mask, np.moveaxis(expected.out_mask, 1, -1), rtol=2.0**-22)


@EACH_KIND
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_forward(base, dtype):
    check_forward(replace(base, dtype=dtype))


@EACH_KIND
@pytest.mark.parametrize(
    "options",
    [
        {"normalization": "mean", "mask_update": "all", "valid_fraction": 0.97, "fill": np.nan},
        {"normalization": "sqrt", "mask_update": "center", "fill_with_bias": True},
        {"normalization": "none", "mask_update": "threshold", "threshold": 0.4, "pad_is_valid": True},
        {"mask_update": "fraction", "pad_is_valid": True, "valid_fraction": 0.1},
        {"stride": (1, 2, 1), "dilation": (1, 1, 2), "padding": ((0, 0), (1, 2), (0, 3))},
    ],
    ids=lambda options: "-".join(options),
)
def test_forward_options(base, options):
    check_forward(replace(base, **options), "planes")


@pytest.mark.parametrize("kernel, size", [((1, 1, 3), (1, 1, 9)), ((2, 2, 2), (3, 4, 3))], ids=["1-D", "3-D"])
def test_forward_ranks(kernel, size):
    padding = tuple((k // 2, 0) for k in kernel)
    for kind in ("shared soft", "parts"):
        check_forward(replace(KINDS[kind], kernel=kernel, size=size, padding=padding, dtype="float32"))


@pytest.mark.parametrize("kind", ["shared soft", "channels", "parts soft of groups"])
def test_holes_of_all_channels_cost_nothing(kind):
    output, _, _, counters = forward(replace(KINDS[kind], valid_fraction=0.0, fill=7.0), "rows")
    assert (output == 7.0).all()
    assert counters["mma"] == counters["cp_async_requests"] == 0


@pytest.mark.parametrize("kind", ["channels", "channels of groups", "parts", "depthwise"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_grad_input(kind, dtype):
    """Computed as without a mask, then selected in place."""
    case = replace(KINDS[kind], dtype=dtype)
    mask = make_mask(case)
    plain = replace(case, mask_batch=0)
    data = grad_input_case.make_data(plain, has_valid=False)
    expected = grad_input_case.answer(plain, data)

    def selected() -> np.ndarray:
        everywhere = grad_input_case.run(_emulation, plain, data).grad_input
        return decode(run_select(_emulation, case, mask, everywhere, "in place")[0], dtype)

    holes = np.broadcast_to(of_channels(case, mask) == 0, expected.grad_input.shape)
    want = np.where(holes, 0.0, expected.grad_input)
    bound = 1.01 * ROUNDING[dtype] * np.abs(want) + 200 * ACCUMULATOR_ROUNDING[dtype] * expected.magnitude
    assert (np.abs(selected() - want) <= bound).all()
    data.weight[...] = encode(np.array(np.inf), dtype)
    assert holes.any() and not selected()[holes].any()


@pytest.mark.parametrize("kind", ["channels", "channels of groups", "parts", "depthwise"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_grad_weight(kind, dtype):
    """Of the selected input, as without a mask."""
    case = replace(KINDS[kind], dtype=dtype)
    mask = make_mask(case)
    x = make_input(case, mask)
    plain = replace(case, mask_batch=0)
    data = grad_weight_case.make_data(plain, has_valid=False)
    data.x = np.where(of_channels(case, mask) != 0, x, encode(np.zeros(()), dtype)).astype(x.dtype)
    expected = grad_weight_case.answer(plain, data)
    data.x, _ = run_select(_emulation, case, mask, x, "planes")
    got = decode(grad_weight_case.run(_emulation, plain, data).grad_weight, dtype)
    bound = 1.01 * ROUNDING[dtype] * np.abs(expected.grad_weight)
    assert (np.abs(got - expected.grad_weight) <= bound + 200 * ACCUMULATOR_ROUNDING[dtype] * expected.magnitude).all()
