"""The benchmark: the cases, the JSON file, the tables and the plots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bench_layers import Bench

from maskconv_ext.bench import report, run
from maskconv_ext.cli import main


def test_json_has_what_the_figures_were_made_from(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.device, "CEILING_SIDE", {"cpu": 64})
    monkeypatch.setattr(run.device, "CEILING_COPY_BYTES", {"cpu": 2**16})
    status, figures = bench("--suite", "tiny", "--ceilings", "--threads", "2", "--dtype", "bfloat16")
    assert status == 0 and figures["format"] == report.FORMAT and not figures["interrupted"]
    assert torch.get_num_threads() == 1
    environment = figures["environment"]
    assert environment["threads"] == 2 and environment["device_name"]
    assert environment["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert "commit" in environment
    assert figures["ceilings"]["errors"] == {}
    assert figures["settings"]["suite"] == ["tiny"]
    for record in figures["cases"]:
        assert record["dtype"] == "bfloat16" and record["floor_us"] > 0 and record["bare_us"] > 0
        op = record["candidates"]["op"]
        assert len(op["samples_us"]) == 3
        assert op["quartiles_us"][0] <= op["median_us"] <= op["quartiles_us"][1]
        assert op["iqr_us"] == pytest.approx(op["quartiles_us"][1] - op["quartiles_us"][0])
        assert op["tflops"] == pytest.approx(record["flops"] / op["median_us"] * 1e-6)
        assert record["over_bare"] == pytest.approx(op["median_us"] / record["bare_us"])
        assert op["peak_bytes"] is None
    means = figures["geomeans"]
    ratios = [record["over_bare"] for record in figures["cases"]]
    assert means["all"]["over_bare"]["geomean"] == pytest.approx(np.prod(ratios) ** (1 / len(ratios)))
    assert means["all"]["over_bare"]["worst"] == max(ratios)
    assert set(means) == {"all", "ones, bfloat16", "spark, bfloat16"}


def test_several_dtypes_are_cases_of_their_own(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    plots_folder = tmp_path / "plots"
    _, figures = bench("--suite", "tiny/ones", "--dtype", "float32", "float64", "--plots", str(plots_folder))
    assert [(r["case"], r["dtype"]) for r in figures["cases"]] == [("tiny/ones", "float32"), ("tiny/ones", "float64")]
    assert (plots_folder / "suite.png").stat().st_size > 1000


def test_sweep_goes_over_the_valid_fraction_under_one_rule(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    status, figures = bench("--sweep", "tiny", "--plots", str(tmp_path / "plots"))
    assert status == 0
    valid = [record["valid_fraction"] for record in figures["cases"]]
    assert valid == sorted(valid, reverse=True) and valid[0] == 1 and valid[-1] == 0
    assert {record["mask_update"] for record in figures["cases"]} == {"center"}
    assert (tmp_path / "plots" / "sweep.png").stat().st_size > 1000
    assert bench("--suite", "tiny", "--plots", str(tmp_path / "plots"))[0] == 0
    assert (tmp_path / "plots" / "suite.png").stat().st_size > 1000


# GFLOP, MB and floor in µs of an H200, worked out by hand.
PUBLISHED = {
    "pconv_enc1": (9.87, 82.3, 19.1), "pconv_enc2": (53.7, 101.7, 68.0), "pconv_enc3": (53.7, 52.1, 68.0),
    "pconv_enc4": (19.3, 27.6, 24.5), "pconv_enc8": (0.15, 4.9, 1.1), "pconv_dec6": (116, 269.7, 146.8),
    "pconv_dec4": (116, 70.7, 146.8), "pconv_dec1": (7.6, 297.8, 69.3), "r50_stem": (60.4, 504, 117.3),
    "r50_56": (59.2, 207, 74.9), "r50_28s2": (59.2, 258, 74.9), "r50_14": (59.2, 52.7, 74.9),
    "r50_7": (59.2, 30.4, 74.9), "r50_1x1": (26.3, 515, 119.9), "sic_1": (13.3, 240, 198),
    "sic_2": (85.9, 445, 1282), "convnext_dw": (3.78, 155, 36.0), "det_pad": (1148, 999, 1453),
    "asr_dw33": (0.54, 33, 7.6), "asr_dw87": (2.85, 66, 15.3), "asr_pw": (16.8, 66, 21.2),
    "astro_psf": (0.47, 18.9, 7.0), "vol_96": (97.8, 230, 123.9), "anchor": (29.6, 21.7, 37.5),
}  # fmt: skip


def test_dry_run_prints_operations_bytes_and_floors(capsys: pytest.CaptureFixture) -> None:
    assert main(["bench", "--dry-run", "--no-cpu-scale", "--device", "cuda", "--peaks", "H200"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert {row[0].split("/")[0] for row in rows} == set(PUBLISHED)
    for row in rows:
        expected = PUBLISHED[row[0].split("/")[0]]
        for text, value in zip(row[-4:-1], expected):
            assert float(text) == pytest.approx(value, rel=0.01, abs=0.06), row


def test_on_the_cpu_one_image_in_float32(capsys: pytest.CaptureFixture) -> None:
    assert main(["bench", "--dry-run", "--device", "cpu", "--suite", "r50_56/spark", "det_pad/ones", "sic_1/ones"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert "float32  8, 64→64, 56×56, 3×3" in " ".join(rows["r50_56/spark"].split()).replace("float32 ", "float32  ")
    assert " 1, 256→256, 100×152, 3×3 " in rows["det_pad/ones"]
    assert " 1, 1→16, 352×1216, 11×11 " in rows["sic_1/ones"]


def test_each_fraction_of_a_mask_has_a_mean_of_its_own(bench: Bench) -> None:
    _, figures = bench("--suite", "tiny", "depthwise", "--mask", "spark@0.5", "spark@0.5", "spark@0.25")
    assert len(figures["cases"]) == 4  # a mask named twice is measured once
    assert set(figures["geomeans"]) == {"all", "spark@0.5, float32", "spark@0.25, float32"}


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_table_wider_than_the_terminal_goes_on_below(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    header = ("case", "dtype", *(f"column {i}" for i in range(12)))
    rows = [(f"layer{i}/ones", "float32", *(f"{i}.{j}" for j in range(12))) for i in range(3)]
    whole = report.table(header, rows, keys=2)
    assert len(whole) == 4 and len(whole[0]) > 80  # of a file or a pipe
    monkeypatch.setattr(report, "screen_width", lambda: width)
    lines = report.table(header, rows, keys=2)
    assert max(map(len, lines)) <= width
    assert sum(line.split()[:2] == ["layer1/ones", "float32"] for line in lines) == -(-len(lines) // 5)
    assert [cell for line in lines if line.startswith("layer2") for cell in line.split()[2:]] == list(rows[2][2:])
