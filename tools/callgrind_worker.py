"""Runs under valgrind, started by callgrind.py: small layers, one call each between the switches."""

from __future__ import annotations

import ctypes
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from maskconv_ext import explain, masked_conv2d

# Python specialises its byte code, and libraries fill their caches, during the first calls.
WARM_UP = 8


@dataclass(frozen=True)
class Layer:
    name: str
    channels: int
    filters: int
    side: int
    kernel: int
    valid: float  # rows of the image, from the top
    route: str
    groups: int = 1
    dtype: torch.dtype = torch.float32
    backward: bool = False


LAYERS = (
    Layer("rows", 64, 64, 24, 3, 0.5, "rows"),
    Layer("rows_bf16", 32, 32, 16, 3, 0.5, "rows", dtype=torch.bfloat16),
    Layer("dense", 32, 32, 24, 3, 1.0, "dense"),
    Layer("depthwise", 64, 64, 32, 7, 0.125, "rows", groups=64),
    Layer("few_channels", 3, 32, 48, 5, 0.1, "rows"),
    Layer("backward", 32, 32, 24, 3, 0.5, "rows", backward=True),
)


def run(layer: Layer, switches: ctypes.CDLL) -> None:
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random).to(layer.dtype).requires_grad_(layer.backward)

    x = normal(1, layer.side, layer.side, layer.channels).permute(0, 3, 1, 2)
    weight = normal(layer.filters, layer.channels // layer.groups, layer.kernel, layer.kernel)
    bias, grad = normal(layer.filters), torch.ones(1, layer.filters, layer.side, layer.side, dtype=layer.dtype)
    mask = torch.zeros(1, 1, layer.side, layer.side, dtype=torch.bool)
    mask[:, :, : round(layer.side * layer.valid)] = True
    # Counts of another route than meant would gate nothing.
    reason = explain(x, mask, weight, bias, padding=layer.kernel // 2, groups=layer.groups).reason
    if not re.match(f"route {layer.route}:", reason):
        sys.exit(f"{layer.name}: {reason}, and the layer was meant for route {layer.route}")

    def call() -> None:
        y, _ = masked_conv2d(x, mask, weight, bias, padding=layer.kernel // 2, groups=layer.groups)
        if layer.backward:
            torch.autograd.grad(y, (x, weight, bias), grad)

    for _ in range(WARM_UP):
        call()
    switches.start_counting()
    call()
    switches.stop_counting(layer.name.encode())


def main() -> None:
    torch.set_num_threads(1)
    switches = ctypes.CDLL(sys.argv[1])
    for layer in LAYERS:
        run(layer, switches)
    print(json.dumps([layer.name for layer in LAYERS]))


if __name__ == "__main__":
    main()
