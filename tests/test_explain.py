"""What explain() says is what the planner does."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

import maskconv_ext
from maskconv_ext import explain, native
from maskconv_ext.explain import DEVICES, PASSES, Explanation

needs_cuda_build = pytest.mark.skipif(not native.has_cuda, reason="the library was built without CUDA")


def meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def of_layer(channels: int = 64, filters: int = 64, groups: int = 1, device: object = "H200", **options) -> Explanation:
    dtype = options.pop("dtype", torch.bfloat16)
    x, m = meta(256, channels, 56, 56, dtype=dtype), meta(256, 1, 56, 56, dtype=torch.bool)
    w = meta(filters, channels // groups, 3, 3, dtype=dtype)
    return explain(x, m, w, padding=1, groups=groups, device=device, **options)


@needs_cuda_build
def test_every_pass_has_its_candidates_the_fastest_first() -> None:
    explained = of_layer()
    assert explained.engine == "CUDA"
    assert tuple(p.name for p in explained.passes) == PASSES
    for p in explained.passes:
        estimates = [c.microseconds for c in p.candidates if c.microseconds is not None]
        assert len(estimates) >= 3 and estimates == sorted(estimates)
        cannot = [c.microseconds is None for c in p.candidates]
        assert cannot == sorted(cannot), "those that cannot run come last"
    assert any("float64 only" in c.reason for c in explained.passes[0].candidates)


@needs_cuda_build
def test_estimates_follow_the_device() -> None:
    fast, slow = of_layer(), of_layer(device=dataclasses.replace(DEVICES["H200"], clock_ghz=0.99))
    assert slow.passes[0].candidates[0].microseconds > 1.5 * fast.passes[0].candidates[0].microseconds


@needs_cuda_build
@pytest.mark.parametrize("precision, kernel", [("tf32", "tf32"), ("ieee", "simt")])
def test_float32_follows_the_setting_of_convolutions(precision: str, kernel: str) -> None:
    conv = torch.backends.cudnn.conv
    before, conv.fp32_precision = conv.fp32_precision, precision
    try:
        explained = of_layer(dtype=torch.float32)
    finally:
        conv.fp32_precision = before
    for p in explained.passes:
        assert next(c for c in p.candidates if c.name != "composite").name.startswith(kernel)


@needs_cuda_build
def test_the_table_can_be_read() -> None:
    text = str(of_layer())
    assert text.count("chosen:") == len(PASSES)
    assert text.splitlines()[0] == "masked_conv2d: bfloat16 (256, 64, 56, 56) with (64, 64, 3, 3) on H200"


def test_on_the_cpu_it_names_the_route() -> None:
    x, w = torch.randn(1, 16, 20, 20), torch.randn(20, 16, 3, 3)
    full, empty = torch.ones(1, 1, 20, 20, dtype=torch.bool), torch.zeros(1, 1, 20, 20, dtype=torch.bool)
    assert "route dense" in explain(x, full, w).reason
    assert "route rows" in explain(x, empty, w).reason
    assert "route dense" in explain(x, None, w).reason
    assert "route rows" in explain(x.bfloat16(), full, w.bfloat16()).reason
    assert "route rows" in explain(x, full, w, normalization="weight").reason
    assert "route direct" in explain(x[:, :1].double(), empty, w[:1, :1].double()).reason


def test_what_runs_on_the_reference_says_why() -> None:
    x, w = meta(1, 2, 6, 6), meta(3, 2, 3, 3)
    explained = explain(x, None, w)
    assert explained.engine == "reference" and "no engine for meta devices" in explained.reason
    assert not explained.passes


@needs_cuda_build
def test_sums_of_weights_are_read_by_every_candidate() -> None:
    plain, weighted = of_layer(), of_layer(normalization="weight")
    assert weighted.engine == "CUDA" and "sums the weights" in weighted.reason
    assert "sums the weights" not in plain.reason
    assert "sums the weights" in of_layer(mask_update="confidence").reason
    for name in ("mma_256x64x32_s4", "simt_64x64x8_s2"):
        times = [next(c for c in e.passes[0].candidates if c.name == name).microseconds for e in (plain, weighted)]
        assert times[0] <= times[1]
    assert plain.passes[1:] == weighted.passes[1:]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_rank(rank: int) -> None:
    x, w = torch.randn(1, 2, *[6] * rank), torch.randn(3, 2, *[3] * rank)
    assert explain(x, None, w, padding="same").call.startswith(f"masked_conv{rank}d")


def test_it_takes_what_the_call_takes() -> None:
    x, w = torch.randn(1, 2, 6, 6), torch.randn(3, 2, 3, 3)
    with pytest.raises(ValueError, match="masked_conv2d: normalization: got 'max', needs one of"):
        explain(x, None, w, normalization="max")
    with pytest.raises(ValueError, match="masked_conv2d: device: got 'H2000', needs a Device or one of 'A100'"):
        explain(x, None, w, device="H2000")
    with pytest.raises(TypeError, match="masked_conv2d: input: got list"):
        explain([1.0], None, w)
    assert maskconv_ext.explain is explain


@needs_cuda_build
def test_masks_of_every_kind_run_on_cuda() -> None:
    x, w = meta(2, 130, 8, 8), meta(8, 130, 3, 3)
    assert "passes before" not in explain(x, meta(2, 1, 8, 8, dtype=torch.bool), w, device="H200").reason
    for mask in (meta(2, 1, 8, 8), meta(2, 130, 8, 8, dtype=torch.bool)):
        explained = explain(x, mask, w, device="H200")
        assert explained.engine == "CUDA" and "passes before that count the windows" in explained.reason
    parts = meta(2, 65, 8, 8, dtype=torch.bool)
    assert explain(x, parts, w, mask_channels=(2,) * 65, device="H200").engine == "CUDA"
    explained = explain(x, parts, w, mask_channels=(1,) * 64 + (66,), device="H200")
    assert explained.engine == "reference"
    assert "the mask has 65 parts, and CUDA takes 64, or equal ones" in explained.reason


@needs_cuda_build
def test_devices_older_than_the_kernels_run_the_reference() -> None:
    explained = of_layer(device=dataclasses.replace(DEVICES["A100"], compute_capability=75))
    assert explained.engine == "reference" and "compute capability 7.x" in explained.reason
