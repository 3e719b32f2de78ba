"""The estimate from emulated counters: that it runs, and that its figures hang together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RESOURCES = ("arithmetic", "l2", "shared", "memory")


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("roofline") / "roofline.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "roofline.py"), "--suite", "pconv_enc8", "r50_7/*"]
    subprocess.run([*command, "--out", str(out)], check=True, cwd=ROOT, capture_output=True)
    return json.loads(out.read_text())


def test_the_slowest_resource_decides(record) -> None:
    assert [row["case"] for row in record["cases"]] == ["pconv_enc8/ones", "r50_7/ones", "r50_7/spark"]
    for row in record["cases"]:
        for times in (row["raster"], row["sorted"]):
            slowest = max(times[name] for name in RESOURCES)
            assert times["time"] == pytest.approx(slowest + record["device"]["launch_us"])
            assert min(times[name] for name in RESOURCES) > 0


def test_holes_cost_less_in_the_order_of_a_plan(record) -> None:
    dense, spark = record["cases"][1:]
    assert spark["sorted"]["time"] < 0.5 * dense["raster"]["time"]
    assert spark["live_sorted"] < spark["live_raster"]


def test_arithmetic_is_no_less_than_the_layer_has(record) -> None:
    dense, device = record["cases"][1], record["device"]
    rate = device["multiprocessors"] * device["clock_ghz"] * device["mma_macs_per_cycle"] * 2e9
    assert dense["raster"]["arithmetic"] >= dense["tflop"] * 1e12 / rate * 1e6 * 0.99
