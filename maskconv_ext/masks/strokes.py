"""Irregular brush strokes, as of someone who paints holes into a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Radius of a brush, as fractions of the picture's shorter side, and its course.
BRUSH_RADIUS = (0.006, 0.022)
BRUSH_STEPS = (20, 80)
BRUSH_TURN = 0.35  # radians, standard deviation from step to step
BRUSH_ADVANCE = 0.7  # of the radius, so that a stroke has no gaps


def brush_strokes(shape: tuple[int, int], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Irregular strokes that cover `fraction` of the picture: True under the brush."""
    random = np.random.default_rng(seed)
    height, width = shape
    covered = np.zeros(shape, bool)
    while covered.mean() < fraction:
        y, x, angle = random.uniform(0, height), random.uniform(0, width), random.uniform(0, 2 * np.pi)
        radius = max(min(shape) * random.uniform(*BRUSH_RADIUS), 0.5)
        for _ in range(random.integers(*BRUSH_STEPS)):
            _dab(covered, y, x, radius)
            angle += random.normal(0, BRUSH_TURN)
            y += BRUSH_ADVANCE * radius * np.sin(angle)
            x += BRUSH_ADVANCE * radius * np.cos(angle)
    return covered


def _dab(covered: NDArray[np.bool_], y: float, x: float, radius: float) -> None:
    top, left = max(int(y - radius), 0), max(int(x - radius), 0)
    part = covered[top : max(int(y + radius) + 2, 0), left : max(int(x + radius) + 2, 0)]
    rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
    part |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
