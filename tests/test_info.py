"""`maskconv-ext info`: what it says of the library, the machine and the engines is so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from native_library import require_native

from maskconv_ext import info, native
from maskconv_ext.cli import main

ROOT = Path(__file__).resolve().parent.parent


def in_a_new_process(**environment: str) -> tuple[str, str]:
    command = [sys.executable, "-m", "maskconv_ext.cli", "info"]
    run = [
        subprocess.run(
            [*command, *flags], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=True
        ).stdout
        for flags in ((), ("--json",))
    ]
    return run[0], run[1]


def test_json_has_what_the_text_says(capsys: pytest.CaptureFixture[str]) -> None:
    require_native()
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert found["versions"]["torch"] == torch.__version__ and torch.__version__ in text
    assert found["cpu"]["threads"] == torch.get_num_threads()
    assert found["cpu"]["model"] in text and found["library"]["path"] in text
    build = found["library"]["build"]
    assert build["compiler"] in text and "-std=c++20" in build["flags"]
    assert bool(build["cuda_architectures"]) == found["library"]["cuda"] == native.has_cuda
    for architecture in build["cuda_architectures"]:
        assert architecture in text
    assert len(found["gpus"]) == torch.cuda.device_count()


def test_engines_are_those_that_would_run() -> None:
    require_native()
    served = {(e["call"], e["dtype"]): e for e in info.engines() if e["device"] == "cpu"}
    assert {e["engine"] for e in served.values()} <= {"CPU", "reference"}
    for dtype in info.DTYPES:
        assert served["hard mask", dtype]["engine"] == "CPU"
    # Where explain() leaves a call to the reference, it says why.
    assert all(bool(e["reason"]) == (e["engine"] == "reference") for e in served.values())


def test_without_the_library_it_says_how_to_get_it() -> None:
    text, as_json = in_a_new_process(MASKCONV_DISABLE_NATIVE="1")
    found = json.loads(as_json)
    assert not found["library"]["loaded"] and found["library"]["why_not"] in text
    assert "unset it to use the compiled library" in text
    assert {e["engine"] for e in found["engines"]} == {"reference"}


def test_gpus_and_their_engines_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines for a GPU, from a description of one."""
    require_native()
    h200 = SimpleNamespace(name="NVIDIA H200", major=9, minor=0, total_memory=140 * 2**30, multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: h200)
    gpus = info.gpus()
    monkeypatch.setattr(info, "gpus", lambda: [])
    found = {**info.collect(), "gpus": gpus}
    for dtype, engine in zip(info.DTYPES, ("reference", "CUDA", "CUDA", "CUDA")):
        reason = "because of a test" if engine == "reference" else ""
        entry = {"device": "cuda:0", "call": "no mask", "dtype": dtype, "engine": engine, "reason": reason}
        found["engines"].append(entry)
    text = "\n".join(info.lines(found))
    assert "cuda:0" in text and "NVIDIA H200, compute capability 9.0, 140.0 GiB, 132 multiprocessors" in text
    assert "reference because of a test: cuda:0, no mask" in text
