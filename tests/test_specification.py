"""The op against the specification as loops in float64, on a thousand random configurations."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch
from configurations import Case, cases
from hypothesis import given, settings
from hypothesis import strategies as st

from maskconv_ext import native
from maskconv_ext.arguments import is_soft

UNIT = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24, torch.float64: 2.0**-53}
# Roundings besides those of the sum: the scale (division, square root), its product, the bias, the masked product.
EXTRA_ROUNDINGS = 8


def expected_dtypes(case: Case) -> tuple[torch.dtype, torch.dtype, torch.dtype]:
    hard = case.mask_dtype in (None, torch.bool, torch.uint8)
    if not hard:
        out_mask = case.mask_dtype
    elif case.options["mask_update"] in ("fraction", "confidence"):
        out_mask = torch.float32
    else:
        out_mask = case.mask_dtype or torch.bool
    sums = torch.float64 if case.dtype == torch.float64 else torch.float32
    return case.dtype, out_mask, torch.int32 if hard else sums


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().double().numpy()


def check(case: Case, device: str, candidate: str) -> None:
    tensors = case.tensors(device)
    results = case.call(tensors)
    expected = case.expected(tensors)
    assert tuple(t.dtype for t in results) == expected_dtypes(case)
    output, out_mask, window_sum = map(array, results)

    assert output.shape == expected.output.shape
    accumulator = UNIT[torch.float64 if case.dtype == torch.float64 else torch.float32]
    bound = (expected.terms + EXTRA_ROUNDINGS) * accumulator * expected.magnitude
    bound += 1.01 * UNIT[case.dtype] * (np.abs(expected.output) + bound)
    if device == "cuda" and (is_soft(tensors[1]) or candidate == "composite"):
        # What is selected is rounded to the input's type, and so are the sums between the passes of the composite.
        bound += 2 * UNIT[case.dtype] * expected.magnitude
    bound[np.isnan(expected.output)] = 0.0  # a fill
    assert (np.isnan(output) == np.isnan(expected.output)).all()
    error = np.nan_to_num(np.abs(output - expected.output))
    assert (error <= bound).all(), f"off by {error.max()} where {bound.flat[error.argmax()]} is allowed"

    # Exact, since weights and masks lie on a grid; only the quotient of a soft output mask is rounded.
    np.testing.assert_array_equal(window_sum, expected.window_sum)
    rounding = max(accumulator, UNIT[results[1].dtype] if results[1].is_floating_point() else 0.0)
    np.testing.assert_allclose(out_mask, expected.out_mask, rtol=4 * rounding, atol=0)


@settings(max_examples=1000)
@given(case=cases(), chosen=st.booleans())
def test_equals_the_loops(engine, device, monkeypatch, case, chosen):
    candidate = "" if chosen else {"cpu": "rows", "cuda": "composite"}[device]
    monkeypatch.setattr(native, "candidate", candidate)
    check(case, device, candidate)


def test_the_loops_on_a_case_done_by_hand():
    """1-D, so that every number can be followed: kernel (1, 2, 3), a hole at the second of four pixels."""
    x = np.array([[[1.0, np.nan, 3.0, 4.0]]])
    mask = np.array([[[True, False, True, True]]])
    w, b = np.array([[[1.0, 2.0, 3.0]]]), np.array([10.0])
    result = oracle.masked_conv(x, mask, w, b, padding=1)
    # sums 2*1, 1*1 + 3*3, 2*3 + 3*4, 1*3 + 2*4; one, two, two and two of three taps valid
    np.testing.assert_array_equal(result.window_sum, [[[1, 2, 2, 2]]])
    np.testing.assert_allclose(result.output, [[[2 * 3 + 10, 10 * 1.5 + 10, 18 * 1.5 + 10, 11 * 1.5 + 10]]])
    weighted = oracle.masked_conv(x, mask, w, b, padding=1, normalization="weight", mask_update="confidence")
    np.testing.assert_allclose(weighted.output, [[[2 / 2 + 10, 10 / 4 + 10, 18 / 5 + 10, 11 / 3 + 10]]])
    np.testing.assert_allclose(weighted.out_mask, [[[2 / 6, 4 / 6, 5 / 6, 3 / 6]]])
    strict = oracle.masked_conv(x, mask, w, b, padding=1, pad_is_valid=True, mask_update="all", fill=-1.0)
    np.testing.assert_allclose(strict.output, [[[-1, -1, -1, 11 + 10]]])


@pytest.mark.parametrize(
    ("mode", "sources"),
    [
        ("zeros", [None, None, 0, 1, 2, None, None]),
        ("reflect", [2, 1, 0, 1, 2, 1, 0]),
        ("replicate", [0, 0, 0, 1, 2, 2, 2]),
        ("circular", [1, 2, 0, 1, 2, 0, 1]),
    ],
)
def test_the_loops_pad_as_named(mode, sources):
    assert [oracle.source(p, 3, mode) for p in range(-2, 5)] == sources
