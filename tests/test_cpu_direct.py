"""The CPU engine's own convolution of planes, for layers of few channels, against the framework's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from configurations import FUNCTIONS
from native_library import require_native

from maskconv_ext import native

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
# Channels, filters and groups it takes: filters in pairs, and one left over.
LAYERS = {
    torch.float64: [(1, 1, 1), (1, 3, 1), (8, 5, 1), (6, 4, 2), (3, 3, 3)],
    torch.float32: [(1, 1, 1), (4, 2, 1)],
}


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    require_native()
    monkeypatch.setattr(native, "candidate", "direct")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("dtype, layer", [(dtype, layer) for dtype, layers in LAYERS.items() for layer in layers])
def test_edges_of_vectors(rank, dtype, layer):
    """Lines that end before, at and after a vector, and four of them; taps that reach far beyond either end."""
    torch.manual_seed(0)
    channels, filters, groups = layer
    lanes = 64 // torch.finfo(dtype).bits * 8
    for width in (1, lanes - 1, lanes, lanes + 1, 4 * lanes - 1, 4 * lanes, 4 * lanes + 1, 5 * lanes + 3):
        for taps, dilation, padding in ((1, 1, 0), (3, 1, 1), (5, 2, 7), (2, 3, 3)):
            size, kernel = [4, 5, width][-rank:], [2, 3, taps][-rank:]
            stride, pads, dilations = [2, 2, 1][-rank:], [1, 2, padding][-rank:], [1, 2, dilation][-rank:]
            x = torch.randn(2, channels, *size, dtype=dtype)
            w = torch.randn(filters, channels // groups, *kernel, dtype=dtype)
            options = (None, stride, pads, dilations, groups)
            output, valid = FUNCTIONS[rank](x, None, w, *options, normalization="none")
            expected = CONVOLUTIONS[rank](x, w, *options).where(valid, 0.0)
            tolerance = 100 * torch.finfo(dtype).eps
            torch.testing.assert_close(output, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mask", ["bool", "soft", "one for the batch", "far apart"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"normalization": "weight", "fill": "bias"},
        {"mask_update": "confidence", "fill": 3.0, "normalization": "sqrt"},
        {"normalization": "weight", "mask_update": "center", "pad_is_valid": True},
    ],
    ids=str,
)
def test_agrees_with_rows(mask, options, monkeypatch):
    torch.manual_seed(0)
    x, w, b = torch.randn(2, 4, 9, 140), torch.rand(6, 2, 3, 3) + 0.1, torch.randn(6)
    m = torch.rand(1 if mask == "one for the batch" else 2, 1, 9, 140).round(decimals=1)
    m = m if mask == "soft" else m < 0.5
    if mask == "far apart":  # lines without a valid output, and with several spans of them
        m[:, :, :4] = False
        m[..., 3:60] = m[..., 61:130] = False
    x = x.masked_fill(m == 0, torch.nan)
    results = []
    for route in ("direct", "rows"):
        monkeypatch.setattr(native, "candidate", route)
        results.append(FUNCTIONS[2](x, m, w, b, padding=1, groups=2, return_window_sum=True, **options))
    for got, expected in zip(*results):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_channels_last_and_threads():
    x = torch.randn(2, 4, 37, 41, dtype=torch.float64).to(memory_format=torch.channels_last)
    w = torch.randn(6, 4, 3, 3, dtype=torch.float64)
    expected = F.conv2d(x, w, padding=1)
    for threads in (1, 3):
        torch.set_num_threads(threads)
        output, _ = FUNCTIONS[2](x, None, w, padding=1, normalization="none")
        assert output.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(output, expected)
