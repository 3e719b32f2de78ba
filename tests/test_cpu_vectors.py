"""The CPU engine's loops for every instruction set: this machine would use the best it has only.

Each runs in a process of its own, since the choice is made once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from native_library import require_native

from maskconv_ext import masked_conv2d

VECTORS = ("generic", "avx2", "")  # "": the best
# Channels, filters, groups, kernel, stride: tiles and panels with and without tails, few channels, depthwise.
LAYERS = (
    (16, 32, 1, 3, 1),
    (35, 33, 1, 3, 2),
    (3, 16, 1, 5, 2),
    (1, 5, 1, 3, 1),
    (40, 3, 1, 3, 1),
    (12, 18, 3, 3, 1),
    (87, 87, 87, 3, 1),
    (300, 20, 1, 1, 1),
)


@pytest.mark.parametrize("vectors", VECTORS)
def test_forward_and_gradients(vectors: str) -> None:
    require_native()
    environment = {**os.environ, "MASKCONV_CPU_VECTORS": vectors, "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [vectors or "best", str(3 * len(LAYERS))]


def check_layer(
    channels: int, filters: int, groups: int, kernel: int, stride: int, dtype: torch.dtype, valid: float
) -> None:
    """Against the framework's convolution of the selected input, in float64."""
    torch.manual_seed(0)
    x = torch.randn(2, channels, 11, 9, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    w = torch.randn(filters, channels // groups, kernel, kernel, dtype=dtype).requires_grad_()
    mask = torch.rand(2, 1, 11, 9) < valid
    mask[0, 0, 0, 0] = False  # so that there are holes
    y, _ = masked_conv2d(x, mask, w, None, stride, kernel // 2, groups=groups, normalization="none")
    grad = torch.randn_like(y)
    got = (y, *torch.autograd.grad(y, (x, w), grad))
    x64, w64 = x.detach().double().requires_grad_(), w.detach().double().requires_grad_()
    selected = torch.where(mask, x64, 0.0)
    y64 = F.conv2d(selected, w64, None, stride, kernel // 2, groups=groups)
    y64 = torch.where(F.max_pool2d(mask.double(), kernel, stride, kernel // 2) > 0, y64, 0.0)
    expected = (y64, *torch.autograd.grad(y64, (x64, w64), grad.double()))
    for one, other in zip(got, expected):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


def main() -> None:
    checked = 0
    for layer in LAYERS:
        for dtype, valid in ((torch.float32, 0.6), (torch.float64, 0.2), (torch.float32, 0.01)):
            check_layer(*layer, dtype, valid)
            checked += 1
    print(os.environ["MASKCONV_CPU_VECTORS"] or "best", checked)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
