"""Cases of the depthwise kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from forward_case import Case, line

# What plan/depthwise.h says.
RUN_ROWS = 7
STRIP_TAPS = 7
STAGE_STRIPS = 8
MAX_VECTORS = 32

WIDEST = {"float64": 2, "float32": 4, "float16": 4, "bfloat16": 4}


def depthwise(channels: int, **fields: Any) -> Case:
    return Case(channels=channels, filters=channels, groups=channels, **fields)


def in_line(channels: int, length: int, kernel: int, **fields: Any) -> Case:
    return line(depthwise(channels, **fields), length, kernel)


def wide(case: Case, vectors: int) -> Case:
    """With so many vectors of channels."""
    channels = vectors * WIDEST[case.dtype]
    return replace(case, channels=channels, filters=channels, groups=channels)
