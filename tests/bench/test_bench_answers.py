"""The benchmark: every candidate is held against float64, and planted errors are noticed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bench_layers import NOT_COMPILED, TINY, Bench, needs_gpu

from maskconv_ext.bench import candidates as bench_candidates
from maskconv_ext.bench import problem, report, suite


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


@needs_gpu
@pytest.mark.parametrize("direction", suite.PRODUCTS)
def test_on_the_gpu_every_candidate_is_right_and_its_memory_known(bench: Bench, direction: str) -> None:
    status, figures = bench("--device", "cuda", "--direction", direction)
    assert status == 0, report.problem_lines(figures["cases"])
    for record in figures["cases"]:
        op = record["candidates"]["op"]
        assert op["status"] == "ok" and op["peak_bytes"] >= 0 and min(op["samples_us"]) > 0
