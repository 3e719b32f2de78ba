"""Panels side by side, as a PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .baselines import Picture
from .scenes import Scene
from .scoring import LINEAR, MASKED, NEAREST, Outcome

COLUMNS = 4
PANEL_WIDTH = 4.6  # inches
TITLE_HEIGHT = 0.45
HEADING_HEIGHT = 0.5
PANEL_GAP = 0.015  # of a panel's width
ASPECT_LIMITS = (0.3, 2.0)  # of a panel's height to its width, for very long pictures
DPI = 100
MAX_PIXELS = 1400  # along the longer side of a panel; larger pictures are thinned out
MAP_COLORS = "viridis"  # for maps of measured values; holes in them are white
HOLE_COLOR = (1.0, 0.0, 1.0)  # in photographs: a colour they seldom have
GREY, BLACK, WHITE = 140, 0, 255
# The colour scale runs between these percentiles, so that single outliers do not flatten all the rest.
SCALE_PERCENTILES = (0.5, 99.5)
# The detail: a part of the picture, by fractions of its height and width.
DETAIL = ((0.25, 0.55), (0.45, 0.75))


@dataclass(frozen=True)
class Panel:
    title: str
    image: NDArray  # floating (H, W, C) to be scaled, or uint8 (H, W, 3) to be shown as it is
    best: bool = False


def scene_panels(scene: Scene, outcomes: dict[str, Outcome], dense: Picture | None) -> list[Panel]:
    """Input, mask and every method's result, then details; `dense` is the result where nothing was held back."""
    panels = [
        Panel("original" if dense is None else "original, with its holes", scene.picture),
        Panel(f"input: {100 * scene.given.mean():.0f} % of the pixels", _only(scene.given, scene.picture)),
        Panel("mask: white is valid, grey is scored", _mask_tones(scene)),
    ]
    best = min(outcome.scores["mae"] for outcome in outcomes.values())
    for name, outcome in outcomes.items():
        scores = outcome.scores
        title = f"{name}: MAE {scores['mae']:.3g}, RMSE {scores['rmse']:.3g} {scene.unit}"
        if "psnr" in scores:
            title += f"\nPSNR {scores['psnr']:.1f} dB in the holes"
        panels.append(Panel(title, outcome.filled, scores["mae"] == best))
    if dense is None:
        panels.append(Panel("masked convolution: absolute error", np.abs(outcomes[MASKED].filled - scene.picture)))
    else:
        panels.append(Panel("masked convolution,\nall valid pixels given", dense))
    panels += [Panel("", np.zeros((1, 1, 3), np.uint8))] * (-len(panels) % COLUMNS)

    panels.append(Panel("detail: original", _detail(scene.picture)))
    for name in (NEAREST, LINEAR, MASKED):
        if name in outcomes:
            panels.append(Panel(f"detail: {name}", _detail(outcomes[name].filled)))
    return panels


def save_side_by_side(path: Path, heading: str, panels: list[Panel], scene: Scene) -> None:
    """All panels on one colour scale, the scene's; the one marked best has its title in bold."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(panels) // COLUMNS)
    height, width = scene.given.shape
    panel_height = PANEL_WIDTH * min(max(height / width, ASPECT_LIMITS[0]), ASPECT_LIMITS[1])
    total_height = rows * (panel_height + TITLE_HEIGHT) + HEADING_HEIGHT
    figure = Figure(figsize=(COLUMNS * PANEL_WIDTH, total_height), dpi=DPI)
    FigureCanvasAgg(figure)
    heading_y = 1 - HEADING_HEIGHT / 2 / total_height
    figure.suptitle(f"{heading} (bold: lowest MAE)", fontsize=16, y=heading_y, va="center")
    # Laid out by hand: measuring text to find a layout takes longer than all else.
    top = 1 - (HEADING_HEIGHT + TITLE_HEIGHT) / total_height
    grid = figure.add_gridspec(
        rows, COLUMNS, left=0, right=1, bottom=0, top=top, wspace=PANEL_GAP, hspace=TITLE_HEIGHT / panel_height
    )
    scale = _scale(scene)
    for place, panel in enumerate(panels):
        if panel.title:
            axis = figure.add_subplot(grid[place // COLUMNS, place % COLUMNS])
            axis.set(xticks=[], yticks=[], frame_on=False)
            axis.set_title(panel.title, fontsize=11.5, fontweight="bold" if panel.best else "normal")
            image, options = _drawable(panel.image, scale, is_map=scene.peak is None)
            axis.imshow(image, interpolation="nearest", **options)
    figure.savefig(path)


def _only(valid: NDArray, picture: Picture) -> Picture:
    return np.where(valid[..., None], picture, np.nan)


def _mask_tones(scene: Scene) -> NDArray:
    tones = np.where(scene.given, WHITE, np.where(scene.scored, GREY, BLACK)).astype(np.uint8)
    return np.repeat(tones[..., None], 3, axis=-1)


def _detail(image: NDArray) -> NDArray:
    window = (
        slice(int(start * size), int(start * size) + max(int((stop - start) * size), 1))
        for (start, stop), size in zip(DETAIL, image.shape)
    )
    return image[tuple(window)]


def _scale(scene: Scene) -> tuple[float, float]:
    if scene.peak is not None:
        return 0.0, scene.peak
    low, high = np.percentile(scene.picture[np.isfinite(scene.picture)], SCALE_PERCENTILES)
    return float(low), float(high)


def _drawable(image: NDArray, scale: tuple[float, float], is_map: bool) -> tuple[NDArray, dict[str, Any]]:
    """The image and the options with which imshow draws it."""
    step = max(-(-max(image.shape[:2]) // MAX_PIXELS), 1)
    image, (low, high) = image[::step, ::step], scale
    if image.dtype == np.uint8:
        return image, {}
    if is_map and image.shape[2] == 1:
        return np.ma.masked_invalid(image[..., 0]), {"cmap": MAP_COLORS, "vmin": low, "vmax": high}
    finite = np.isfinite(image).all(-1, keepdims=True)
    scaled = np.clip((np.where(finite, image, low) - low) / max(high - low, 1e-30), 0, 1)
    return np.where(finite, np.broadcast_to(scaled, (*image.shape[:2], 3)), HOLE_COLOR), {}
