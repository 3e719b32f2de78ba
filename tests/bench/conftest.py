"""The benchmark's command on tiny layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_layers import FAST, TINY, Bench

from maskconv_ext.bench import candidates as bench_candidates
from maskconv_ext.bench import run
from maskconv_ext.cli import main


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small wait for threads longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The command on tiny layers: exit status and JSON."""
    monkeypatch.setattr(run, "SUITE", TINY)

    def call(*arguments: str) -> tuple[int, dict[str, Any]]:
        out = tmp_path / "bench.json"
        status = main(["bench", *FAST, *arguments, "--out", str(out)])
        return status, json.loads(out.read_text())

    return call


@pytest.fixture
def op_as(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Replace what this op computes in the benchmark."""

    def replace(call: Callable[..., torch.Tensor]) -> None:
        def build(problem: Any) -> bench_candidates.Candidate:
            candidate = bench_candidates.op_nchw(problem)
            right = candidate.call
            candidate.call = lambda *arguments: call(right, *arguments)
            return candidate

        monkeypatch.setitem(bench_candidates.CANDIDATES, "op", build)

    yield replace
