"""Sizes and masks at the ends of their ranges."""

from __future__ import annotations

import math

import oracle
import pytest
import torch
import torch.nn.functional as F
from configurations import FUNCTIONS

from maskconv_ext import masked_conv1d, masked_conv2d

SIZES = {1: (5,), 2: (4, 5), 3: (3, 4, 2)}


@pytest.mark.parametrize("mask", [None, "bool", "soft", "shared"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_empty_batch(engine, device, rank, mask):
    x = torch.zeros(0, 4, *SIZES[rank], device=device, requires_grad=True)
    w = torch.randn(2, 4, *(3,) * rank, device=device, requires_grad=True)
    b = torch.randn(2, device=device, requires_grad=True)
    m = torch.ones(1 if mask == "shared" else 0, 1, *SIZES[rank], device=device)
    m = {None: None, "bool": m.bool(), "soft": m, "shared": m.bool()}[mask]
    output, out_mask, window_sum = FUNCTIONS[rank](x, m, w, b, padding=1, return_window_sum=True)
    assert output.shape == (0, 2, *SIZES[rank])
    batch = 1 if mask in (None, "shared") else 0
    assert out_mask.shape == window_sum.shape == (batch, 1, *SIZES[rank])
    output.sum().backward()
    assert x.grad.shape == x.shape and not w.grad.any() and not b.grad.any()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize(("fill", "expected"), [(0.0, 0.0), (-2.0, -2.0), (math.nan, math.nan), ("bias", None)])
def test_nothing_valid(engine, device, dtype, fill, expected):
    x = torch.full((2, 3, 6, 7), math.nan, device=device, requires_grad=True)
    m = torch.zeros(2, 1, 6, 7, dtype=dtype, device=device)
    w = torch.randn(4, 3, 3, 3, device=device, requires_grad=True)
    b = torch.randn(4, device=device, requires_grad=True)
    output, out_mask, s = masked_conv2d(x, m, w, b, padding=1, fill=fill, return_window_sum=True)
    wanted = b.detach().view(1, 4, 1, 1) if expected is None else torch.tensor(expected, device=device)
    torch.testing.assert_close(output, wanted.expand_as(output), rtol=0, atol=0, equal_nan=True)
    assert not out_mask.any() and not s.any() and out_mask.dtype == dtype
    output.sum().backward()
    assert not x.grad.any() and not w.grad.any()
    assert torch.equal(b.grad, torch.full_like(b, 84.0 if fill == "bias" else 0.0))


@pytest.mark.parametrize("normalization", ["ratio", "mean", "sqrt", "none"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_kernel_of_one(engine, device, rank, stride, normalization):
    """A window is one pixel: the masked pixels of a plain product, and the mask itself."""
    x = torch.randn(2, 3, *SIZES[rank], dtype=torch.float64, device=device)
    m = torch.rand(2, 1, *SIZES[rank], device=device) < 0.5
    w = torch.randn(4, 3, *(1,) * rank, dtype=torch.float64, device=device)
    output, out_mask = FUNCTIONS[rank](x.masked_fill(~m, math.nan), m, w, stride=stride, normalization=normalization)
    at = (slice(None), slice(None), *(slice(None, None, stride),) * rank)
    product = torch.einsum("kc,nc...->nk...", w.flatten(1), x)[at]
    torch.testing.assert_close(output, torch.where(m[at], product, 0.0))
    assert torch.equal(out_mask, m[at])


def test_no_mask_counts_the_border(engine, device):
    """mask=None: only padding is missing, and the ratio makes up for it."""
    x, w = torch.ones(1, 1, 4, 4, device=device), torch.ones(1, 1, 3, 3, device=device)
    output, out_mask, s = masked_conv2d(x, None, w, padding=1, return_window_sum=True)
    torch.testing.assert_close(output, torch.full_like(output, 9.0))
    assert s[0, 0].tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]]
    assert out_mask.dtype == torch.bool and out_mask.all()


@pytest.mark.parametrize(("size", "kernel"), [((13, 14), (11, 11)), ((90,), (87,)), ((8, 9, 7), (7, 7, 7))], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_large_kernels(engine, device, size, kernel, dtype):
    """Windows of 121, 87 and 343 taps, more than one or several words of bits hold."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, *size, generator=rng, dtype=torch.float64)
    m = torch.rand(1, 1, *size, generator=rng) < 0.3
    w = torch.randn(2, 2, *kernel, generator=rng, dtype=torch.float64)
    x, w = x.to(dtype).masked_fill(~m, math.nan), w.to(dtype)
    expected = oracle.masked_conv(x.double().numpy(), m.numpy(), w.double().numpy(), None, padding=1)
    output, _, s = FUNCTIONS[len(size)](x.to(device), m.to(device), w.to(device), padding=1, return_window_sum=True)
    scale = float(abs(expected.output).max())
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(
        output.cpu().double(), torch.from_numpy(expected.output), rtol=16 * eps, atol=16 * eps * scale
    )
    assert torch.equal(s.cpu(), torch.from_numpy(expected.window_sum).int())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("normalization", ["ratio", "mean", "sqrt", "none"])
def test_a_lone_valid_pixel_in_a_large_window(engine, device, dtype, normalization):
    """W / s is 1089, and 0 / s would be NaN: neither may overflow, forward or backward, in 16 bits."""
    x = torch.full((1, 1, 33, 33), math.nan, dtype=dtype, device=device)
    m = torch.zeros(1, 1, 33, 33, dtype=torch.bool, device=device)
    m[0, 0, 16, 16] = True
    x[0, 0, 16, 16] = 64.0
    x.requires_grad_()
    w = torch.full((1, 1, 33, 33), 0.5, dtype=dtype, device=device, requires_grad=True)
    output, _ = masked_conv2d(x, m, w, padding=32, normalization=normalization)
    scale = {"ratio": 1089.0, "mean": 1.0, "sqrt": 33.0, "none": 1.0}[normalization]
    expected = torch.zeros(1, 1, 65, 65, dtype=dtype, device=device)
    expected[0, 0, 16:49, 16:49] = 32.0 * scale
    torch.testing.assert_close(output, expected)
    output[0, 0, 32, 32].backward()
    assert x.grad[0, 0, 16, 16] == torch.tensor(0.5 * scale, dtype=dtype)
    assert x.grad.count_nonzero() == 1 and w.grad.count_nonzero() == 1


def test_a_window_that_sums_past_65504(engine, device):
    """float16: partial sums exceed the largest number it has, their mean does not."""
    x = torch.full((1, 1, 4096), 100.0, dtype=torch.float16, device=device)
    w = torch.ones(1, 1, 2048, dtype=torch.float16, device=device)
    m = torch.ones(1, 1, 4096, dtype=torch.float16, device=device)
    for mask in (None, m.bool(), m):
        output, _, s = masked_conv1d(x, mask, w, normalization="mean", return_window_sum=True)
        assert (output == 100.0).all() and (s == 2048).all()


def test_an_input_gradient_whose_scaled_factors_exceed_65504(engine, device):
    """float16: the scale times the incoming gradient is too large, their product with the weight is not."""
    x = torch.ones(1, 1, 11, 11, dtype=torch.float16, device=device, requires_grad=True)
    m = torch.zeros(1, 1, 11, 11, dtype=torch.bool, device=device)
    m[0, 0, 5, 5] = True
    w = torch.full((1, 1, 11, 11), 0.01, dtype=torch.float16, device=device)
    masked_conv2d(x, m, w)[0].backward(torch.full((1, 1, 1, 1), 2000.0, dtype=torch.float16, device=device))
    torch.testing.assert_close(x.grad[0, 0, 5, 5].item(), 121 * 0.01 * 2000, rtol=1e-3, atol=0)


def test_more_threads_than_rows_and_one_column(engine, device):
    x = torch.randn(1, 1, 1, 1, device=device)
    m = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
    w = torch.randn(1, 1, 3, 3, device=device)
    output, out_mask = masked_conv2d(x, m, w, padding=1)
    torch.testing.assert_close(output, F.conv2d(x, w, padding=1) * 9)
    assert out_mask.item() is True
