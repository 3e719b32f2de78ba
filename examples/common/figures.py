"""Pictures of the results, as small PNGs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DPI = 100
HOLE_COLOR = (1.0, 0.0, 1.0)  # a colour that photographs seldom have
COLORS = ("tab:blue", "tab:orange", "tab:red", "tab:gray")


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_grid(path: Path, rows: Sequence[Sequence[tuple[str, NDArray]]], scale_label: str = "", **options: Any) -> None:
    """Panels (title, image): (H, W, 3) in colour, or (H, W) on a colour map with `options` of imshow; NaN is a hole.

    `scale_label` names the scale of the colour map, which is drawn below the panels.
    """
    widths = [max(row[column][1].shape[1] for row in rows) for column in range(len(rows[0]))]
    heights = [max(image.shape[0] for _, image in row) for row in rows]
    scale = 2.2 / max(widths)  # inches a pixel
    bar = 0.6 if scale_label else 0.0
    figure = _figure(scale * sum(widths), sum(scale * height + 0.35 for height in heights) + bar)
    mapped = None
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False, width_ratios=widths, height_ratios=heights)
    for axes, row in zip(grid, rows):
        for axis, (title, image) in zip(axes, row):
            axis.set_axis_off()
            axis.set_title(title, fontsize=8)
            if image.ndim == 3:
                image = np.where(np.isfinite(image).all(-1, keepdims=True), image, HOLE_COLOR)
            drawn = axis.imshow(image, interpolation="nearest", **options)
            mapped = drawn if image.ndim == 2 else mapped
    if scale_label:
        figure.colorbar(mapped, ax=grid, location="bottom", label=scale_label, fraction=0.02, aspect=60, shrink=0.6)
    figure.savefig(path)


def save_curves(
    path: Path, curves: dict[str, tuple[Sequence[float], NDArray]], trained_at: float, x_label: str, y_label: str
) -> None:
    """Of each label, x and y (runs, x): their mean and range. Zeros are not drawn: the axes are logarithmic."""
    figure = _figure(7, 4.2)
    axis = figure.subplots()
    for (label, (x, y)), color in zip(curves.items(), COLORS):
        y = np.where(y > 0, y, np.nan)
        axis.plot(x, y.mean(0), marker="o", markersize=3, label=label, color=color)
        axis.fill_between(x, y.min(0), y.max(0), alpha=0.2, color=color, linewidth=0)
    axis.axvline(trained_at, color="black", linestyle=":", linewidth=1)
    axis.annotate("trained here", (trained_at, 0.98), xycoords=("data", "axes fraction"), rotation=90, fontsize=8,
                  ha="right", va="top")  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label)
    ticks = list(next(iter(curves.values()))[0])
    axis.set_xticks(ticks, [f"{tick:.0%}" for tick in ticks])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path)
