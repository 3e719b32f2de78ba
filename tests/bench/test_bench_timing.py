"""The benchmark: what is run for a sample, and in which unit it comes."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bench_layers import TINY, Bench, needs_gpu

from maskconv_ext.bench import candidates as bench_candidates
from maskconv_ext.bench import measure


def test_backward_alone_runs_the_forward_once(bench: Bench, op_as: Any) -> None:
    """Once to check the gradients, and once for the graph that all samples go through."""
    forwards = []

    def counted(right: Any, *arguments: torch.Tensor) -> torch.Tensor:
        forwards.append(1)
        return right(*arguments)

    op_as(counted)
    status, figures = bench("--suite", "tiny/spark", "--direction", "backward", "--samples", "20")
    (record,) = figures["cases"]
    assert status == 0 and len(forwards) == 2
    assert len(record["candidates"]["op"]["samples_us"]) >= 3
    assert record["flops"] == 2 * TINY[0].cpu_scaled().flops()


def test_the_compiled_form_goes_backward_more_than_once(bench: Bench) -> None:
    compiled = ("--candidates", bench_candidates.COMPILED, "--samples", "3")
    status, figures = bench("--suite", "tiny/spark", "--direction", "backward", *compiled)
    assert status == 0 and figures["cases"][0]["candidates"]["composed_compiled"]["status"] == "ok"


def test_samples_of_triton_are_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def do_bench(fn: Callable[[], Any], **options: Any) -> list[float]:
        asked.update(options)
        return [2.0, 4.0]

    monkeypatch.setattr(measure.importlib, "import_module", lambda name: types.SimpleNamespace(do_bench=do_bench))
    assert measure._triton_samples(lambda: None, 5, 0.003) == [0.002, 0.004]
    assert asked["rep"] == pytest.approx(5 * (3 + measure.FLUSH_MILLISECONDS))


@needs_gpu
def test_without_triton_events_take_the_samples() -> None:
    x = torch.randn(1024, 1024, device="cuda")
    samples = measure._event_samples(lambda: x @ x, 4, 1e-3)
    assert len(samples) == 4 and all(0 < sample < 1 for sample in samples)
