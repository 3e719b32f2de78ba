"""Random holes, for training and tests.

The generator decides: equal seeds give equal masks. Numbers are drawn on the generator's device (without one: the
CPU), so a mask does not depend on the device it goes to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._checks import check_generator, check_shape, is_int, is_number, per_axis
from .strokes import brush_strokes


def random_strokes(
    shape: Sequence[int],
    coverage: float = 0.25,
    generator: torch.Generator | None = None,
    *,
    device: torch.device | str | None = None,
) -> Tensor:
    """Holes under irregular brush strokes, as image inpainting trains on (Liu et al. 2018).

    Strokes are drawn until they cover the wanted share, each image and each mask channel on its own.

    Args:
        shape: (N, M, H, W) of the mask.
        coverage: share of the pixels that are holes at least, in [0, 1); the last stroke may exceed it.
        generator: as in torch.rand.
        device: where the mask goes; that of the generator by default.

    Returns:
        bool, (N, M, H, W), False under the brush.

    Raises:
        TypeError: `generator` is none.
        ValueError: a shape or a share that does not fit.

    Example:
        >>> import torch
        >>> from maskconv_ext import masks
        >>> mask = masks.random_strokes((2, 1, 64, 64), 0.3, torch.Generator().manual_seed(0))
        >>> bool((~mask).float().mean() >= 0.3)
        True
    """
    op = "random_strokes"
    count, parts, height, width = check_shape(op, shape, rank=2)
    _check_share(op, "coverage", coverage, below_one=True)
    check_generator(op, generator)
    seeds = _draw(torch.randint, 2**62, (count * parts,), generator=generator).tolist()
    holes = np.zeros((count * parts, height, width), bool)
    for image, seed in zip(holes, seeds):
        image[:] = brush_strokes((height, width), coverage, seed)
    return torch.from_numpy(~holes).view(count, parts, height, width).to(_device(generator, device))


def random_blocks(
    shape: Sequence[int],
    patch: int | Sequence[int],
    hidden_fraction: float = 0.6,
    generator: torch.Generator | None = None,
    *,
    device: torch.device | str | None = None,
) -> Tensor:
    """Whole patches hidden, the same number in every image: masked image modelling (MAE, SparK).

    Args:
        shape: (N, M, *S) of the mask.
        patch: side of a patch, one int an axis or one for all; divides the sizes.
        hidden_fraction: share of the patches that are holes, in [0, 1]; rounded to a whole number of patches.
        generator, device: as in `random_strokes`.

    Returns:
        bool, (N, M, *S), False where hidden.

    Raises:
        TypeError: `generator` is none.
        ValueError: a shape, patch or share that does not fit.

    Example:
        >>> import torch
        >>> from maskconv_ext import masks
        >>> mask = masks.random_blocks((4, 1, 224, 224), 32, 0.6, torch.Generator().manual_seed(0))
        >>> mask.sum((1, 2, 3)) // 32**2  # of 49 patches
        tensor([20, 20, 20, 20])
    """
    op = "random_blocks"
    count, parts, *size = check_shape(op, shape)
    sides = per_axis(op, "patch", patch, len(size))
    if any(side % step for side, step in zip(size, sides)):
        raise ValueError(f"{op}: patch: got {patch!r}, needs divisors of the sizes {tuple(size)}")
    _check_share(op, "hidden_fraction", hidden_fraction)
    check_generator(op, generator)
    grid = [side // step for side, step in zip(size, sides)]
    patches = int(np.prod(grid))
    # Ranks of random numbers are a random permutation of each row.
    order = _draw(torch.rand, (count * parts, patches), generator=generator).argsort(1).argsort(1)
    mask = (order >= round(hidden_fraction * patches)).view(count, parts, *grid).to(_device(generator, device))
    for axis, step in enumerate(sides):
        mask = mask.repeat_interleave(step, axis + 2)
    return mask


def random_rectangles(
    shape: Sequence[int],
    count: int = 1,
    side: tuple[float, float] = (0.1, 0.5),
    generator: torch.Generator | None = None,
    *,
    device: torch.device | str | None = None,
) -> Tensor:
    """Rectangular holes, boxes in volumes and gaps in sequences, anywhere in the image; they may overlap.

    Args:
        shape: (N, M, *S) of the mask.
        count: rectangles an image and mask channel, >= 0.
        side: shortest and longest side, as shares of the image's, in [0, 1]; at least one pixel.
        generator, device: as in `random_strokes`.

    Returns:
        bool, (N, M, *S), False within the rectangles.

    Raises:
        TypeError: `generator` is none.
        ValueError: a shape, count or share that does not fit.

    Example:
        >>> import torch
        >>> from maskconv_ext import masks
        >>> mask = masks.random_rectangles((8, 1, 32, 32), 2, (0.25, 0.25), torch.Generator().manual_seed(0))
        >>> bool(((~mask).sum((1, 2, 3)) >= 8 * 8).all())
        True
    """
    op = "random_rectangles"
    images, parts, *size = check_shape(op, shape)
    if not is_int(count) or count < 0:
        raise ValueError(f"{op}: count: got {count!r}, needs an int >= 0")
    if not isinstance(side, Sequence) or len(side) != 2 or not all(is_number(s) for s in side):
        raise ValueError(f"{op}: side: got {side!r}, needs two numbers, the shortest and the longest")
    if not 0 <= side[0] <= side[1] <= 1:
        raise ValueError(f"{op}: side: got {side!r}, needs shares in [0, 1], the shortest first")
    check_generator(op, generator)
    random = _draw(torch.rand, (2, len(size), images, parts, count), generator=generator, dtype=torch.float64)
    holes = torch.ones(images, parts, count, *[1] * len(size), dtype=torch.bool, device=random.device)
    for axis, extent in enumerate(size):
        length = ((side[0] + (side[1] - side[0]) * random[0, axis]) * extent).round().clamp(min=1)
        start = (random[1, axis] * (extent - length + 1)).floor()
        position = torch.arange(extent, device=random.device).view(-1, *[1] * (len(size) - 1 - axis))
        start, end = (edge.view(images, parts, count, *[1] * len(size)) for edge in (start, start + length))
        holes = holes & (position >= start) & (position < end)
    return ~holes.expand(images, parts, count, *size).any(2).to(_device(generator, device))


def _draw(function: Callable[..., Tensor], *args: Any, generator: torch.Generator | None, **kwargs: Any) -> Tensor:
    # Without a generator numbers come from the CPU's global one, whatever torch.set_default_device says.
    device = "cpu" if generator is None else generator.device
    return function(*args, generator=generator, device=device, **kwargs)


def _device(generator: torch.Generator | None, device: torch.device | str | None) -> torch.device | str:
    if device is not None:
        return device
    return torch.get_default_device() if generator is None else generator.device


def _check_share(op: str, name: str, value: Any, below_one: bool = False) -> None:
    if not is_number(value) or not 0 <= value <= 1 or (below_one and value == 1):
        raise ValueError(f"{op}: {name}: got {value!r}, needs a number in [0, 1{')' if below_one else ']'}")
