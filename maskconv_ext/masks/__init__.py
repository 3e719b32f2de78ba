"""Masks: where they come from, and what is done to them. 1 = valid; `docs/masks.md` shows each."""

from .constructors import from_finite, from_lengths, from_probability, from_sentinel, from_sizes
from .morphology import dilate, erode
from .operations import apply, resize
from .random import random_blocks, random_rectangles, random_strokes

__all__ = [
    "apply",
    "dilate",
    "erode",
    "from_finite",
    "from_lengths",
    "from_probability",
    "from_sentinel",
    "from_sizes",
    "random_blocks",
    "random_rectangles",
    "random_strokes",
    "resize",
]
