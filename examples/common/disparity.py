"""The disparity map of Middlebury's motorcycle, with its real holes: one region to train on, another to test on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .batches import Key, generator_of
from .images import crop

# Columns of the map, 741 wide: what lies between the regions belongs to neither.
TRAINING, HELD_OUT = slice(0, 440), slice(460, 741)
MIDDLE, SPREAD = 34.0, 26.0  # of its values, 7 to 60 px: scaled to -1 to 1


def disparity(columns: slice) -> Tensor:
    """(1, H, W) from -1 to 1, Inf where nothing was measured."""
    from skimage.data import stereo_motorcycle

    return (torch.from_numpy(stereo_motorcycle()[2].astype(np.float32))[None, :, columns] - MIDDLE) / SPREAD


def to_pixels(x: Tensor) -> Tensor:
    return x.float() * SPREAD + MIDDLE


def thinned(measured: Tensor, density: float, random: np.random.Generator) -> Tensor:
    """The measured positions that are given: each with probability `density`."""
    return measured & torch.from_numpy(random.random(tuple(measured.shape)) < density)


class SparseCrops(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Square crops: (x with NaN where not given, mask of what is given, the map with its Inf), of the key alone."""

    def __init__(self, image: Tensor, density: float, size: int, seed: int) -> None:
        self.image, self.density, self.size, self.seed = image, density, size, seed

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor, Tensor]:
        random = generator_of(self.seed, key)
        truth = crop(self.image, self.size, random)
        given = thinned(truth.isfinite(), self.density, random)
        return truth.masked_fill(~given, torch.nan), given, truth
