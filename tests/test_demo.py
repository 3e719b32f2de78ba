"""The demonstration: its numbers on real data, its command on small pictures, and what it says when it cannot."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

import maskconv_ext
from maskconv_ext.cli import main
from maskconv_ext.demo import baselines, files, pyramid, scenes, scoring
from maskconv_ext.masks.strokes import brush_strokes

pytest.importorskip("skimage", reason="the demo's packages are not installed")
image_module = pytest.importorskip("PIL.Image", reason="the demo's packages are not installed")

HEIGHT, WIDTH = 37, 50  # odd and even: the pyramid pads one and not the other


@pytest.fixture(autouse=True)
def one_thread():
    """On pictures this small, threads cost more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def gradient() -> np.ndarray:
    """An 8-bit RGB picture that a fill can restore almost exactly."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([40 + 4 * rows, 200 - 3 * columns, 60 + rows + columns], axis=-1).astype(np.uint8)


@pytest.fixture
def hole() -> np.ndarray:
    """True in a block and in some single pixels."""
    covered = np.random.default_rng(3).random((HEIGHT, WIDTH)) < 0.1
    covered[10:16, 20:26] = True
    return covered


def run_demo(tmp_path: Path, *arguments: object) -> dict:
    out = tmp_path / "out"
    assert main(["demo", *map(str, arguments), "--out", str(out), "--repetitions", "1"]) == 0
    return json.loads((out / "figures.json").read_text())


def error_of(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    assert main(["demo", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("maskconv-ext: error: ") and error.count("\n") == 1
    return error


def assert_filled(result: np.ndarray, original: np.ndarray, hole: np.ndarray) -> None:
    """Valid pixels untouched, holes close to the truth."""
    assert result.dtype == original.dtype and result.shape == original.shape
    np.testing.assert_array_equal(result[~hole], original[~hole])
    error = np.abs(result[hole].astype(float) - original[hole])
    assert error.mean() < 0.03 * (original.max() - original.min())


# ------------------------------------------------------------------------------------------------ on real data


@pytest.fixture(scope="module")
def disparity_crop() -> scenes.Scene:
    whole = scenes.disparity_at_random(0.5, seed=0)
    crop = np.s_[120:240, 380:520]
    scene = scenes.Scene("crop", "crop", "px", None, whole.picture[crop], whole.given[crop], whole.scored[crop])
    assert np.isinf(scene.input).any() and np.isnan(scene.input).any()
    return scene


def test_masked_convolution_beats_plain_and_nearest_on_a_measured_map(disparity_crop):
    outcomes = scoring.run_methods(disparity_crop, progress=lambda message: None)
    masked = outcomes[scoring.MASKED].scores
    assert masked["mae"] < 0.1 * outcomes[scoring.PLAIN].scores["mae"]
    for error in ("mae", "rmse"):
        assert masked[error] < outcomes[scoring.NEAREST].scores[error]
    for outcome in outcomes.values():
        assert np.isfinite(outcome.filled).all()
        np.testing.assert_array_equal(
            outcome.filled[disparity_crop.given], disparity_crop.picture[disparity_crop.given]
        )


def test_the_composed_form_computes_the_same_from_zeros(disparity_crop):
    x, mask = scoring.as_tensors(disparity_crop.input, disparity_crop.given)
    composed = pyramid.fill_holes(torch.where(mask, x, 0), mask, pyramid.composed_window)
    torch.testing.assert_close(pyramid.fill_holes(x, mask), composed)


def test_linear_needs_only_the_rims_of_the_holes(disparity_crop):
    from scipy.interpolate import LinearNDInterpolator

    covered = brush_strokes((40, 60), 0.2, seed=1)
    picture = disparity_crop.picture[:40, :60]
    valid = ~covered & np.isfinite(picture[..., 0])
    holes = np.argwhere(~valid)
    everything = LinearNDInterpolator(np.argwhere(valid), picture[valid])(holes)
    inside = np.isfinite(everything[:, 0])
    got = baselines.linear(picture, valid)[tuple(holes.T)]
    # Squares of the grid have two equally good diagonals, and the choice may differ.
    assert np.mean(np.isclose(got[inside], everything[inside])) > 0.9


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (2, 3), (5, 16)])
def test_one_valid_pixel_fills_everything(shape):
    mask = np.zeros(shape, bool)
    mask[-1, 0] = True
    picture = np.where(mask, 7.0, np.nan)[..., None]
    np.testing.assert_allclose(scoring.fill_masked(picture, mask), 7.0)


# ------------------------------------------------------------------------------------------------ on one's own


def test_mask_file(tmp_path, gradient, hole):
    damaged = np.where(hole[..., None], np.uint8(255), gradient)
    image_module.fromarray(damaged).save(tmp_path / "picture.png")
    image_module.fromarray(np.where(hole, 0, 255).astype(np.uint8)).save(tmp_path / "mask.png")

    command = [sys.executable, "-m", "maskconv_ext.cli", "demo", "picture.png", "--mask", "mask.png", "--out", "out"]
    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "masked convolution" in done.stdout and "PSNR" in done.stdout and "drawing" in done.stderr

    with image_module.open(tmp_path / "out" / "picture_filled.png") as result:
        assert result.mode == "RGB"
        assert_filled(np.asarray(result), gradient, hole)


def test_alpha(tmp_path, gradient, hole):
    alpha = np.where(hole, 0, 128).astype(np.uint8)
    image_module.fromarray(np.dstack([np.where(hole[..., None], 0, gradient).astype(np.uint8), alpha])).save(
        tmp_path / "picture.png"
    )
    run_demo(tmp_path, tmp_path / "picture.png")
    with image_module.open(tmp_path / "out" / "picture_filled.png") as result:
        assert result.mode == "RGBA"
        assert_filled(np.asarray(result)[..., :3], gradient, hole)
        np.testing.assert_array_equal(np.asarray(result)[..., 3], np.where(hole, 255, 128))


@pytest.mark.parametrize(("suffix", "dtype"), [(".npy", np.float64), (".tif", np.float32)])
def test_nan_and_inf(tmp_path, gradient, hole, suffix, dtype):
    original = gradient[..., 0].astype(dtype) / 100
    damaged = np.where(hole, dtype(np.nan), original)
    damaged[10:13, 20:26] = np.inf
    path = tmp_path / f"map{suffix}"
    files.write_like(None, damaged, path)
    figures = run_demo(tmp_path, path)
    assert figures["files"] == [f"map_filled{suffix}", "map_compared.png"]
    assert_filled(files.read_source(tmp_path / "out" / f"map_filled{suffix}").array, original, hole)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey(tmp_path, gradient, hole, suffix):
    original = gradient[..., 0].astype(np.uint16) * 251
    files.write_like(None, np.where(hole, 0, original).astype(np.uint16), tmp_path / f"depth{suffix}")
    np.save(tmp_path / "mask.npy", ~hole)
    run_demo(tmp_path, tmp_path / f"depth{suffix}", "--mask", tmp_path / "mask.npy")
    assert_filled(files.read_source(tmp_path / "out" / f"depth_filled{suffix}").array, original, hole)


def test_json_and_picture(tmp_path, gradient, hole):
    damaged = np.where(hole[..., None], np.nan, gradient.astype(np.float32))
    np.save(tmp_path / "picture.npy", damaged)
    figures = run_demo(tmp_path, tmp_path / "picture.npy", "--seed", 5)

    assert figures["format"] == 1 and figures["seed"] == 5
    assert figures["engine"] in ("native", "reference")
    assert figures["versions"]["torch"] == torch.__version__
    assert figures["versions"]["maskconv_ext"] == maskconv_ext.__version__
    (scene,) = figures["scenes"].values()
    assert (scene["height"], scene["width"], scene["channels"]) == (HEIGHT, WIDTH, 3)
    assert 0 < scene["scored_pixels"] < HEIGHT * WIDTH * 0.3
    assert list(scene["scores"]) == list(scoring.METHODS)
    for scores in scene["scores"].values():
        assert set(scores) == {"mae", "rmse", "seconds"} and scores["mae"] <= scores["rmse"]
    for times in scene["timing"].values():
        assert times["op_ms"] > 0 and times["composed_ms"] > 0
        assert times["largest_relative_difference"] < 1e-4

    with image_module.open(tmp_path / "out" / "picture_compared.png") as side_by_side:
        width, height = side_by_side.size
        assert 1500 < width < 2500 and 800 < height < 2500
        assert np.asarray(side_by_side.convert("L")).std() > 10


# ------------------------------------------------------------------------------------------------ what goes wrong


def test_no_such_file(tmp_path, capsys):
    assert "gone.png: no such file" in error_of(capsys, tmp_path / "gone.png")


def test_not_a_picture(tmp_path, capsys):
    for name in ("text.png", "text.tif", "text.npy"):
        (tmp_path / name).write_text("no picture")
        assert f"{name}: cannot be read as a picture (" in error_of(capsys, tmp_path / name)


@pytest.mark.parametrize("array", [np.zeros(5), np.zeros((4, 5, 6)), np.zeros((4, 5), complex), np.zeros((0, 5))])
def test_not_of_a_picture_shape_or_type(tmp_path, capsys, array):
    np.save(tmp_path / "array.npy", array)
    assert f"not {array.shape} of {array.dtype}" in error_of(capsys, tmp_path / "array.npy")


def test_mask_of_another_size(tmp_path, capsys, gradient):
    image_module.fromarray(gradient).save(tmp_path / "picture.png")
    image_module.fromarray(gradient[:30]).save(tmp_path / "mask.png")
    message = error_of(capsys, tmp_path / "picture.png", "--mask", tmp_path / "mask.png")
    assert "the mask is 50 x 30 but the picture is 50 x 37" in message


def test_no_hole(tmp_path, capsys, gradient):
    image_module.fromarray(gradient).save(tmp_path / "picture.png")
    assert "no holes; mark them by NaN, by alpha 0, or by 0 in a --mask file" in error_of(
        capsys, tmp_path / "picture.png"
    )


def test_everything_a_hole(tmp_path, capsys):
    np.save(tmp_path / "picture.npy", np.full((6, 8), np.nan))
    assert "everything is a hole" in error_of(capsys, tmp_path / "picture.npy")


def test_mask_without_picture(capsys):
    assert "--mask goes with a picture of your own" in error_of(capsys, "--mask", "mask.png")


def test_sixteen_bit_colour_png(tmp_path, capsys):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    width, height, depth, rgb = 4, 3, 16, 2
    head = struct.pack(">IIBBBBB", width, height, depth, rgb, 0, 0, 0)
    lines = zlib.compress(height * (b"\0" + width * b"\1\2\3\4\5\6"))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")
    (tmp_path / "picture.png").write_bytes(png)
    assert "16-bit colour PNG would be read as 8-bit" in error_of(capsys, tmp_path / "picture.png")


def test_missing_packages(capsys, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("skimage", "scipy") else find_spec(name)
    )
    assert error_of(capsys).endswith("the demo needs scikit-image, scipy: pip install maskconv_ext[demo]\n")


def test_the_picture_itself_is_never_overwritten(tmp_path, gradient, hole):
    path = tmp_path / "picture.png"
    image_module.fromarray(np.dstack([gradient, np.where(hole, 0, 255).astype(np.uint8)])).save(path)
    before = path.read_bytes()
    assert main(["demo", str(path), "--out", str(tmp_path), "--repetitions", "1"]) == 0
    assert path.read_bytes() == before


def test_nothing_is_written_on_an_error(tmp_path, capsys, gradient):
    image_module.fromarray(gradient).save(tmp_path / "picture.png")
    error_of(capsys, tmp_path / "picture.png", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
