"""torch.library.opcheck on every operator of the native library."""

from __future__ import annotations

import pytest
import torch
from native_library import require_native

from maskconv_ext import masked_conv2d, native, tuning
from maskconv_ext.reference import repeat_parts

SIZES = {1: (7,), 2: (6, 5), 3: (4, 3, 5)}
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}
# Rank, groups, mask ("parts": two mask channels), channels_last, dtype, and the options of the forward operator.
FORWARD = ("ratio", "any", 0.0, 0.0, False)
SAMPLES = {
    "1-D": (1, 1, "bool", False, torch.float32, FORWARD),
    "2-D": (2, 2, "uint8", False, torch.float32, ("mean", "all", 0.0, 1.5, True)),
    "2-D channels_last": (2, 1, "bool", True, torch.bfloat16, ("sqrt", "threshold", 0.5, None, False)),
    "2-D no mask": (2, 1, None, False, torch.float64, ("none", "center", 0.0, 0.0, False)),
    "2-D fraction": (2, 1, "bool", False, torch.float32, ("ratio", "fraction", 0.0, 0.0, False)),
    "2-D parts": (2, 1, "parts", False, torch.float32, FORWARD),
    "2-D parts of groups": (2, 2, "parts", False, torch.float32, FORWARD),
    "2-D soft": (2, 1, "soft", False, torch.float32, FORWARD),
    "2-D soft fraction": (2, 1, "soft", True, torch.float32, ("mean", "fraction", 0.0, 0.0, False)),
    "3-D channels_last": (3, 1, "bool", True, torch.float32, FORWARD),
}
# Of the forward alone: with sums of weights.
WEIGHTED = {
    "1-D weight": (1, 2, "bool", False, torch.float64, ("weight", "any", 0.0, 1.5, False)),
    "2-D weight": (2, 1, "soft", True, torch.bfloat16, ("weight", "all", 0.0, None, False)),
    "2-D weight, no mask": (2, 1, None, False, torch.float32, ("weight", "any", 0.0, 0.0, False)),
    "2-D confidence": (2, 2, "parts", True, torch.float32, ("ratio", "any", 0.0, 0.0, False)),
    "3-D weight": (3, 1, "bool", True, torch.float32, ("weight", "center", 0.0, 0.0, True)),
}


def arguments(op: str, sample: str, device: str):
    """What the schema of `op` takes, as in csrc/ops/library.cpp."""
    rank, groups, form, channels_last, dtype, forward = {**SAMPLES, **WEIGHTED}[sample]
    memory_format = FORMATS[rank] if channels_last else torch.contiguous_format
    stride, padding, dilation = [1] * rank, [1, 0] * rank, [1] * rank

    def leaf(*size, layout=torch.contiguous_format):
        return torch.randn(size, device=device, dtype=dtype).contiguous(memory_format=layout).requires_grad_()

    x, w = leaf(2, 4, *SIZES[rank], layout=memory_format), leaf(4, 4 // groups, *(3,) * rank)
    mask_channels = [1, 3] if form == "parts" else []
    mask = None if form is None else torch.rand(2, len(mask_channels) or 1, *SIZES[rank], device=device)
    if form == "uint8":
        mask = (mask < 0.6).byte()
    elif form in ("bool", "parts"):
        mask = mask < 0.6
    geometry = (stride, padding, dilation, groups, mask_channels)
    if op == "forward":
        normalization, update, threshold, fill, pad_is_valid = forward
        b = leaf(4)
        given = (x, mask, w, b, *geometry, normalization, update, threshold, fill, pad_is_valid, channels_last, True)
        if sample not in WEIGHTED:
            return given
        sums = torch.rand(1 if mask is None else 2, 4, *(size - 1 for size in SIZES[rank]), device=device) + 0.5
        sums = sums * (torch.rand(sums.shape, device=device) < 0.8)
        return (*given, None, None, sums.to(torch.float64 if dtype == torch.float64 else None).requires_grad_())
    grad = leaf(2, 4, *(size - 1 for size in SIZES[rank]), layout=memory_format)
    window_channels = groups if form == "parts" else 1
    valid = torch.rand(1 if mask is None else 2, window_channels, *grad.shape[2:], device=device) < 0.7
    if op in ("channel_dot", "select_"):
        if mask is None:
            mask = torch.ones(1, 1, *SIZES[rank], device=device)
        x = x.detach() if op == "select_" else x  # no gradient goes through what is done in place
        factors, mask = ((x,), mask.float()) if op == "select_" else ((x, leaf(*x.shape)), mask != 0)
        return (*factors, mask, mask_channels)
    if op == "grad_bias":
        return (grad, None if forward[3] is None else valid)
    scale = None
    if forward[0] != "none":
        sums = torch.float64 if dtype == torch.float64 else torch.float32
        scale = torch.where(valid, 3**rank * torch.rand(valid.shape, device=device, dtype=sums), 0.0).requires_grad_()
    if op == "grad_input":
        return (grad, valid, scale, mask, w, list(x.shape), *geometry, channels_last, True)
    if op == "forward_row_order":
        return (mask, 2, w.shape[2:], stride, padding, dilation, *forward[1:3], forward[4])
    if op == "grad_input_row_order":
        return (valid, mask, 2, w.shape[2:], stride, padding, dilation)
    assert op == "grad_weight", f"no sample is written for {op}"
    return (grad, valid, scale, x, mask, list(w.shape), *geometry, True)


def registered_operators() -> set[str]:
    prefix = "maskconv_ext::"
    return {name.removeprefix(prefix) for name in torch._C._dispatch_get_all_op_names() if name.startswith(prefix)}


OPERATORS = ("forward", "grad_bias", "channel_dot", "select_", "grad_input", "grad_weight")
ROW_ORDERS = ("forward_row_order", "grad_input_row_order")
ABOUT = ("candidates", "cpu_route", "build_info")  # what they say needs no tensors


def test_every_operator_is_checked():
    require_native()
    assert registered_operators() == {*OPERATORS, *ROW_ORDERS, *ABOUT}


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("op", OPERATORS)
def test_opcheck(device, op, sample):
    require_native()
    torch.manual_seed(0)
    torch.library.opcheck(getattr(torch.ops.maskconv_ext, op).default, arguments(op, sample, device))


@pytest.mark.parametrize("sample", WEIGHTED)
def test_opcheck_of_sums_of_weights(device, sample):
    require_native()
    torch.manual_seed(0)
    torch.library.opcheck(torch.ops.maskconv_ext.forward.default, arguments("forward", sample, device))


def test_sums_of_weights_that_are_refused(device):
    require_native()
    *given, sums = arguments("forward", "3-D weight", device)
    for wrong, message in (
        (None, "got None, needs a tensor for normalization='weight'"),
        (sums[:1], "needs the batch size of the mask, or 1, and the other sizes of the output"),
        (sums.double(), "needs float64 for float64, else float32"),
    ):
        with pytest.raises(RuntimeError, match=f"weight_sum: {message}"):
            torch.ops.maskconv_ext.forward(*given, wrong)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)
@pytest.mark.parametrize("sample", ["1-D", "2-D", "2-D channels_last", "2-D fraction", "3-D channels_last"])
@pytest.mark.parametrize("op", ROW_ORDERS)
def test_opcheck_of_row_orders(device, op, sample):
    """Of operators that only CUDA has; the samples with a hard mask shared by all channels."""
    require_native()
    torch.manual_seed(0)
    torch.library.opcheck(getattr(torch.ops.maskconv_ext, op).default, arguments(op, sample, device))


def test_factors_and_masks_that_are_refused(device):
    require_native()
    ops = torch.ops.maskconv_ext
    a, b, mask, parts = (
        t.detach() if isinstance(t, torch.Tensor) else t for t in arguments("channel_dot", "2-D parts", device)
    )
    for wrong, message in (
        ((a, b[:1], mask, parts), "b: needs the shape and dtype of a"),
        ((a, b.double(), mask, parts), "b: needs the shape and dtype of a"),
        ((a, b, mask.float(), parts), "mask: needs bool or uint8"),
        ((a, b, mask, [2, 1]), "mask_channels: got a sum of 3, needs 4"),
        ((a, b, mask[:, :1], parts), "mask: got 1 channels, needs one for each entry of mask_channels"),
    ):
        with pytest.raises(RuntimeError, match=message):
            ops.channel_dot(*wrong)
    for wrong, message in (
        ((a, mask, parts), "mask: needs a floating dtype"),
        ((a[:, :, 1:, 1:], mask[:, :, 1:, 1:].float(), parts), "input: needs to be contiguous, or channels_last"),
    ):
        with pytest.raises(RuntimeError, match=message):
            ops.select_(*wrong)


@pytest.mark.parametrize("layouts", ["first first", "last last", "first last"])
@pytest.mark.parametrize("parts", [[], [1, 5], [1] * 6], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dots_and_selection(device, dtype, parts, layouts):
    """In every layout, over more positions than a block has, and over garbage in the holes."""
    require_native()
    torch.manual_seed(0)
    for of_mask in (1, 3):
        m = torch.rand(of_mask, len(parts) or 1, 17, 31, device=device, dtype=torch.float64).sub(0.4).relu()
        per_channel = repeat_parts(m, parts).expand(3, 6 if parts else 1, 17, 31).expand(3, 6, 17, 31)
        a, b = (
            torch.where(per_channel != 0, torch.randn(3, 6, 17, 31, device=device), torch.nan)
            .to(dtype)
            .contiguous(memory_format=torch.channels_last if layout == "last" else torch.contiguous_format)
            for layout in layouts.split()
        )
        products = torch.where(per_channel != 0, a.double() * b.double(), 0.0)
        expected = torch.cat([part.sum(1, keepdim=True) for part in products.split(parts or [6], 1)], 1)
        got = torch.ops.maskconv_ext.channel_dot(a, b, m != 0, parts)
        assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)
        stride, expected = b.stride(), torch.where(per_channel != 0, b.double() * per_channel, 0.0)
        torch.ops.maskconv_ext.select_(b, m, parts)
        assert b.stride() == stride
        torch.testing.assert_close(b, expected.to(dtype))


@pytest.mark.parametrize("parts", [[], [1, 3]], ids=str)
def test_gradients_of_dots_over_garbage(device, parts):
    """To the second order: what lies in the holes changes none of them."""
    require_native()
    torch.manual_seed(0)
    m = torch.rand(2, len(parts) or 1, 3, 5, device=device) < 0.5
    holes = ~repeat_parts(m, parts).expand(2, 4, 3, 5)
    factors = [torch.randn(2, 4, 3, 5, device=device, dtype=torch.float64) for _ in range(2)]
    of_dots = torch.randn(2, len(parts) or 1, 3, 5, device=device, dtype=torch.float64)
    found = []
    for garbage in (0.0, torch.nan, torch.inf):
        leaves = [factor.masked_fill(holes, garbage).requires_grad_() for factor in factors]
        grad = torch.where(m, of_dots, garbage).requires_grad_()
        dots = torch.ops.maskconv_ext.channel_dot(*leaves, m, parts)
        first = torch.autograd.grad(dots, leaves, grad, create_graph=True)
        second = torch.autograd.grad([(g**2).sum() for g in first], [*leaves, grad])
        found.append((*first, *second))
    for other in found[1:]:
        for got, expected in zip(other, found[0]):
            assert torch.equal(got, expected)


CANDIDATES = {"cpu": ("rows",), "cuda": ("composite",)}
WITH_CANDIDATES = ("forward", "grad_input", "grad_weight")


@pytest.mark.parametrize(
    "sample", [name for name, (*_, dtype, _) in {**SAMPLES, **WEIGHTED}.items() if dtype != torch.bfloat16]
)
def test_candidates_agree(device, sample):
    require_native()
    torch.manual_seed(0)
    given = arguments("forward", sample, device)
    chosen = torch.ops.maskconv_ext.forward(*given)
    for candidate in CANDIDATES[device]:
        for got, expected in zip(torch.ops.maskconv_ext.forward(*given, candidate=candidate), chosen):
            torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)
@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("op", WITH_CANDIDATES)
def test_every_candidate_of_cuda_agrees(device, op, sample):
    """Also those that run only where they are named."""
    require_native()
    torch.manual_seed(0)
    given = arguments(op, sample, device)
    operator = getattr(torch.ops.maskconv_ext, op)
    expected = operator(*given, candidate="kernels")
    # Products of TF32 and of bfloat16 are rounded alike; what the composite rounds between its passes is not.
    tolerance = 3e-2 if given[0].dtype == torch.bfloat16 else 3e-3 if given[0].dtype == torch.float32 else 1e-9
    for candidate in {"composite", *tuning.worth_trying(tuning.candidates(op, given))}:
        torch.testing.assert_close(operator(*given, candidate=candidate), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("normalization", ["ratio", "mean", "sqrt", "none"])
@pytest.mark.parametrize("mask_update", ["any", "all", "center", "fraction"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
def test_without_holes_the_dense_route_agrees(normalization, mask_update, memory_format, monkeypatch):
    """Borders are where it has something to finish; with padding beyond the kernel some outputs have no window."""
    require_native()
    torch.manual_seed(0)
    x = torch.randn(2, 5, 9, 8).to(memory_format=memory_format)
    mask = torch.ones(2, 1, 9, 8, dtype=torch.bool)
    w, huge = torch.randn(6, 5, 3, 4), torch.full((6,), 1e4)
    for bias in (None, torch.randn(6), huge, torch.tensor([1.0, torch.inf, -torch.inf, torch.nan, 0.0, 2.0])):
        for padding, fill in ((1, 0.0), ([(4, 0), (1, 5)], "bias"), ([(3, 2), (0, 4)], 7.0)):
            results = []
            for route in ("rows", "dense"):
                monkeypatch.setattr(native, "candidate", route)
                results.append(
                    masked_conv2d(
                        x, mask, w, bias, padding=padding, fill=fill, normalization=normalization,
                        mask_update=mask_update, return_window_sum=True,
                    )
                )  # fmt: skip
            for got, expected in zip(*results):
                assert got.is_contiguous(memory_format=memory_format)
                torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_candidates_that_are_refused(device):
    require_native()
    for op in WITH_CANDIDATES:
        needs = "one of '', 'rows', 'dense', 'direct'" if op == "forward" else "''"
        known = f"candidate: got 'fast', needs {needs}" if device == "cpu" else "named 'fast'; there are mma_"
        with pytest.raises((RuntimeError, ValueError), match=known):
            getattr(torch.ops.maskconv_ext, op)(*arguments(op, "1-D", device), candidate="fast")
    if device == "cpu":
        with pytest.raises(RuntimeError, match="'dense', which computes float32 without holes only"):
            torch.ops.maskconv_ext.forward(*arguments("forward", "2-D channels_last", device), candidate="dense")
        for sample in ("2-D channels_last", "2-D parts"):
            with pytest.raises(RuntimeError, match="'direct', which computes float32 and float64 with stride 1"):
                torch.ops.maskconv_ext.forward(*arguments("forward", sample, device), candidate="direct")
