"""The examples as commands: what they write, what they say of wrong calls, and what their README says of them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import inpainting
import matplotlib.image
import numpy as np
import pytest
import sparsity
import torch
import variable_sizes
from common import errors, tables
from common.figures import save_grid

EXAMPLES = {"inpainting": inpainting, "sparsity": sparsity, "variable_sizes": variable_sizes}
FOLDER = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path, *options: object) -> dict:
    arguments = ["--smoke", "--device", "cpu", "--out", str(folder), *map(str, options)]
    assert EXAMPLES[name].main(arguments) == 0
    return json.loads((folder / "results.json").read_text())


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def test_inpainting(tmp_path, capsys):
    figures = run("inpainting", tmp_path, "--seed", 3)
    printed = capsys.readouterr().out
    assert tables.inpainting(figures) in printed and "written to" in printed
    assert figures["format"] == 1 and figures["settings"]["seed"] == 3 and figures["settings"]["steps"] == 6
    assert figures["versions"]["torch"] == torch.__version__ and figures["processes"] == 1
    methods = [*inpainting.KINDS, "pyramid"]
    assert list(figures["methods"]) == methods and list(figures["training"]) == methods[:3]
    cases = {(row["method"], row["picture"], row["coverage"]) for row in figures["scores"]}
    assert len(cases) == len(figures["scores"]) == len(methods) * 3 * 3
    assert all(5 < row["psnr"] < 40 and -1 <= row["ssim"] <= 1 for row in figures["scores"])
    for curve in figures["training"].values():
        assert len(curve["losses"]) == 1 and curve["cpu_seconds"] > 0
    assert is_picture(tmp_path / "inpainting.png")


def test_sparsity(tmp_path, capsys):
    figures = run("sparsity", tmp_path, "--runs", 2)
    assert tables.sparsity(figures) in capsys.readouterr().out
    assert len(figures["training"]) == 6
    assert len(figures["scores"]) == (2 * 3 + 1) * len(sparsity.DENSITIES)
    nearest = [row["mae"] for row in figures["scores"] if row["method"] == "nearest"]
    assert nearest == sorted(nearest, reverse=True) and nearest[-1] == 0 < nearest[0] < 2
    assert is_picture(tmp_path / "sparsity.png") and is_picture(tmp_path / "sparsity_maps.png")


def test_variable_sizes(tmp_path, capsys):
    run("inpainting", tmp_path / "trained", "--crop", 64, "--widths", 4, 4, 4)
    figures = run("variable_sizes", tmp_path, "--trained", tmp_path / "trained")
    assert tables.variable_sizes(figures) in capsys.readouterr().out and figures["trained"]
    for row in figures["images"]:
        assert row["differences"]["masked"] < 1e-5
    for method in ("unconfined", "plain", "plain_mask"):
        assert max(row["differences"][method] for row in figures["images"]) > 1e-4
        assert figures["gradient"][method] > 10 * figures["gradient"]["masked"]
    assert is_picture(tmp_path / "variable_sizes.png")


def test_the_second_run_trains_nothing(tmp_path, capsys):
    first = run("inpainting", tmp_path, "--kinds", "plain")
    written = (tmp_path / "plain.pt").stat().st_mtime_ns
    second = run("inpainting", tmp_path, "--kinds", "plain")
    assert (tmp_path / "plain.pt").stat().st_mtime_ns == written
    assert second["scores"] == first["scores"] and second["training"] == first["training"]


# ------------------------------------------------------------------------------------------------ what goes wrong

WRONG = [
    ("inpainting", ["--steps", "0"], "argument --steps: got '0', needs a whole number >= 1"),
    ("inpainting", ["--batch", "many"], "argument --batch: got 'many', needs a whole number >= 1"),
    ("inpainting", ["--crop", "40"], "argument --crop: got '40', needs a whole number >= 16, a multiple of 16"),
    ("inpainting", ["--crop", "1024"], "--crop: got 1024, needs"),
    ("inpainting", ["--crop", "80", "--widths", "4", "4", "4", "4", "4"], "--widths: got 5 levels, needs 4 at most"),
    ("inpainting", ["--learning-rate", "-1"], "--learning-rate: got '-1', needs a number above 0, up to 1"),
    ("inpainting", ["--precision", "fp8"], "argument --precision: invalid choice: 'fp8'"),
    ("inpainting", ["--kinds", "dense"], "argument --kinds: invalid choice: 'dense'"),
    ("sparsity", ["--density", "0"], "argument --density: got '0', needs a number above 0, up to 1"),
    ("sparsity", ["--density", "nan"], "argument --density: got 'nan', needs a number"),
    ("sparsity", ["--crop", "600"], "--crop: got 600, needs 440 at most"),
    ("variable_sizes", ["--trained", "nowhere"], "--trained: nowhere has no masked.pt; inpainting.py writes it"),
    ("variable_sizes", ["--out", __file__], "argument --out: got"),
    ("inpainting", ["--out", f"{__file__}/below"], "/below cannot be made: Not a directory"),
]


def error_of(capsys, name: str, *options: object) -> str:
    try:
        status = EXAMPLES[name].main([*map(str, options)])
    except SystemExit as exit:  # argparse's own
        status = exit.code
    assert status == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "options", "message"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
def test_wrong_call(tmp_path, capsys, name, options, message):
    last = error_of(capsys, name, "--smoke", "--out", tmp_path, *options)
    assert last.startswith(f"{name}.py: error: ") and message in last
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_no_cuda(tmp_path, capsys):
    assert "--device cuda: torch finds no CUDA device" in error_of(
        capsys, "sparsity", "--device", "cuda", "--out", tmp_path
    )


def test_checkpoint_of_another_run(tmp_path, capsys):
    options = ["--smoke", "--kinds", "masked", "--out", tmp_path]
    (tmp_path / "masked.pt").write_bytes(b"no checkpoint")
    assert "masked.pt: no checkpoint of this example" in error_of(capsys, "inpainting", *options)
    run("inpainting", tmp_path, "--kinds", "masked", "--restart")
    message = error_of(capsys, "inpainting", *options, "--steps", 8)
    assert "masked.pt: of a run with steps 6, this one has 8; --restart begins anew" in message


def test_trained_by_another_example(tmp_path, capsys):
    file = tmp_path / "masked.pt"
    options = ["variable_sizes", "--smoke", "--out", tmp_path / "out", "--trained", tmp_path]
    file.write_bytes(b"no checkpoint")
    assert error_of(capsys, *options).endswith("masked.pt: no checkpoint of this example (UnpicklingError)")
    run("sparsity", tmp_path, "--kinds", "masked")
    (tmp_path / "masked-0.pt").replace(file)
    assert error_of(capsys, *options).endswith("masked.pt is not of inpainting.py")


def test_scale_of_colours(tmp_path):
    panels = [[("a", np.zeros((20, 30))), ("b", np.ones((20, 30)))]]
    heights = []
    for label in ("", "depth, m"):
        save_grid(tmp_path / "panels.png", panels, label, vmin=0, vmax=2)
        heights.append(matplotlib.image.imread(tmp_path / "panels.png").shape[0])
    assert heights[1] > heights[0] + 40


def test_batch_that_ranks_cannot_share(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("common.ranks.dist.init_process_group", lambda *args, **kwargs: None)
    monkeypatch.setenv("WORLD_SIZE", "3")
    message = error_of(capsys, "inpainting", "--smoke", "--out", tmp_path)
    assert "--batch: got 4 for 3 processes, needs a multiple" in message


def test_missing_packages(tmp_path, capsys, monkeypatch):
    find_spec = errors.importlib.util.find_spec
    monkeypatch.setattr(errors.importlib.util, "find_spec", lambda name: None if name == "skimage" else find_spec(name))
    assert "the examples need scikit-image: pip install maskconv_ext[examples]" in error_of(capsys, "sparsity")


# ------------------------------------------------------------------------------------------------ the README


def test_commands_of_the_readme(capsys):
    """Every command line of the README names an example, with options that it has."""
    text = (FOLDER / "README.md").read_text()
    commands = re.findall(r"^    .*?examples/(\w+)\.py(.*?)(?:\s{2,}.*)?$", text, re.MULTILINE)
    assert {name for name, _ in commands} == set(EXAMPLES)
    for name, options in commands:
        EXAMPLES[name].parser().parse_args(shlex.split(options))
    assert {path.stem for path in FOLDER.glob("*.py")} == set(EXAMPLES)
