"""The benchmark: refused in one line, before anything runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_layers import Bench

from maskconv_ext.bench import plots
from maskconv_ext.cli import main


def test_wrong_calls_say_what_they_need(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    for arguments, message in (
        (["--suite", "nothing_*"], "no such case"),
        (["--suite", "tiny", "nothing_*"], "--suite nothing_*: no such case"),
        (["--suite", "sequence", "--mask", "lidar"], "--suite sequence: no such case under --mask lidar, on layers of"),
        (["--sweep", "nothing"], "--sweep nothing: needs one of tiny, "),
        (["--mask", "dots"], "mask 'dots': needs one of ones, "),
        (["--mask", "ones@0.5"], "mask 'ones@0.5': needs a valid fraction"),
        (["--mask", "spark@2"], "mask 'spark@2': needs a valid fraction between 0 and 1"),
        (["--peaks", "abacus"], "--peaks abacus: needs one of H200"),
        (["--quick", "--suite", "tiny"], "--quick is a choice of cases by itself"),
        (["--sweep", "volume", "--mask", "strokes"], "--mask strokes: needs one of spark, bad_pixels, blob"),
        (["--sweep", "tiny", "--mask", "spark@0.5"], "--mask spark@0.5: needs one of strokes, spark, "),
        (["--sweep", "tiny", "--mask", "spark", "blob"], "--mask spark blob: needs one of strokes, spark, "),
        (["--ceilings", "--peaks", "H200"], "--ceilings measures what --peaks names"),
        (["--sweep", "tiny", "--dtype", "float32", "float64"], "--sweep draws one curve"),
        (["--device", "cuda"], "--device cuda: torch sees no CUDA device"),
        (["--plots", "there"], "--plots needs matplotlib: pip install matplotlib"),
        (["--candidates", "abacus"], "--candidates abacus: needs patterns of op, "),
        (["--candidates", "op", "spconv*"], "--candidates spconv*: needs the package spconv, which is not installed"),
        (
            ["--candidates", "op", "--plots", "there"],
            "--plots draws time over the bare convolution: --candidates",
        ),
        (["--candidates", "op", "spconv_subm"], "--candidates spconv_subm: needs the package spconv, which is not"),
    ):
        assert main(["bench", *arguments]) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert error.startswith("maskconv-ext: error: ") and message in error


def test_what_cannot_be_written_is_said_before_anything_runs(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    file = tmp_path / "file"
    file.touch()
    pipe = tmp_path / "pipe"  # as are devices: to be written through, never to be replaced
    os.mkfifo(pipe)
    for option, path in (("--out", file / "x.json"), ("--out", tmp_path), ("--out", pipe), ("--plots", file)):
        assert main(["bench", "--device", "cpu", "--suite", "pconv_enc8", option, str(path)]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith(f"maskconv-ext: error: {option}") and captured.err.count("\n") == 1


def test_a_link_to_the_output_stays_a_link(bench: Bench, tmp_path: Path) -> None:
    link = tmp_path / "bench.json"
    link.symlink_to(tmp_path / "real.json")
    assert bench("--suite", "tiny/ones", "--candidates", "op")[0] == 0
    assert link.is_symlink() and (tmp_path / "real.json").is_file()
