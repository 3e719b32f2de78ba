"""The CPU engine's product of few rows, which reads the weight as it lies, against the reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from configurations import FUNCTIONS
from native_library import require_native

from maskconv_ext import native, reference
from maskconv_ext.arguments import check_call

FEW = 32  # rows; above, the weight is packed


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    require_native()
    monkeypatch.setattr(native, "candidate", "rows")


def check(x: torch.Tensor, m: torch.Tensor, w: torch.Tensor, b: torch.Tensor, **options: Any) -> None:
    rank = x.dim() - 2
    parts = options.get("mask_channels") or (x.shape[1],)
    x = x.masked_fill(m.repeat_interleave(torch.tensor(parts), 1) == 0, torch.nan)
    got = FUNCTIONS[rank](x, m, w, b, return_window_sum=True, **options)
    given = {
        "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "normalization": "ratio", "mask_update": "any",
        "fill": 0.0, "pad_is_valid": False, "padding_mode": "zeros", "mask_channels": None,
    } | options  # fmt: skip
    expected = reference.masked_conv(x, m, w, b, check_call("test", rank, x, m, w, b, **given)[0])
    tolerance = 1e-12 if x.dtype == torch.float64 else 1e-4
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels, filters, groups", [(1, 1, 1), (16, 7, 1), (33, 20, 1), (12, 18, 3), (70, 5, 5)])
def test_tails_of_vectors_filters_and_tiles(channels, filters, groups, dtype, memory_format, threads):
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for live in (0, 1, 4, 5, FEW, FEW + 1):
            x = torch.randn(2, channels, 8, 9, dtype=dtype).to(memory_format=memory_format)
            w = torch.randn(filters, channels // groups, 3, 3, dtype=dtype).to(memory_format=memory_format)
            b = torch.randn(filters, dtype=dtype)
            m = torch.zeros(2 * 8 * 9, dtype=torch.bool)
            m[torch.randperm(m.numel())[:live]] = True
            m = m.reshape(2, 1, 8, 9)
            check(x, m, w, b, padding=1, groups=groups, mask_update="center", fill="bias")
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2, "padding": 2, "dilation": 2},
        {"normalization": "weight", "mask_update": "confidence"},
        {"normalization": "sqrt", "mask_update": 0.5, "fill": 2.0, "pad_is_valid": True, "padding": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_options(rank, options):
    torch.manual_seed(0)
    size = {1: [30], 2: [6, 5], 3: [3, 4, 5]}[rank]
    x, w, b = torch.randn(1, 20, *size), torch.rand(6, 20, *[2] * rank) + 0.1, torch.randn(6)
    check(x, torch.rand(1, 1, *size) < 0.6, w, b, **options)


def test_parts_of_a_mask():
    torch.manual_seed(0)
    x, w, b = torch.randn(2, 24, 4, 4), torch.randn(9, 24, 3, 3), torch.randn(9)
    m = torch.rand(2, 2, 4, 4) < 0.5
    m[1, 0] = False
    check(x, m, w, b, padding=1, mask_channels=(17, 7))
