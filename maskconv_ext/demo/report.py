"""The figures of a run: a table to read and a JSON file to keep."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .. import __version__, native
from .scenes import Scene
from .scoring import Outcome

FORMAT = 1  # of the JSON file
# What a table shows of the scores, and whether more is better.
COLUMNS = {
    "mae": ("MAE", False),
    "rmse": ("RMSE", False),
    "psnr": ("PSNR dB", True),
    "seconds": ("seconds", None),
}
PACKAGES = ("numpy", "scipy", "scikit-image", "matplotlib", "pillow")


class Report:
    """Collects scenes as they are done; prints each, and writes all at the end."""

    def __init__(self, seed: int) -> None:
        self.figures: dict[str, Any] = {
            "format": FORMAT,
            "engine": "native" if native.is_loaded else "reference",
            "threads": torch.get_num_threads(),
            "versions": {
                "maskconv_ext": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                **{name: version(name) for name in PACKAGES},
            },
            "seed": seed,
            "scenes": {},
            "files": [],
        }

    def add_scene(
        self, scene: Scene, outcomes: dict[str, Outcome], timing: dict[str, dict[str, float]], seed: int
    ) -> None:
        height, width = scene.given.shape
        scores = {name: outcome.scores for name, outcome in outcomes.items()}
        self.figures["scenes"][scene.name] = {
            "title": scene.title,
            "height": height,
            "width": width,
            "channels": scene.picture.shape[2],
            "unit": scene.unit,
            "seed": seed,
            "given_fraction": float(scene.given.mean()),
            "scored_pixels": int(scene.scored.sum()),
            "scores": scores,
            "timing": timing,
        }
        print(f"\n{scene.title} ({width} x {height}; {scene.scored.sum():,} pixels scored; errors {scene.unit})")
        print("\n".join(_score_lines(scores)))
        for name, times in timing.items():
            print(
                f"  time, {name}: masked_conv2d {times['op_ms']:.1f} ms, composed {times['composed_ms']:.1f} ms, "
                f"{times['speedup']:.2f} times as fast (medians of {times['repetitions']})"
            )

    def add_file(self, path: Path) -> None:
        self.figures["files"].append(path.name)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.figures, indent=2) + "\n")


def _score_lines(scores: dict[str, dict[str, float]]) -> list[str]:
    """One line a method; the best of each error is starred."""
    keys = [key for key in COLUMNS if all(key in of_method for of_method in scores.values())]
    lines = [f"  {'':22}" + "".join(f"{COLUMNS[key][0]:>11} " for key in keys)]
    for name, of_method in scores.items():
        line = f"  {name:22}"
        for key in keys:
            more_is_better = COLUMNS[key][1]
            column = [other[key] for other in scores.values()]
            best = more_is_better is not None and of_method[key] == (max if more_is_better else min)(column)
            line += f"{of_method[key]:11.4g}" + ("*" if best else " ")
        lines.append(line)
    return lines
