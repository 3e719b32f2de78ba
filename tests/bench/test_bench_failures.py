"""The benchmark: what raises, a lost device and a stopped run cost no more than they must."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_layers import TINY, Bench

from maskconv_ext.bench import candidates as bench_candidates
from maskconv_ext.bench import case as bench_case
from maskconv_ext.bench import measure, report, run
from maskconv_ext.cli import main


def test_what_raises_is_recorded_and_the_run_goes_on(bench: Bench, op_as: Any) -> None:
    def broken(right: Any, *arguments: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("no memory left\nand more lines")

    op_as(broken)
    status, figures = bench("--suite", "tiny")
    assert status == 1 and len(figures["cases"]) == 2
    for record in figures["cases"]:
        assert record["candidates"]["op"]["status"] == "error"
        assert record["candidates"]["op"]["note"] == "OutOfMemoryError: no memory left"
        assert record["candidates"][bench_candidates.COMPOSED]["status"] == "ok"


def test_raising_only_while_timed_is_recorded_too(bench: Bench, op_as: Any) -> None:
    calls = []

    def fails_later(right: Any, *arguments: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 3:
            raise RuntimeError("the fourth call")
        return right(*arguments)

    op_as(fails_later)
    _, figures = bench("--suite", "tiny/ones")
    op = figures["cases"][0]["candidates"]["op"]
    assert op["status"] == "error" and op["note"] == "RuntimeError: the fourth call" and "samples_us" not in op


def test_after_a_lost_device_a_new_process_measures_the_rest(
    bench: Bench, op_as: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(right: Any, *arguments: torch.Tensor) -> torch.Tensor:
        raise measure.DeviceLost("illegal access")

    commands = []

    def new_process(command: list[str], **_: Any) -> None:
        commands.append(command)
        monkeypatch.setitem(bench_candidates.CANDIDATES, "op", bench_candidates.op_nhwc)
        assert main(command[command.index("bench") :]) == 0

    op_as(lost)
    monkeypatch.setattr(run.subprocess, "run", new_process)
    monkeypatch.setattr(run.device, "commit", lambda: {})
    status, figures = bench("--suite", "tiny", "sequence", "--update", "any", "--direction", "both")
    assert status == 1 and len(commands) == 1
    first, *rest = figures["cases"]
    assert all("device was lost" in c["note"] for c in first["candidates"].values())
    assert [record["case"] for record in rest] == ["tiny/spark", "sequence/ones", "sequence/lengths"]
    assert all(record["candidates"]["op"]["status"] == "ok" for record in rest)
    assert rest[0]["mask_update"] == "any" and rest[0]["flops"] == 3 * TINY[0].cpu_scaled().flops()


@pytest.mark.parametrize(("stop", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_keeps_what_was_measured(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Any, stop: signal.Signals, expected: int
) -> None:
    real, done = bench_case.run_case, []

    def stopped(*arguments: Any) -> Any:
        if done:
            signal.raise_signal(stop)
        done.append(1)
        return real(*arguments)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(run, "run_case", stopped)
    status, figures = bench("--suite", "tiny")
    assert status == expected and figures["interrupted"] and figures["planned"] == 2
    assert [record["case"] for record in figures["cases"]] == ["tiny/ones"]
    captured = capsys.readouterr()
    assert "tiny/ones" in captured.out and "stopped after 1 of 2 cases" in captured.err
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_full_disk_is_said_and_costs_no_results(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Full after the first of two cases, and to the end."""
    save, calls = report.save, []

    def full(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*arguments)

    monkeypatch.setattr(report, "save", full)
    status, figures = bench("--suite", "tiny")
    assert status == 2 and len(figures["cases"]) == 1 and len(calls) == 3
    captured = capsys.readouterr()
    assert "tiny/spark" in captured.out
    assert captured.err.splitlines()[-1].endswith("not up to date: No space left on device")


def test_a_killed_run_leaves_what_was_measured(tmp_path: Path) -> None:
    """By SIGKILL, which no process can answer."""
    out = tmp_path / "bench.json"
    fast = ["--device", "cpu", "--candidates", "op", "--seconds", "0.01", "--samples", "3"]
    command = [*run.COMMAND, "--suite", "pconv_enc8", "r50_7", "asr_pw", *fast, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not out.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    figures = json.loads(out.read_text())
    assert 0 < len(figures["cases"]) <= figures["planned"] == 5
    assert figures["cases"][0]["candidates"]["op"]["samples_us"]
