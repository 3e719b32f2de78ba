"""Cases of the depthwise kernels, and those kernels in the place of the implicit GEMM's."""

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


class Kernels:
    """What the *_case modules need of the emulation module."""

    def __init__(self, emulation: Any) -> None:
        self._emulation = emulation

    def forward(self, *arguments: Any, config: str, **options: Any) -> dict[str, Any]:
        return self._emulation.depthwise_forward(*arguments, **options)

    def grad_input(self, *arguments: Any, config: str, **options: Any) -> dict[str, Any]:
        return self._emulation.depthwise_grad_input(*arguments, **options)

    def grad_weight(self, *arguments: Any, config: str, **options: Any) -> dict[str, Any]:
        return self._emulation.depthwise_grad_weight(*arguments, **options)


def depthwise(channels: int, **fields: Any) -> Case:
    return Case(channels=channels, filters=channels, groups=channels, **fields)


def in_line(channels: int, length: int, kernel: int, **fields: Any) -> Case:
    return line(depthwise(channels, **fields), length, kernel)


def wide(case: Case, vectors: int) -> Case:
    """With so many vectors of channels."""
    channels = vectors * WIDEST[case.dtype]
    return replace(case, channels=channels, filters=channels, groups=channels)
