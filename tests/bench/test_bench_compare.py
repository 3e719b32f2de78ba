"""`maskconv-ext bench compare`: verdicts on records whose changes are known, and files it must refuse."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskconv_ext.bench import report
from maskconv_ext.bench.compare import change
from maskconv_ext.cli import main

Compare = Callable[..., tuple[int, str, str]]


def candidate(median: float, spread: float = 1.0, status: str = "ok") -> dict[str, Any]:
    if status != "ok":
        return {"status": status, "note": "as planted"}
    return {"status": "ok", "note": "", "median_us": median, "quartiles_us": [median - spread, median + spread]}


def run_of(**cases: dict[str, Any]) -> dict[str, Any]:
    common = {"dtype": "float32", "shape": "1, 8→8", "normalization": "ratio", "mask_update": "any"}
    return {
        "format": report.FORMAT,
        "sampler": "blocks on the CPU",
        "settings": {"direction": "forward"},
        "environment": {"device_name": "abacus", "threads": 2},
        "planned": len(cases),
        "cases": [{**common, "case": name, "candidates": candidates} for name, candidates in cases.items()],
    }


@pytest.fixture
def compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compare:
    """The command on two runs, given as figures or as text: exit status, stdout, stderr."""

    def call(a: Any, b: Any, *options: str) -> tuple[int, str, str]:
        paths = []
        for name, content in (("a.json", a), ("b.json", b)):
            paths.append(tmp_path / name)
            paths[-1].write_text(content if isinstance(content, str) else json.dumps(content))
        status = main(["bench", "compare", *map(str, paths), *options])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (candidate(100), candidate(106), "slower"),
        (candidate(100), candidate(104), "unchanged"),  # within the threshold
        (candidate(100, 10), candidate(115, 10), "unchanged"),  # quartiles overlap
        (candidate(100, 1), candidate(115, 1), "slower"),
        (candidate(100), candidate(95), "faster"),
        (candidate(100), candidate(96), "unchanged"),
        (candidate(100, 10), candidate(85, 10), "unchanged"),
        (candidate(100), candidate(0, status="wrong"), "lost"),
        (candidate(0, status="error"), candidate(100), "gained"),
    ],
)
def test_verdicts(before: dict[str, Any], after: dict[str, Any], verdict: str) -> None:
    found = change(before, after, 0.05)
    assert found is not None and found.verdict == verdict


def test_untimed_on_both_sides_is_no_change() -> None:
    assert change(candidate(0, status="skipped"), candidate(0, status="error"), 0.05) is None


def test_no_regression_is_status_0(compare: Compare) -> None:
    run = run_of(one={"op": candidate(100), "conv_nchw": candidate(50)}, two={"op": candidate(10)})
    status, out, _ = compare(run, run)
    assert status == 0 and "op: slower in 0 of 2 cases" in out
    assert out.splitlines()[-2].split()[-2:] == ["1.000", "1.000"]


def test_a_slower_case_is_status_1_and_named(compare: Compare) -> None:
    before = run_of(one={"op": candidate(100)}, two={"op": candidate(10, 0.1)})
    after = run_of(one={"op": candidate(50)}, two={"op": candidate(11, 0.1)})
    status, out, _ = compare(before, after)
    assert status == 1 and out.splitlines()[-1] == "op: slower in 1 of 2 cases: two"
    assert "0.500 faster" in out and "1.100 slower" in out
    assert compare(before, after, "--threshold", "0.2")[0] == 0
    lost = run_of(one={"op": candidate(50)}, two={"op": candidate(0, status="wrong")})
    status, out, _ = compare(before, lost)
    assert status == 1 and "lost" in out


def test_other_candidates_are_shown_but_do_not_fail(compare: Compare) -> None:
    before = run_of(one={"op": candidate(100), "conv_nchw": candidate(50), "composed_eager": candidate(200)})
    after = run_of(one={"op": candidate(100), "conv_nchw": candidate(80)})
    status, out, _ = compare(before, after)
    assert status == 0 and "1.600 slower" in out and "composed_eager" not in out


def test_unlike_runs_are_refused_unless_forced(compare: Compare) -> None:
    before = run_of(one={"op": candidate(100)}, two={"op": candidate(10)})
    other_device, other_direction, fewer, other_shape = (copy.deepcopy(before) for _ in range(4))
    other_device["environment"]["device_name"] = "slide rule"
    other_direction["settings"]["direction"] = "both"
    del fewer["cases"][1]
    other_shape["cases"][1]["shape"] = "2, 8→8"
    for after, reason in (
        (other_device, "device_name: abacus and slide rule"),
        (other_direction, "direction: forward and both"),
        (fewer, "only A has two float32"),
        (other_shape, "only A has two float32; only B has two float32"),
    ):
        status, out, err = compare(before, after)
        assert status == 2 and not out and err.count("\n") == 1
        assert err.startswith("maskconv-ext: error: ") and reason in err
        status, out, err = compare(before, after, "--force")
        assert status == 0 and not err and "differ in " in out
    assert "op: slower in 0 of 1 cases" in compare(before, fewer, "--force")[1]


def test_files_that_are_no_runs_are_refused(compare: Compare, tmp_path: Path, capsys: Any) -> None:
    good = run_of(one={"op": candidate(100)})
    nothing_shared = run_of(other={"op": candidate(100)})
    for bad, reason in (
        ("{", "not JSON"),
        ("[]", "got format None"),
        ({**good, "format": 99}, "got format 99"),
        ({**good, "cases": []}, "no finished case"),
        ({**good, "cases": [{}]}, "not a whole record"),
        ({**good, "cases": {"one": {}}}, "not a whole record"),
        ({**good, "environment": []}, "not a whole record"),
        ({name: value for name, value in good.items() if name != "settings"}, "not a whole record"),
        (run_of(one=["op"]), "not a whole record"),  # type: ignore[arg-type]
        (run_of(one={"op": {}}), "not a whole record"),
        (run_of(one={"op": {"status": "ok", "median_us": 1.0}}), "not a whole record"),
        (run_of(one={"op": candidate(0)}), "not a whole record"),
        ("[" * 100_000, "not JSON"),
    ):
        status, out, err = compare(good, bad)
        assert status == 2 and not out and err.count("\n") == 1 and reason in err and "b.json" in err
    status, _, err = compare(good, nothing_shared, "--force")
    assert status == 2 and "no case in common" in err
    assert main(["bench", "compare", str(tmp_path / "missing"), str(tmp_path / "missing")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_a_stopped_run_is_compared_and_said_to_be_one(compare: Compare) -> None:
    whole = run_of(one={"op": candidate(100)}, two={"op": candidate(10)})
    stopped = {**whole, "cases": whole["cases"][:1]}
    status, out, _ = compare(whole, stopped, "--force")
    assert status == 0 and "B was stopped after 1 of 2 cases" in out and "A was stopped" not in out
