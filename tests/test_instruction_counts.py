"""The gates on counts: their arithmetic, what they refuse to compare, and the emulated kernels' baseline itself.

Instructions of the CPU engine are gated by `make instruction-gate`: valgrind takes too long for a test.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import baselines
import callgrind
import instruction_counts
import kernel_counts
import pytest

from maskconv_ext.bench.suite import SUITE

# Two objects; the second calls the first, whose cost is not its own. Names are given once, by number.
DUMP = """\
# callgrind format
version: 1
desc: Trigger: Client Request: layer
positions: line
events: Ir

ob=(1) /somewhere/libtorch_cpu.so
fl=(1) ???
fn=(1) gemm
0 100
+3 5
* 1

ob=(2) /elsewhere/_native.so
fn=(2) forward
10 7
cob=(1)
cfn=(1)
calls=4 0
10 106
cob=(3) /lib/libc.so
cfn=(3) memcpy
calls=1 0
-2 40
11 3

ob=(3)
fn=(3)
0 40
totals: 156
"""


def test_instructions_are_counted_where_they_run(tmp_path: Path) -> None:
    objects = callgrind.by_object(DUMP)
    assert objects == {"/somewhere/libtorch_cpu.so": 106, "/elsewhere/_native.so": 10, "/lib/libc.so": 40}
    (tmp_path / "counts.1").write_text(DUMP.replace("layer", "another"))
    (tmp_path / "counts.2").write_text(DUMP)
    assert callgrind.dumped(tmp_path, "layer") == {"library": 10, "call": 156}
    with pytest.raises(RuntimeError, match="nothing for a third"):
        callgrind.dumped(tmp_path, "a third")


def test_differences_are_named_up_and_down() -> None:
    expected = {"a": {"x": 1000, "y": 10}, "b": {"x": 0}}
    tolerance = {"x": 0.01}
    assert baselines.differences(expected, {"a": {"x": 1010, "y": 10}, "b": {"x": 0}}, tolerance) == []
    (line,) = baselines.differences(expected, {"a": {"x": 1011, "y": 10}, "b": {"x": 0}}, tolerance)
    assert line == "a: x: 1011, was 1000 (+1.10%)"
    (line,) = baselines.differences(expected, {"a": {"x": 989, "y": 10}, "b": {"x": 0}}, tolerance)
    assert line == "a: x: 989, was 1000 (-1.10%)"
    (line,) = baselines.differences(expected, {"a": {"x": 1000, "y": 11}, "b": {"x": 0}}, tolerance)
    assert "y: 11, was 10" in line
    (line,) = baselines.differences(expected, {"a": {"x": 1000, "y": 10}, "b": {"x": 1}}, tolerance)
    assert "none before" in line


def test_what_is_missing_or_too_much_is_a_difference() -> None:
    assert baselines.differences({"a": {"x": 1}}, {}, {}) == ["a: in the baseline, and not counted any more"]
    assert baselines.differences({}, {"a": {"x": 1}}, {}) == ["a: not in the baseline"]
    assert baselines.differences({"a": {"x": 1}}, {"a": {"y": 1}}, {}) == [
        "a: x: 1 in the baseline, None now",
        "a: y: None in the baseline, 1 now",
    ]


def run_gate(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["instruction_counts.py", *arguments])
    return instruction_counts.main()


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, dict[str, int]]:
    """Counts instead of valgrind's, and baselines in a folder of their own."""
    counts = {"rows": {"library": 1000, "call": 2000}}
    monkeypatch.setattr(callgrind, "count", lambda: counts)
    monkeypatch.setattr(callgrind, "versions", lambda: {"torch": "2.13.0", "valgrind": "3.19"})
    load, save = baselines.load, baselines.save
    monkeypatch.setattr(baselines, "load", lambda name: load(name, tmp_path))
    monkeypatch.setattr(baselines, "save", lambda *values, **more: save(*values, folder=tmp_path, **more))
    assert run_gate(monkeypatch, "--only", "cpu", "--update", "a reason") == 0
    written = json.loads((tmp_path / "instructions.json").read_text())
    assert written["reason"] == "a reason" and written["counts"] == counts
    return counts


def test_the_gate_passes_within_its_tolerance_and_fails_beyond(planted, monkeypatch, capsys) -> None:
    assert run_gate(monkeypatch, "--only", "cpu") == 0
    planted["rows"] = {"library": 1009, "call": 2090}
    assert run_gate(monkeypatch, "--only", "cpu") == 0
    planted["rows"] = {"library": 1020, "call": 2090}
    assert run_gate(monkeypatch, "--only", "cpu") == 1
    assert "rows: library: 1020, was 1000 (+2.00%)" in capsys.readouterr().out
    planted["rows"] = {"library": 1000, "call": 2110}
    assert run_gate(monkeypatch, "--only", "cpu") == 1


def test_other_versions_are_not_compared_and_that_is_said(planted, monkeypatch, capsys) -> None:
    planted["rows"] = {"library": 9999, "call": 9999}
    monkeypatch.setattr(callgrind, "versions", lambda: {"torch": "2.14.0", "valgrind": "3.19"})
    assert run_gate(monkeypatch, "--only", "cpu") == 0
    out = capsys.readouterr().out
    assert "NOT CHECKED" in out and "torch 2.14.0, not 2.13.0" in out


def test_without_valgrind_that_is_said(monkeypatch, capsys) -> None:
    monkeypatch.setattr(callgrind.shutil, "which", lambda name: None)
    assert run_gate(monkeypatch, "--only", "cpu") == 0
    assert (
        "NOT CHECKED: instruction counts of the CPU engine, since valgrind is not installed" in capsys.readouterr().out
    )


def test_an_update_that_cannot_be_made_is_no_success(monkeypatch) -> None:
    monkeypatch.setattr(callgrind.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match=r"not updated: .* valgrind is not installed"):
        run_gate(monkeypatch, "--only", "cpu", "--update", "a reason")


def test_an_update_needs_a_reason(monkeypatch, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_gate(monkeypatch, "--update", " ")
    assert stopped.value.code == 2 and "--update needs a reason" in capsys.readouterr().err


def test_emulated_kernels_count_what_they_did() -> None:
    """Where that changes for good reason: python tools/instruction_counts.py --only kernels --update REASON."""
    pytest.importorskip("maskconv_ext._emulation", reason="the emulation is not built: run `make build`")
    expected = baselines.load("counters")["counts"]
    assert baselines.differences(expected, kernel_counts.count(list(expected)), {}) == []


def test_the_baseline_is_of_every_pass_and_shows_what_holes_save() -> None:
    counts = baselines.load("counters")["counts"]
    names = [name.split("/") for name in counts]
    wanted = {
        (layer, p, mask) for layer in kernel_counts.LAYERS for p in kernel_counts.PASSES for mask in kernel_counts.MASKS
    }
    assert {(layer, p, mask) for layer, p, _, mask in names} == wanted
    for name, full in counts.items():
        if name.endswith("/full"):
            edge = counts[name.removesuffix("full") + "edge"]
            assert edge["mma"] <= full["mma"] and sum(edge.values()) < sum(full.values()), name
            layer = next(layer for layer in SUITE if layer.id == name.split("/")[0])
            if "/mma_" in name:  # every sector that is fetched is used whole, and no lanes wait for a bank
                assert full["cp_async_bytes"] >= 32 * full["cp_async_sectors"], name
                assert not any(count for counter, count in full.items() if counter.endswith("bank_conflicts")), name
            packed = "/few_channels/" in name and layer.dtype == "bfloat16"
            assert (full["mma"] > 0) == ("/mma_" in name or packed)
