"""What the tests of the benchmark share: tiny layers, and options that cost next to no time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from maskconv_ext.bench import candidates as bench_candidates
from maskconv_ext.bench import suite

# Every kind of layer of the suite, as small as it can be: two-part mask, stride, depthwise, sequence, volume.
TINY = (
    suite.Layer("tiny", 2, 8, 8, (9, 11), (3, 3), masks=("spark",)),
    suite.Layer("strided", 1, 3, 8, (13, 12), (7, 7), stride=2, masks=("rectangles", "strokes50")),
    suite.Layer("two_part", 2, 5, 3, (8, 8), (3, 3), masks=("rectangles",), parts=(4, 1)),
    suite.Layer("depthwise", 1, 8, 8, (10, 10), (5, 5), masks=("spark",), groups=8),
    suite.Layer("sequence", 3, 8, 4, (40,), (5,), masks=("lengths",)),
    suite.Layer("astro", 1, 1, 1, (12, 14), (5, 5), masks=("bad_pixels",), dtype="float64"),
    suite.Layer("volume", 1, 8, 8, (5, 6, 7), (3, 3, 3), masks=("blob",)),
)
NOT_COMPILED = [name for name in bench_candidates.CANDIDATES if name != bench_candidates.COMPILED]
# As a pattern: a peer that is named must be installed.
FAST = ("--device", "cpu", "--seconds", "0.01", "--samples", "3", "--candidates", "*[!d]")

GPU_MISSING = "needs a CUDA device: torch.cuda.is_available() is False"

Bench = Callable[..., tuple[int, dict[str, Any]]]


def needs_gpu(test: Any) -> Any:
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason=GPU_MISSING)(test))
