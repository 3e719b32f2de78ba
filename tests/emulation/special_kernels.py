"""Kernels for special layers in the place of the implicit GEMM's: what the *_case modules need of the emulation."""

from __future__ import annotations

from typing import Any

from maskconv_ext import _emulation


class Kernels:
    """Those bound as `<name>_forward`, `<name>_grad_input` and `<name>_grad_weight`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def forward(self, *arguments: Any, config: str, **options: Any) -> dict[str, Any]:
        return getattr(_emulation, f"{self._name}_forward")(*arguments, **options)

    def grad_input(self, *arguments: Any, config: str, **options: Any) -> dict[str, Any]:
        return getattr(_emulation, f"{self._name}_grad_input")(*arguments, **options)

    def grad_weight(self, *arguments: Any, config: str, **options: Any) -> dict[str, Any]:
        return getattr(_emulation, f"{self._name}_grad_weight")(*arguments, **options)
