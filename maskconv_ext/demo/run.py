"""What `maskconv-ext demo` does: on the pictures that ship with scikit-image, or on the user's own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from ..masks.strokes import brush_strokes
from . import DemoError
from .figure import save_side_by_side, scene_panels
from .files import Source, read_mask, read_source, write_like
from .report import Report
from .scenes import (
    Scene,
    disparity_at_random,
    disparity_with_strokes,
    held_back_at_random,
    photograph_with_strokes,
)
from .scoring import fill_masked, run_methods
from .timing import compare

# Of the user's valid pixels, at random or under brush strokes, for a score: few, so that the picture stays itself.
OWN_HELD_BACK = 0.05
STROKES = 0.25
FIGURES = "figures.json"


class Progress:
    """Lines on stderr, each with the time since the start."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def __call__(self, message: str) -> None:
        print(f"[{time.perf_counter() - self.start:5.1f} s] {message}", file=sys.stderr, flush=True)


def run_default(out: Path, seed: int, repetitions: int) -> None:
    """Score every scene, and write a PNG of each and one JSON into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    progress, report = Progress(), Report(seed)
    scenes = (
        lambda: disparity_at_random(0.5, seed),
        lambda: disparity_at_random(0.9, seed),
        lambda: disparity_with_strokes(STROKES, seed),
        lambda: photograph_with_strokes("coffee", STROKES, seed),
        lambda: photograph_with_strokes("chelsea", STROKES, seed),
    )
    for make in scenes:
        _run_scene(make(), out, report, repetitions, progress)
    _finish(out, report)


def run_own(image: Path, mask: Path | None, out: Path, seed: int, repetitions: int) -> None:
    """Fill the holes of the user's picture, and score the methods on pixels held back besides."""
    source = read_source(image)
    valid = source.valid
    if mask is not None:
        valid &= read_mask(mask, valid.shape)
    if valid.all():
        raise DemoError(f"{image}: no holes; mark them by NaN, by alpha 0, or by 0 in a --mask file")
    if not valid.any():
        raise DemoError(f"{image}: everything is a hole; one valid pixel is needed at least")
    out.mkdir(parents=True, exist_ok=True)
    progress, report = Progress(), Report(seed)

    progress(f"filling {np.count_nonzero(~valid):,} of {valid.size:,} pixels")
    filled = fill_masked(source.picture, valid)
    path = out / f"{image.stem}_filled{image.suffix}"
    write_like(source, source.with_holes_filled(filled, valid), path)
    report.add_file(path)

    scene = _own_scene(source, valid, seed)
    if scene is None:
        print(f"{image}: too few valid pixels to hold some back; no score", file=sys.stderr)
    else:
        _run_scene(scene, out, report, repetitions, progress)
    _finish(out, report)


def _own_scene(source: Source, valid: np.ndarray, seed: int) -> Scene | None:
    scored = valid & brush_strokes(valid.shape, OWN_HELD_BACK, seed)
    if not scored.any() or not (valid & ~scored).any():
        scored = held_back_at_random(valid, OWN_HELD_BACK, seed)
    if not scored.any() or not (valid & ~scored).any():
        return None
    picture = np.where(valid[..., None], source.picture, np.nan).astype(source.picture.dtype)
    unit = "in its own unit" if source.peak is None else f"of {source.peak:.0f}"
    title = f"{source.path.name}, brush strokes over {round(100 * OWN_HELD_BACK)} % held back"
    # A name of its own: with --out beside the picture, the picture must not be overwritten.
    name = f"{source.path.stem}_compared"
    return Scene(name, title, unit, source.peak, picture, valid & ~scored, scored)


def _run_scene(scene: Scene, out: Path, report: Report, repetitions: int, progress: Progress) -> None:
    outcomes = run_methods(scene, progress)
    progress(f"{scene.name}: timing against the composed form")
    timing = compare(scene.input, scene.given, repetitions, report.figures["seed"])
    valid = scene.given | scene.scored
    dense = None if valid.all() else fill_masked(scene.picture, valid)
    report.add_scene(scene, outcomes, timing, report.figures["seed"])
    progress(f"{scene.name}: drawing")
    path = out / f"{scene.name}.png"
    save_side_by_side(path, scene.title, scene_panels(scene, outcomes, dense), scene)
    report.add_file(path)


def _finish(out: Path, report: Report) -> None:
    report.save(out / FIGURES)
    print(f"\n* the best of its column. Written to {out}: {', '.join([*report.figures['files'], FIGURES])}")
