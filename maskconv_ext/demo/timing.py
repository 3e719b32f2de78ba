"""Time of the masked convolution against the same composed of framework operations."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import masked_conv2d
from .baselines import Mask, Picture
from .pyramid import composed_window, fill_holes
from .scoring import as_tensors

LAYER_FILTERS = 32


def composed_layer(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """A partial convolution as it is commonly written; a NaN in a hole would spread."""
    m = mask.to(x.dtype)
    ones = m.new_ones(1, 1, *weight.shape[2:])
    window_sum = F.conv2d(m, ones, padding=padding)
    valid = window_sum.clamp(0, 1)
    ratio = ones.numel() / window_sum.clamp(min=1) * valid
    return F.conv2d(x * m, weight, padding=padding) * ratio + bias.view(-1, 1, 1) * valid


def compare(picture: Picture, mask: Mask, repetitions: int, seed: int) -> dict[str, dict[str, float]]:
    """Medians in milliseconds on this picture: the demo's pyramid, and one 3x3 layer with ratio and bias.

    The op gets the picture with NaN in its holes, the composed form gets zeros there.
    """
    x, m = as_tensors(picture, mask)
    zero_filled = torch.where(m, x, 0)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(LAYER_FILTERS, x.shape[1], 3, 3, generator=generator, dtype=x.dtype)
    bias = torch.randn(LAYER_FILTERS, generator=generator, dtype=x.dtype)

    def op_layer() -> Tensor:
        return masked_conv2d(x, m, weight, bias, padding=1)[0]

    pairs: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]] = {
        "pyramid": (lambda: fill_holes(x, m), lambda: fill_holes(zero_filled, m, composed_window)),
        f"layer 3x3, {x.shape[1]} to {LAYER_FILTERS}": (
            op_layer,
            lambda: composed_layer(zero_filled, m, weight, bias, 1),
        ),
    }
    with torch.inference_mode():
        return {name: _race(op, composed, repetitions) for name, (op, composed) in pairs.items()}


def _race(op: Callable[[], Tensor], composed: Callable[[], Tensor], repetitions: int) -> dict[str, float]:
    """Interleaved, so that whatever else the machine does falls on both alike."""
    # Warms up, and shows that both compute the same.
    expected, got = composed(), op()
    difference = float((expected - got).abs().max() / expected.abs().max())
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repetitions):
        for taken, run in zip(times, (op, composed)):
            start = time.perf_counter()
            run()
            taken.append(1e3 * (time.perf_counter() - start))
    op_ms, composed_ms = map(statistics.median, times)
    return {
        "op_ms": op_ms,
        "composed_ms": composed_ms,
        "speedup": composed_ms / op_ms,
        "repetitions": repetitions,
        "largest_relative_difference": difference,
    }
