"""The pictures that ship with scikit-image, split into those to train on and those held out, and crops of them."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from maskconv_ext import masks

from .batches import Key, generator_of

# Whole pictures on either side; the two views of the motorcycle are one scene. Each is reduced by the number beside it,
# so that a crop of 64 pixels shows more than a surface.
TRAINING = {
    "astronaut": 2, "brick": 2, "coins": 1, "grass": 2, "gravel": 2, "hubble_deep_field": 4, "immunohistochemistry": 2,
    "moon": 2, "retina": 5, "rocket": 2, "motorcycle_left": 2, "motorcycle_right": 2,
}  # fmt: skip
HELD_OUT = {"camera": 2, "chelsea": 2, "coffee": 2}
MASK_SIZE = 256


@functools.cache
def photograph(name: str, reduction: int) -> NDArray[np.float32]:
    """(H, W, 3) from 0 to 1; grey pictures have three equal channels."""
    import skimage.data
    from skimage.transform import downscale_local_mean

    if name.startswith("motorcycle"):
        picture = skimage.data.stereo_motorcycle()[name.endswith("right")]
    else:
        picture = getattr(skimage.data, name)()
    picture = np.atleast_3d(picture)
    # Only whole blocks: those at the edge would be averaged with zeros.
    height, width = (size // reduction * reduction for size in picture.shape[:2])
    reduced = downscale_local_mean(picture[:height, :width] / 255.0, (reduction, reduction, 1))
    return np.broadcast_to(reduced, (*reduced.shape[:2], 3)).astype(np.float32)


def to_tensor(picture: NDArray[np.float32]) -> Tensor:
    """(3, H, W) from -0.5 to 0.5, so that zeros in holes are grey."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))) - 0.5


def to_picture(x: Tensor) -> NDArray[np.float32]:
    return (x.detach().float().cpu() + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()


def stroke_masks(count: int, coverage: float, seed: int) -> Tensor:
    """(count, 1, MASK_SIZE, MASK_SIZE), bool: brush strokes to be cut and flipped."""
    return masks.random_strokes((count, 1, MASK_SIZE, MASK_SIZE), coverage, torch.Generator().manual_seed(seed))


class HoledCrops(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Square crops of pictures with irregular holes: (x with NaN in the holes, mask, x), each made of its key alone."""

    def __init__(self, pictures: list[Tensor], holes: Tensor, size: int, seed: int) -> None:
        self.pictures, self.holes, self.size, self.seed = pictures, holes, size, seed

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor, Tensor]:
        random = generator_of(self.seed, key)
        picture = crop(self.pictures[key[1] % len(self.pictures)], self.size, random)
        mask = crop(self.holes[random.integers(len(self.holes))], self.size, random)
        return picture.masked_fill(~mask, torch.nan), mask, picture


def crop(image: Tensor, size: int, random: np.random.Generator) -> Tensor:
    """(C, size, size) from anywhere in (C, H, W), flipped by chance."""
    top, left = (random.integers(extent - size + 1) for extent in image.shape[1:])
    image = image[:, top : top + size, left : left + size]
    return image.flip([axis for axis in (1, 2) if random.random() < 0.5])
