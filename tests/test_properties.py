"""What must hold whatever the numbers are; no oracle takes part."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from configurations import Case, cases
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import per_axis, side_pairs

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
EXAMPLES = settings(max_examples=60)
DOUBLE = (torch.float64,)
HARD = (torch.bool, torch.uint8)


def assert_same(results, expected, exact: bool = False):
    """Sums may be taken in another order; masks and counts are equal."""
    tolerance = dict(rtol=0, atol=0) if exact else dict(rtol=1e-9, atol=1e-9)
    for got, wanted in zip(results, expected):
        torch.testing.assert_close(got, wanted, equal_nan=True, **tolerance)


@EXAMPLES
@given(case=cases())
def test_garbage_under_holes_changes_nothing(engine, device, case: Case):
    assert_same(
        case.call(case.tensors(device, garbage=True)), case.call(case.tensors(device, garbage=False)), exact=True
    )


@EXAMPLES
@given(case=cases(dtypes=DOUBLE), fold=st.randoms(use_true_random=False))
def test_permuting_input_channels_with_their_weights(engine, device, case: Case, fold):
    assume(case.options["groups"] == 1 and not case.options["mask_channels"])
    x, mask, w, b = case.tensors(device)
    order = fold.sample(range(x.shape[1]), x.shape[1])
    permuted_mask = mask if mask is None or mask.shape[1] == 1 else mask[:, order]
    assert_same(case.call([x[:, order], permuted_mask, w[:, order], b]), case.call([x, mask, w, b]))


@EXAMPLES
@given(case=cases(dtypes=DOUBLE), fold=st.randoms(use_true_random=False))
def test_permuting_filters_permutes_outputs(engine, device, case: Case, fold):
    assume(case.options["groups"] == 1)
    x, mask, w, b = case.tensors(device)
    order = fold.sample(range(len(w)), len(w))
    output, out_mask, window_sum = case.call([x, mask, w, b])
    if case.options["mask_update"] == "confidence":
        out_mask = out_mask[:, order]
    permuted = case.call([x, mask, w[order], None if b is None else b[order]])
    assert_same(permuted, (output[:, order], out_mask, window_sum))


@EXAMPLES
@given(case=cases(dtypes=DOUBLE, mask_dtypes=HARD))
def test_all_valid_equals_the_plain_convolution(engine, device, case: Case):
    """With pad_is_valid every window is full, so every normalisation by the window's size has the scale 1."""
    x, _, w, b = case.tensors(device, garbage=False)
    pads = [side for pair in reversed(padding_pairs(case)) for side in pair]
    options = {name: case.options[name] for name in ("stride", "dilation", "groups")}
    plain = CONVOLUTIONS[case.rank](F.pad(x, pads), w, b, **options)
    shape = case.mask_shape or (1, 1, *case.shape[2:])
    masks = [None, torch.ones(shape, dtype=torch.bool, device=device)]
    masks += [masks[1].byte() * 255, masks[1].double()]
    for mask in masks:
        for normalization in ("ratio", "sqrt", "none"):
            output, out_mask, s = case.call(
                [x, mask, w, b], pad_is_valid=True, padding_mode="zeros", normalization=normalization,
                mask_update="all", mask_channels=case.options["mask_channels"], padding=padding_pairs(case),
            )  # fmt: skip
            torch.testing.assert_close(output, plain, rtol=1e-9, atol=1e-9)
            assert (out_mask == 1).all()
            assert (s == s.flatten()[0]).all() and s.flatten()[0] >= math.prod(case.kernel)


def padding_pairs(case: Case):
    stride, dilation = (per_axis(case.options[name], case.rank) for name in ("stride", "dilation"))
    return side_pairs(case.options["padding"], case.shape[2:], case.kernel, stride, dilation)


@EXAMPLES
@given(case=cases(dtypes=DOUBLE, modes=("zeros",)), image=st.integers(0, 1), extra=st.integers(0, 4))
def test_a_lone_image_equals_itself_inside_a_padded_batch(engine, device, case: Case, image, extra):
    """Beside a larger image, the room to its right masked out: the same as zero padding."""
    x, mask, w, b = case.tensors(device)
    if mask is None:
        mask = torch.ones(1, 1, *x.shape[2:], dtype=torch.bool, device=device)
    x, mask = x[:1], mask[:1]
    options = dict(padding=padding_pairs(case), pad_is_valid=False)
    batch_x = torch.full((2, x.shape[1], *(n + extra for n in x.shape[2:])), math.nan, dtype=x.dtype, device=device)
    batch_mask = torch.zeros(2, mask.shape[1], *batch_x.shape[2:], dtype=mask.dtype, device=device)
    batch_x[1 - image], batch_mask[1 - image] = 1.0, 1
    inside = (slice(image, image + 1), slice(None), *(slice(n) for n in x.shape[2:]))
    batch_x[inside], batch_mask[inside] = x, mask
    alone = case.call([x, mask, w, b], **options)
    together = case.call([batch_x, batch_mask, w, b], **options)
    crop = (slice(image, image + 1), slice(None), *(slice(n) for n in alone[0].shape[2:]))
    assert_same([t[crop] for t in together], alone)


@EXAMPLES
@given(case=cases(dtypes=DOUBLE), shift=st.integers(1, 3))
def test_translating_the_input_translates_the_output(engine, device, case: Case, shift):
    """Circular padding, so that nothing is lost at the borders; by multiples of the stride, which has to divide."""
    x, mask, w, b = case.tensors(device)
    stride = math.gcd(*x.shape[2:])
    assume(all((r - 1) <= n for r, n in zip(case.kernel, x.shape[2:])))
    options = dict(stride=stride, dilation=1, padding_mode="circular", padding=tuple((r - 1, 0) for r in case.kernel))
    dims = tuple(range(2, x.dim()))

    def roll(tensor, by):
        return None if tensor is None else tensor.roll((by,) * len(dims), dims)

    moved = case.call([roll(x, shift * stride), roll(mask, shift * stride), w, b], **options)
    still = case.call([x, mask, w, b], **options)
    assert_same(moved, [roll(t, shift) for t in still])


@EXAMPLES
@given(case=cases(), offset=st.integers(1, 3))
def test_strided_slices_of_larger_tensors(engine, device, case: Case, offset):
    """Every argument a view with gaps between its elements, the gaps full of NaN."""

    def gapped(tensor):
        if tensor is None:
            return None
        filler = math.nan if tensor.is_floating_point() else 1
        larger = torch.full(
            [2 * n + offset for n in tensor.shape], filler, dtype=tensor.dtype, device=device
        ).transpose(0, -1).contiguous().transpose(0, -1)  # fmt: skip
        view = larger[tuple(slice(offset, offset + 2 * n, 2) for n in tensor.shape)]
        view.copy_(tensor)
        return view

    tensors = case.tensors(device)
    results, expected = case.call([gapped(t) for t in tensors]), case.call(tensors)
    if case.dtype == torch.float64:
        assert_same(results, expected)
    else:
        eps = torch.finfo(case.dtype).eps
        largest = float(np.nan_to_num(expected[0].double().abs().cpu().numpy()).max(initial=1.0))
        torch.testing.assert_close(results[0], expected[0], equal_nan=True, rtol=8 * eps, atol=8 * eps * largest)
        assert_same(results[1:], expected[1:], exact=True)


@EXAMPLES
@given(case=cases(mask_dtypes=(torch.uint8,)))
def test_bool_equals_uint8_of_any_value(engine, device, case: Case):
    x, mask, w, b = case.tensors(device)
    assume(mask is not None)
    of_bytes, of_bools = case.call([x, mask, w, b]), case.call([x, mask != 0, w, b])
    assert_same([t.double() for t in of_bytes], [t.double() for t in of_bools], exact=True)
    assert of_bytes[1].max() <= 1 or not of_bytes[1].dtype == torch.uint8
