"""The options that carry a published name equal that publication's formula, written here from its mathematics."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from configurations import FUNCTIONS

from maskconv_ext.compat import OPTIONS

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
# The publications keep quotients finite with an epsilon in the denominator; small enough to vanish in float64.
EPSILON = 1e-12
TOLERANCE = dict(rtol=1e-9, atol=1e-9)


@pytest.fixture
def problem():
    """Input without garbage, since these formulas multiply; a mask with a hole wider than the windows."""

    def make(rank: int, mask_channels: int, channels: int = 4, filters: int = 6, soft: bool = False):
        rng = torch.Generator().manual_seed(rank)
        size = {1: (24,), 2: (13, 12), 3: (9, 8, 7)}[rank]
        x = torch.randn(2, channels, *size, generator=rng, dtype=torch.float64)
        m = (torch.rand(2, mask_channels, *size, generator=rng, dtype=torch.float64) < 0.6).double()
        m[:, :, : size[0] // 2] = 0
        if soft:
            m = m * torch.rand(m.shape, generator=rng, dtype=torch.float64)
        w = torch.randn(filters, channels, *(3,) * rank, generator=rng, dtype=torch.float64)
        b = torch.randn(filters, generator=rng, dtype=torch.float64)
        return x, m, w, b

    return make


def column(b: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return b.view(1, -1, *[1] * (like.dim() - 2))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("multi_channel", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_partial_convolution(engine, problem, rank, multi_channel, stride):
    """Liu et al. 2018: x' = W^T (X * M) * sum(1) / sum(M) + b where sum(M) > 0, else 0; m' = 1 where sum(M) > 0."""
    x, m, w, b = problem(rank, mask_channels=4 if multi_channel else 1)
    conv = CONVOLUTIONS[rank]
    ones = torch.ones(1, m.shape[1], *w.shape[2:], dtype=torch.float64)
    sum_m = conv(m, ones, stride=stride, padding=1)
    updated = (sum_m > 0).double()
    ratio = ones.numel() / (sum_m + EPSILON) * updated
    expected = (conv(x * m, w, stride=stride, padding=1) * ratio + column(b, x)) * updated

    mask = m if multi_channel else m.bool()
    output, out_mask = FUNCTIONS[rank](x, mask, w, b, stride=stride, padding=1, **OPTIONS["partialconv"])
    torch.testing.assert_close(output, expected, **TOLERANCE)
    torch.testing.assert_close(out_mask.double(), updated)
    assert (updated == 0).any(), "no window lies in the hole"


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("per_channel", [False, True])
def test_sparsity_invariant_convolution(engine, problem, per_channel, dilation):
    """Uhrig et al. 2017: f = sum(w x o) / (sum(o) + eps) + b, also in holes; the mask is max-pooled."""
    channels = 4 if per_channel else 1
    x, m, w, b = problem(2, mask_channels=1, channels=channels)
    o = m.expand_as(x)
    ones = torch.ones_like(w[:1])
    sum_o = F.conv2d(o, ones, padding=dilation, dilation=dilation)
    weighted = F.conv2d(x * o, w, padding=dilation, dilation=dilation)
    expected = weighted / (sum_o + EPSILON) + column(b, x)
    pooled = F.max_pool2d(F.pad(m, (dilation,) * 4), 3, stride=1, dilation=dilation)

    output, out_mask = FUNCTIONS[2](
        x, o.bool(), w, b, padding=dilation, dilation=dilation, **OPTIONS["sparsity_invariant"]
    )
    torch.testing.assert_close(output, expected, **TOLERANCE)
    torch.testing.assert_close(out_mask.double(), pooled)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_normalized_convolution_and_its_confidence(engine, problem, rank):
    """Knutsson, Westin 1993, Eldesokey et al. 2018: y = sum(w x c) / sum(w c) + b, c' = sum(w c) / sum(w)."""
    x, c, w, b = problem(rank, mask_channels=4, soft=True)
    conv = CONVOLUTIONS[rank]
    layers = [(w.abs(), b), (w.abs().transpose(0, 1).contiguous(), b[:4])]

    expected, confidence = x, c
    output, out_mask = x, c
    for weight, bias in layers:
        sum_wc = conv(confidence, weight, padding=1)
        expected = conv(expected * confidence, weight, padding=1) / (sum_wc + EPSILON) + column(bias, x)
        confidence = sum_wc / column(weight.flatten(1).sum(1), x)
        output, out_mask = FUNCTIONS[rank](output, out_mask, weight, bias, padding=1, **OPTIONS["nconv"])
        torch.testing.assert_close(output, expected, **TOLERANCE)
        torch.testing.assert_close(out_mask, confidence, **TOLERANCE)


@pytest.mark.filterwarnings("ignore:nan_treatment='interpolate', however")
@pytest.mark.parametrize(
    ("boundary", "options"),
    [
        ("fill", {"pad_is_valid": True}),  # astropy counts what it fills with, 0, as observed
        ("extend", {"padding_mode": "replicate"}),
        ("wrap", {"padding_mode": "circular"}),
    ],
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_astropy_convolve(engine, problem, rank, boundary, options):
    """NaN pixels interpolated from the kernel-weighted mean of the others; NaN where no pixel is in reach."""
    convolution = pytest.importorskip("astropy.convolution", reason="astropy, the oracle, is not installed")
    x, m, w, _ = problem(rank, mask_channels=1, channels=1, filters=1)
    x, m, w = x[:1], m[:1].bool(), w.abs()
    x = x.masked_fill(~m, torch.nan)
    expected = convolution.convolve(
        x[0, 0].numpy(),
        w[0, 0].flip(tuple(range(rank))).numpy(),  # astropy's is the convolution, not the correlation
        boundary=boundary,
        fill_value=0.0,
        nan_treatment="interpolate",
        normalize_kernel=True,
    )
    output, _ = FUNCTIONS[rank](x, m, w, padding="same", normalization="weight", fill=float("nan"), **options)
    torch.testing.assert_close(output[0, 0], torch.from_numpy(expected), equal_nan=True, **TOLERANCE)
    assert output.isnan().any(), "no window lies in the hole"


def test_formula_of_the_docstring(engine, problem):
    x, m, w, bias = problem(2, mask_channels=1)
    stride, padding, dilation, groups, fill = 2, 3, 2, 2, -1.0
    w = w[:, :2]
    s = F.conv2d(m, torch.ones(1, 1, 3, 3, dtype=torch.float64), None, stride, padding, dilation)
    a = F.conv2d(x * m, w, None, stride, padding, dilation, groups)
    expected = torch.where(s > 0, a * (9 / s) + column(bias, x), fill)

    output, out_mask, window_sum = FUNCTIONS[2](
        x, m.bool(), w, bias, stride, padding, dilation, groups, fill=fill, return_window_sum=True
    )
    torch.testing.assert_close(output, expected, **TOLERANCE)
    torch.testing.assert_close(out_mask, s > 0)
    torch.testing.assert_close(window_sum, s.int())
