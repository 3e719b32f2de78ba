"""The benchmark: its counts against brute force, its checks against planted errors, its command on tiny layers."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskconv_ext.bench import candidates as bench_candidates
from maskconv_ext.bench import case as bench_case
from maskconv_ext.bench import measure, plots, problem, report, run, suite
from maskconv_ext.bench.live import BLOCK_M, live_fraction
from maskconv_ext.bench.masks import KINDS, make_mask, parse_mask
from maskconv_ext.cli import main

# Every kind of layer of the suite, as small as it can be: two-part mask, stride, depthwise, sequence, volume.
TINY = (
    suite.Layer("tiny", 2, 8, 8, (9, 11), (3, 3), masks=("spark",)),
    suite.Layer("strided", 1, 3, 8, (13, 12), (7, 7), stride=2, masks=("rectangles", "strokes50")),
    suite.Layer("two_part", 2, 5, 3, (8, 8), (3, 3), masks=("rectangles",), parts=(4, 1)),
    suite.Layer("depthwise", 1, 8, 8, (10, 10), (5, 5), masks=("spark",), groups=8),
    suite.Layer("sequence", 3, 8, 4, (40,), (5,), masks=("lengths",)),
    suite.Layer("astro", 1, 1, 1, (12, 14), (5, 5), masks=("bad_pixels",), dtype="float64"),
    suite.Layer("volume", 1, 8, 8, (5, 6, 7), (3, 3, 3), masks=("blob",)),
)
NOT_COMPILED = [name for name in bench_candidates.CANDIDATES if name != bench_candidates.COMPILED]
# As patterns: a peer that is named must be installed.
FAST = (
    "--device",
    "cpu",
    "--seconds",
    "0.01",
    "--samples",
    "3",
    "--candidates",
    *(f"{name}*" for name in NOT_COMPILED),
)

GPU_MISSING = "needs a CUDA device: torch.cuda.is_available() is False"

Bench = Callable[..., tuple[int, dict[str, Any]]]


def needs_gpu(test: Any) -> Any:
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason=GPU_MISSING)(test))


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


@pytest.mark.parametrize("direction", suite.PRODUCTS)
def test_every_candidate_is_right_on_every_kind_of_layer(bench: Bench, direction: str) -> None:
    status, figures = bench("--direction", direction)
    assert status == 0
    names = {record["case"] for record in figures["cases"]}
    assert names == {f"{layer.id}/{mask}" for layer in TINY for mask in ("ones", *layer.masks)}
    for record in figures["cases"]:
        assert set(record["candidates"]) == set(NOT_COMPILED)
        for name, candidate in record["candidates"].items():
            assert candidate["status"] in ("ok", "skipped"), (record["case"], name, candidate)
            assert candidate["status"] == "ok" or candidate["note"]
        ok = [name for name, c in record["candidates"].items() if c["status"] == "ok"]
        assert {"op", *bench_candidates.BARE, bench_candidates.COMPOSED} <= set(ok)


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


@pytest.mark.parametrize(
    "wrong",
    [
        lambda right, *arguments: right(*arguments) * 1.001,
        lambda right, *arguments: right(*arguments).index_fill(3, torch.tensor([0]), 0.0),
        lambda right, *arguments: torch.full_like(right(*arguments), float("nan")),
        lambda right, *arguments: right(*arguments)[:, :, :-1],
    ],
    ids=["a wrong scale", "a column missing", "NaN", "a row short"],
)
def test_a_wrong_answer_has_no_speed(bench: Bench, op_as: Any, capsys: Any, wrong: Any) -> None:
    op_as(wrong)
    status, figures = bench("--suite", "tiny/spark")
    (record,) = figures["cases"]
    assert status == 1
    assert record["candidates"]["op"]["status"] == "wrong"
    assert "samples_us" not in record["candidates"]["op"] and record["over_bare"] is None
    assert record["candidates"]["op_nchw"]["status"] == "ok"
    assert "tiny/spark float32: op: wrong: " in capsys.readouterr().out


class _WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return grad * 1.01


@pytest.mark.parametrize("leaf", [0, 1, 2], ids=["grad_input", "grad_weight", "grad_bias"])
def test_a_wrong_gradient_is_wrong(bench: Bench, op_as: Any, leaf: int) -> None:
    def wrong(right: Any, *arguments: torch.Tensor) -> torch.Tensor:
        planted = _WrongBackward.apply(arguments[leaf])
        return right(*(planted if i == leaf else argument for i, argument in enumerate(arguments)))

    op_as(wrong)
    status, figures = bench("--suite", "tiny/spark", "--direction", "both")
    op = figures["cases"][0]["candidates"]["op"]
    assert status == 1 and op["status"] == "wrong"
    assert ("grad_input", "grad_weight", "grad_bias")[leaf] in op["note"]
    assert bench("--suite", "tiny/spark")[0] == 0  # forward alone it is right


def test_bands_of_rows_give_the_same_verdict_as_everything(bench: Bench, op_as: Any, monkeypatch: Any) -> None:
    """With next to no operations allowed, the check takes single rows, and still sees what is wrong in them."""
    monkeypatch.setitem(problem.CHECK_FLOPS, "cpu", 1.0)
    for layer in TINY:
        where = problem.regions(layer, 1.0)
        assert all(region.last - region.first == 1 for region in where)
        assert {0, layer.output_size[0] - 1} <= {region.first for region in where}
    for direction in suite.PRODUCTS:
        status, figures = bench("--direction", direction)
        assert status == 0, report.problem_lines(figures["cases"])

    op_as(lambda right, *arguments: right(*arguments).index_fill(2, torch.tensor([0]), 0.0))
    assert bench("--suite", "tiny/ones")[0] == 1


def test_regions_never_overlap() -> None:
    for layer in (*suite.SUITE, *(layer.cpu_scaled() for layer in suite.SUITE), *TINY):
        for flops in (1.0, 1e6, 1e9, 2e9, 1e11):
            seen: set[tuple[int, int]] = set()
            for region in problem.regions(layer, flops):
                rows = {(region.image, row) for row in range(region.first, region.last)}
                assert rows and not rows & seen
                assert region.image < layer.batch and region.last <= layer.output_size[0]
                seen |= rows


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


def test_several_dtypes_are_cases_of_their_own(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    plots_folder = tmp_path / "plots"
    _, figures = bench("--suite", "tiny/ones", "--dtype", "float32", "float64", "--plots", str(plots_folder))
    assert [(r["case"], r["dtype"]) for r in figures["cases"]] == [("tiny/ones", "float32"), ("tiny/ones", "float64")]
    assert (plots_folder / "suite.png").stat().st_size > 1000


def test_astropy_is_compared_where_it_applies(bench: Bench) -> None:
    pytest.importorskip("astropy", reason="astropy is not installed")
    # A mask so thin that some windows have no pixel: there astropy has NaN, and the op 0.
    status, figures = bench("--suite", "astro", "tiny/ones", "--mask", "bad_pixels", "bad_pixels@0.05", "ones")
    assert status == 0, report.problem_lines(figures["cases"])
    statuses = {record["case"]: record["candidates"]["astropy"]["status"] for record in figures["cases"]}
    dtypes = {record["case"]: record["dtype"] for record in figures["cases"]}
    applies = {"astro/bad_pixels": "ok", "astro/bad_pixels@0.05": "ok", "astro/ones": "skipped"}
    assert statuses == {**applies, "tiny/ones": "skipped"}
    assert dtypes["astro/bad_pixels"] == "float64" and dtypes["tiny/ones"] == "float32"


def test_samples_of_triton_are_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def do_bench(fn: Callable[[], Any], **options: Any) -> list[float]:
        asked.update(options)
        return [2.0, 4.0]

    monkeypatch.setattr(measure.importlib, "import_module", lambda name: types.SimpleNamespace(do_bench=do_bench))
    assert measure._triton_samples(lambda: None, 5, 0.003) == [0.002, 0.004]
    assert asked["rep"] == pytest.approx(5 * (3 + measure.FLUSH_MILLISECONDS))


@needs_gpu
@pytest.mark.parametrize("direction", suite.PRODUCTS)
def test_on_the_gpu_every_candidate_is_right_and_its_memory_known(bench: Bench, direction: str) -> None:
    status, figures = bench("--device", "cuda", "--direction", direction)
    assert status == 0, report.problem_lines(figures["cases"])
    for record in figures["cases"]:
        op = record["candidates"]["op"]
        assert op["status"] == "ok" and op["peak_bytes"] >= 0 and min(op["samples_us"]) > 0


@needs_gpu
def test_without_triton_events_take_the_samples() -> None:
    x = torch.randn(1024, 1024, device="cuda")
    samples = measure._event_samples(lambda: x @ x, 4, 1e-3)
    assert len(samples) == 4 and all(0 < sample < 1 for sample in samples)


def test_ctrl_c_keeps_what_was_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    real, done = bench_case.run_case, []

    def interrupted(*arguments: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments)

    monkeypatch.setattr(run, "run_case", interrupted)
    status, figures = bench("--suite", "tiny")
    assert status == run.INTERRUPTED and figures["interrupted"]
    assert [record["case"] for record in figures["cases"]] == ["tiny/ones"]
    assert "tiny/ones" in capsys.readouterr().out


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


def test_wrong_calls_say_what_they_need(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    for arguments, message in (
        (["--suite", "nothing_*"], "no such case"),
        (["--sweep", "nothing"], "--sweep nothing: needs one of tiny, "),
        (["--mask", "dots"], "mask 'dots': needs one of ones, "),
        (["--mask", "ones@0.5"], "mask 'ones@0.5': needs a valid fraction"),
        (["--mask", "spark@2"], "mask 'spark@2': needs a valid fraction between 0 and 1"),
        (["--peaks", "abacus"], "--peaks abacus: needs one of H200"),
        (["--quick", "--suite", "tiny"], "--quick is a choice of cases by itself"),
        (["--sweep", "tiny", "--dtype", "float32", "float64"], "--sweep draws one curve"),
        (["--device", "cuda"], "--device cuda: torch sees no CUDA device"),
        (["--plots", "there"], "--plots needs matplotlib: pip install matplotlib"),
        (["--candidates", "abacus"], "--candidates abacus: needs patterns of op, "),
        (["--candidates", "op", "spconv_subm"], "--candidates spconv_subm: needs the package spconv, which is not"),
    ):
        assert main(["bench", *arguments]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("maskconv-ext: error: ") and message in error


def test_what_cannot_be_written_is_said_before_anything_runs(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    file = tmp_path / "file"
    file.touch()
    for option, path in (("--out", file / "x.json"), ("--out", tmp_path), ("--plots", file)):
        assert main(["bench", "--device", "cpu", "--suite", "pconv_enc8", option, str(path)]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith(f"maskconv-ext: error: {option} ") and captured.err.count("\n") == 1


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


@pytest.mark.parametrize(
    ("name", "size", "valid", "tolerance"),
    [
        ("ones", (9, 9), 1.0, 0), ("zeros", (9, 9), 0.0, 0), ("strokes25", (128, 128), 0.75, 0.03),
        ("strokes50", (128, 128), 0.5, 0.04), ("spark", (56, 56), 20 / 49, 0), ("spark@0.25", (14, 14), 12 / 49, 0),
        ("rectangles", (64, 64), 0.49, 0.2), ("lengths", (1000,), 0.7, 0.15), ("lidar", (352, 1216), 0.05, 0.002),
        ("lidar@0.5", (352, 1216), 0.5, 0.01), ("after_sic_1", (352, 1216), 0.95, 0.05),
        ("blob", (24, 24, 24), 0.3, 0.01),
    ],
)  # fmt: skip
def test_masks_have_the_valid_fraction_they_promise(name: str, size: Any, valid: float, tolerance: float) -> None:
    batch = 2 if len(size) > 1 and size[0] > 100 else 16
    mask = make_mask(parse_mask(name), batch, 1, size, seed=0)
    assert mask.shape == (batch, 1, *size) and mask.dtype == bool
    assert mask.mean() == pytest.approx(valid, abs=tolerance + 1e-12)
    assert np.array_equal(mask, make_mask(parse_mask(name), batch, 1, size, seed=0))
    if name not in ("ones", "zeros"):
        assert not np.array_equal(mask, make_mask(parse_mask(name), batch, 1, size, seed=1))
        assert any(not np.array_equal(mask[0], other) for other in mask[1:])


def test_spark_hides_whole_blocks() -> None:
    mask = make_mask(parse_mask("spark"), 4, 1, (56, 56), seed=0)[:, 0]
    blocks = mask.reshape(4, 7, 8, 7, 8)
    assert np.array_equal(blocks.all(axis=(2, 4)), blocks.any(axis=(2, 4)))


def test_after_sic_1_is_what_the_op_makes_of_the_lidar_mask() -> None:
    from maskconv_ext import masked_conv2d

    size = (40, 60)
    after = KINDS["after_sic_1"][0](size, 0.05, np.random.default_rng(3))
    before = torch.from_numpy(KINDS["lidar"][0](size, 0.05, np.random.default_rng(3)))[None, None]
    _, grown = masked_conv2d(torch.zeros(1, 1, *size), before, torch.zeros(1, 1, 11, 11), padding=5)
    assert np.array_equal(grown[0, 0].numpy(), after)


@pytest.mark.parametrize("update", ["any", "all", "center", 0.4])
@pytest.mark.parametrize("layer", [*TINY, dataclasses.replace(TINY[1], kernel=(11, 11))], ids=lambda layer: layer.id)
def test_live_fractions_equal_a_count_tap_by_tap(layer: suite.Layer, update: str | float) -> None:
    layer = dataclasses.replace(layer, batch=3)
    mask = np.random.default_rng(1).random((layer.batch, 1, *layer.size)) < 0.3
    live = live_fraction(mask, layer, update)

    rows: list[set[int]] = []
    valid: list[bool] = []
    middle = layer.taps // 2  # of odd kernels
    for image in range(layer.batch):
        for position in np.ndindex(*layer.output_size):
            taps = set()
            for number, tap in enumerate(np.ndindex(*layer.kernel)):
                p = tuple(q * layer.stride + t - pad for q, t, pad in zip(position, tap, layer.padding))
                if all(0 <= at < size for at, size in zip(p, layer.size)) and mask[(image, 0, *p)]:
                    taps.add(number)
            share = len(taps) / layer.taps
            rules = {"any": bool(taps), "all": share == 1, "center": middle in taps}
            rows.append(taps)
            valid.append(rules[update] if isinstance(update, str) else share >= update)

    def visited(order: list[set[int]]) -> int:
        tiles = [order[i : i + BLOCK_M] for i in range(0, len(order), BLOCK_M)]
        return sum(len(set().union(*tile)) for tile in tiles)

    dense = -(-len(rows) // BLOCK_M) * layer.taps
    lying = [taps if ok else set() for taps, ok in zip(rows, valid)]
    taps_per_bit = 1 if layer.taps <= 32 else 4  # of 121

    def key(taps: set[int]) -> int:
        return sum(1 << bit for bit in {tap // taps_per_bit for tap in taps})

    ordered = sorted((taps for taps, ok in zip(rows, valid) if ok), key=key, reverse=True)
    assert live.raster == pytest.approx(visited(lying) / dense)
    assert live.sorted == pytest.approx(visited(ordered) / dense)
    assert live.outputs == pytest.approx(sum(valid) / len(valid))


def test_live_fractions_of_known_masks_are_what_the_masks_allow() -> None:
    """SparK at 60 % holes: sorted rows visit little more than the valid fraction."""
    layer = dataclasses.replace(next(layer for layer in suite.SUITE if layer.id == "r50_56"), batch=64)
    mask = make_mask(parse_mask("spark"), layer.batch, 1, layer.size, seed=0)
    any_, centre = (live_fraction(mask, layer, update) for update in ("any", "center"))
    assert any_.raster > 0.7
    assert 0.36 < any_.sorted <= 0.42 and 0.30 < centre.sorted <= 0.38
    assert centre.outputs == pytest.approx(20 / 49)


def test_live_fractions_of_scattered_points() -> None:
    """LiDAR at 5 %: nearly every tile of raster order visits every tap, and few of sorted rows do."""
    layer = suite.Layer("lidar", 2, 32, 32, suite.KITTI, (3, 3))
    mask = make_mask(parse_mask("lidar"), layer.batch, 1, layer.size, seed=0)
    any_, centre = (live_fraction(mask, layer, update) for update in ("any", "center"))
    assert any_.raster > 0.9
    assert any_.sorted <= 0.06 and centre.sorted <= 0.01


def test_longer_windows_are_sorted_by_which_parts_of_them_are_empty() -> None:
    """121 taps under a few points: hardly two rows have the same taps, and yet sorting spares much of the work."""
    layer = suite.Layer("sic", 1, 1, 16, suite.KITTI, (11, 11))
    mask = make_mask(parse_mask("lidar"), layer.batch, 1, layer.size, seed=0)
    live = live_fraction(mask, layer, "any")
    assert live.sorted <= 0.58 < 0.9 < live.raster
