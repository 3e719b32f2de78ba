"""Every method on one scene: its result, its errors in the holes and its time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from . import baselines
from .baselines import Mask, Picture
from .pyramid import fill_holes, masked_window, plain_window
from .scenes import Scene

PLAIN, NEAREST, LINEAR, MASKED = "plain convolution", "nearest", "linear", "masked convolution"


@dataclass(frozen=True)
class Outcome:
    filled: Picture
    scores: dict[str, float]  # mae, rmse, seconds, and psnr where white has a value


def fill_masked(picture: Picture, mask: Mask) -> Picture:
    """The picture as it is, NaN and Inf in its holes, through the pyramid of masked convolutions."""
    return _through_pyramid(picture, mask, masked_window)


def fill_plain(picture: Picture, mask: Mask) -> Picture:
    """The same pyramid of plain convolutions, on zeros in the holes."""
    return _through_pyramid(np.where(mask[..., None], picture, 0).astype(picture.dtype), mask, plain_window)


def _through_pyramid(picture: Picture, mask: Mask, window: Callable) -> Picture:
    x, m = as_tensors(picture, mask)
    with torch.inference_mode():
        filled = fill_holes(x, m, window)
    return filled[0].permute(1, 2, 0).numpy()


def as_tensors(picture: Picture, mask: Mask) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, C, H, W) and (1, 1, H, W)."""
    channels_first = np.ascontiguousarray(picture.transpose(2, 0, 1))
    return torch.from_numpy(channels_first)[None], torch.from_numpy(mask)[None, None]


METHODS: dict[str, Callable[[Picture, Mask], Picture | None]] = {
    PLAIN: fill_plain,
    NEAREST: baselines.nearest,
    LINEAR: baselines.linear,
    MASKED: fill_masked,
}


def errors(filled: Picture, scene: Scene) -> dict[str, float]:
    """Errors over the scored pixels only."""
    difference = filled[scene.scored].astype(np.float64) - scene.picture[scene.scored]
    rmse = math.sqrt(np.mean(difference**2))
    scores = {"mae": float(np.mean(np.abs(difference))), "rmse": rmse}
    if scene.peak is not None:
        scores["psnr"] = 20 * math.log10(scene.peak / rmse) if rmse > 0 else math.inf
    return scores


def run_methods(scene: Scene, progress: Callable[[str], None]) -> dict[str, Outcome]:
    """Outcomes by method; one that declines, for the picture's size, is left out and named."""
    outcomes = {}
    for name, method in METHODS.items():
        progress(f"{scene.name}: {name}")
        start = time.perf_counter()
        filled = method(scene.input, scene.given)
        seconds = time.perf_counter() - start
        if filled is None:
            progress(f"{scene.name}: {name} left out, the picture is too large for it")
            continue
        outcomes[name] = Outcome(filled, {**errors(filled, scene), "seconds": seconds})
    return outcomes
