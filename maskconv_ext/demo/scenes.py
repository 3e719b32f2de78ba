"""The pictures of the demonstration, and where their holes come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..masks.strokes import brush_strokes
from .baselines import Mask, Picture


@dataclass(frozen=True)
class Scene:
    """A picture, the pixels a method is given, and the pixels it is scored on."""

    name: str
    title: str
    unit: str  # of the picture's values
    peak: float | None  # value of white, for PSNR; None where there is none
    picture: Picture  # (H, W, C), not finite where nothing is known
    given: Mask
    scored: Mask

    @property
    def input(self) -> Picture:
        """What a method sees: NaN under every pixel held back, and the picture's own NaN and Inf as they are."""
        return np.where(self.scored[..., None], np.nan, self.picture).astype(self.picture.dtype)


def held_back_at_random(valid: Mask, fraction: float, seed: int) -> Mask:
    return valid & (np.random.default_rng(seed).random(valid.shape) < fraction)


def _disparity() -> tuple[Picture, Mask]:
    from skimage.data import stereo_motorcycle

    disparity = stereo_motorcycle()[2][..., None].astype(np.float32)
    return disparity, np.isfinite(disparity[..., 0])


def disparity_at_random(fraction: float, seed: int) -> Scene:
    """A measured disparity map whose unmatched pixels are Inf, without `fraction` of its valid pixels."""
    disparity, valid = _disparity()
    scored = held_back_at_random(valid, fraction, seed)
    percent = round(100 * fraction)
    title = f"disparity map, {percent} % of the valid pixels held back at random"
    return Scene(f"disparity_{percent}", title, "px", None, disparity, valid & ~scored, scored)


def disparity_with_strokes(fraction: float, seed: int) -> Scene:
    """The same map without what lies under brush strokes."""
    disparity, valid = _disparity()
    scored = valid & brush_strokes(valid.shape, fraction, seed)
    title = f"disparity map, brush strokes over {round(100 * fraction)} %"
    return Scene("disparity_strokes", title, "px", None, disparity, valid & ~scored, scored)


def photograph_with_strokes(name: str, fraction: float, seed: int) -> Scene:
    """A photograph that ships with scikit-image, with NaN under brush strokes."""
    import skimage.data

    picture = getattr(skimage.data, name)().astype(np.float32)
    scored = brush_strokes(picture.shape[:2], fraction, seed)
    title = f"photograph '{name}', brush strokes over {round(100 * fraction)} %"
    return Scene(f"photo_{name}", title, "of 255", 255.0, picture, ~scored, scored)
