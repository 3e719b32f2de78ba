"""Seeded masks, (N, M, *S) bool, True = valid.

Written NAME, or NAME@V for a valid fraction V: spark@0.25. strokes25 and strokes50 are 25 and 50 % of holes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..masks.strokes import brush_strokes
from . import BenchError

Size = tuple[int, ...]
OneMask = NDArray[np.bool_]  # (*S): of one image
Generator = Callable[[Size, float, np.random.Generator], OneMask]

STROKES_IMAGE = 512  # strokes are drawn at an image's size, and taken nearest to a deeper layer's
SPARK_GRID = 7  # 224 / 32 blocks a side
SIDE_FRACTION = (0.4, 1.0)  # of a padded batch's sides and lengths
SCAN_LINES = 64 / 352  # a 64-beam scanner's share of an image's rows
SCAN_LINE_WAVE = 1.5  # rows by which a line is bent
SCAN_LINE_JITTER = 0.2  # of the distance between lines, standard deviation of its points
BLOB_CENTRES = 3
SIC_1_KERNEL = 11


@dataclass(frozen=True)
class Mask:
    name: str  # as written
    kind: str
    valid: float  # wanted fraction; of those that take none, unused


def _ones(size: Size, valid: float, random: np.random.Generator) -> OneMask:
    return np.ones(size, bool)


def _zeros(size: Size, valid: float, random: np.random.Generator) -> OneMask:
    return np.zeros(size, bool)


def _strokes(size: Size, valid: float, random: np.random.Generator) -> OneMask:
    height, width = (max(side, STROKES_IMAGE) for side in size)
    return _nearest(~brush_strokes((height, width), 1 - valid, int(random.integers(2**31))), size)


def _spark(size: Size, valid: float, random: np.random.Generator) -> OneMask:
    """Whole blocks, the same count in every image."""
    blocks = np.zeros(SPARK_GRID ** len(size), bool)
    blocks[: round(valid * blocks.size)] = True
    return _nearest(random.permutation(blocks).reshape((SPARK_GRID,) * len(size)), size)


def _rectangles(size: Size, valid: float, random: np.random.Generator) -> OneMask:
    mask = np.zeros(size, bool)
    mask[tuple(slice(max(round(side * random.uniform(*SIDE_FRACTION)), 1)) for side in size)] = True
    return mask


def _lengths(size: Size, valid: float, random: np.random.Generator) -> OneMask:
    mask = np.zeros(size, bool)
    mask[..., : max(round(size[-1] * random.uniform(*SIDE_FRACTION)), 1)] = True
    return mask


def _lidar(size: Size, valid: float, random: np.random.Generator) -> OneMask:
    """Points scattered along and about bent scan lines; more lines where they could not hold as many."""
    height, width = size
    lines = min(max(round(SCAN_LINES * height), math.ceil(valid * height)), height)
    columns = np.arange(width)
    bend = SCAN_LINE_WAVE * np.sin(2 * np.pi * (columns / width + random.random()))
    jitter = random.normal(0, SCAN_LINE_JITTER, (lines, width))
    rows = ((np.arange(lines)[:, None] + jitter) * height / lines + bend).round().astype(int) % height
    on_lines = np.zeros(size, bool)
    on_lines[rows, columns[None]] = True
    return on_lines & (random.random(size) < valid * height * width / on_lines.sum())


def _blob(size: Size, valid: float, random: np.random.Generator) -> OneMask:
    """A union of ellipsoids, grown together until they fill the wanted fraction."""
    distance = np.full(size, np.inf)
    for _ in range(BLOB_CENTRES):
        total = np.zeros(size)
        for axis, side in enumerate(size):
            centre, radius = random.uniform(0.25, 0.75) * side, random.uniform(0.5, 1.0) * side
            along = ((np.arange(side) - centre) / radius) ** 2
            total += along.reshape([-1 if i == axis else 1 for i in range(len(size))])
        distance = np.minimum(distance, total)
    return distance <= np.quantile(distance, valid)


def _bad_pixels(size: Size, valid: float, random: np.random.Generator) -> OneMask:
    return random.random(size) < valid


def _after_sic_1(size: Size, valid: float, random: np.random.Generator) -> OneMask:
    """What the LiDAR mask has grown to behind the first layer: valid where any pixel under its window is."""
    grown = _lidar(size, valid, random)
    for axis in range(2):
        pad = [(SIC_1_KERNEL // 2,) * 2 if i == axis else (0, 0) for i in range(2)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(grown, pad), SIC_1_KERNEL, axis)
        grown = np.asarray(windows.any(-1))
    return grown


# Generator, default valid fraction (None: takes none), ranks.
ANY_RANK = (1, 2, 3)
KINDS: dict[str, tuple[Generator, float | None, tuple[int, ...]]] = {
    "ones": (_ones, None, ANY_RANK),
    "zeros": (_zeros, None, ANY_RANK),
    "strokes": (_strokes, 0.5, (2,)),
    "spark": (_spark, 0.4, ANY_RANK),
    "rectangles": (_rectangles, None, ANY_RANK),
    "lengths": (_lengths, None, ANY_RANK),
    "lidar": (_lidar, 0.05, (2,)),
    "after_sic_1": (_after_sic_1, 0.05, (2,)),
    "bad_pixels": (_bad_pixels, 0.98, ANY_RANK),
    "blob": (_blob, 0.3, ANY_RANK),
}
ALIASES = {"strokes25": ("strokes", 0.75), "strokes50": ("strokes", 0.5)}


def parse_mask(text: str) -> Mask:
    if text in ALIASES:
        return Mask(text, *ALIASES[text])
    kind, at, fraction = text.partition("@")
    if kind not in KINDS:
        raise BenchError(f"mask {text!r}: needs one of {', '.join([*KINDS, *ALIASES])}, or NAME@VALID")
    default = KINDS[kind][1]
    if not at:
        return Mask(text, kind, 1.0 if default is None else default)
    try:
        valid = float(fraction)
    except ValueError:
        valid = math.nan
    if default is None or not 0 < valid < 1:
        takes_one = ", ".join(name for name, (_, value, _) in KINDS.items() if value is not None)
        raise BenchError(f"mask {text!r}: needs a valid fraction between 0 and 1, of one of {takes_one}")
    return Mask(text, kind, valid)


def fractions_of(rank: int) -> list[str]:
    """Kinds of masks of this rank whose valid fraction can be chosen."""
    return [kind for kind, (_, default, ranks) in KINDS.items() if default is not None and rank in ranks]


def takes(mask: Mask, rank: int) -> bool:
    return rank in KINDS[mask.kind][2]


def make_mask(mask: Mask, batch: int, parts: int, size: Sequence[int], seed: int) -> NDArray[np.bool_]:
    """(batch, parts, *size), every image and every part drawn on its own."""
    # The name takes part, so that masks of one run are independent of each other.
    random = np.random.default_rng([seed, zlib.crc32(mask.kind.encode())])
    generate = KINDS[mask.kind][0]
    return np.stack([np.stack([generate(tuple(size), mask.valid, random) for _ in range(parts)]) for _ in range(batch)])


def _nearest(mask: OneMask, size: Size) -> OneMask:
    index = [((np.arange(to) + 0.5) * have / to).astype(int) for have, to in zip(mask.shape, size)]
    return mask[np.ix_(*index)]
