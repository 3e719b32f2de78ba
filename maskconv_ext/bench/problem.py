"""The tensors of a case, and its right answer in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import reference
from ..arguments import Options, check_call
from .masks import make_mask
from .suite import Case, Layer

BIAS_SCALE = 0.1  # small, so that an error of the sum is not hidden by it
# Operations the check may spend; beyond, it takes bands of rows.
CHECK_FLOPS = {"cpu": 2e9, "cuda": 5e10}
MIN_REGIONS = 3  # the first rows, the middle, the last: both borders and none
NHWC = {4: torch.channels_last, 5: torch.channels_last_3d}


class Truth(Enum):
    """What a candidate is to compute."""

    MASKED = "masked"
    DENSE = "dense"
    DENSE_WITHOUT_BIAS = "dense without bias"


@dataclass(frozen=True)
class Region:
    """Outputs of one image, `first` to `last` along the first axis."""

    image: int
    first: int
    last: int


@dataclass
class Problem:
    """Fresh random data of one case; what lies in holes is finite, since the composed form multiplies by zero."""

    case: Case
    x: Tensor
    mask: Tensor  # (N, M, *S) bool
    weight: Tensor
    bias: Tensor
    grad: Tensor | None  # of the output; None: forward only
    backward_alone: bool = False  # the forward before it is not timed

    @property
    def layer(self) -> Layer:
        return self.case.layer

    @cached_property
    def x_nhwc(self) -> Tensor:
        return to_nhwc(self.x)

    def call_options(self) -> dict[str, Any]:
        """Keyword arguments of the public functions."""
        return {
            "stride": self.layer.stride, "padding": self.layer.padding, "groups": self.layer.groups,
            "normalization": self.case.normalization, "mask_update": self.case.mask_update,
            "mask_channels": self.layer.parts or None,
        }  # fmt: skip


def to_nhwc(tensor: Tensor) -> Tensor:
    """Channels last; a sequence becomes an image of one row, since three dimensions have no such format. One channel
    lies alike in either layout, but its strides tell the framework which kernels to take: `contiguous` would keep them.
    """
    image = tensor.unsqueeze(2) if tensor.dim() == 3 else tensor
    return image.to(memory_format=NHWC[image.dim()])


def case_mask(case: Case, seed: int) -> NDArray[np.bool_]:
    return make_mask(case.mask, case.layer.batch, len(case.layer.parts) or 1, case.layer.size, seed)


def valid_fraction(mask: NDArray[np.bool_], layer: Layer) -> float:
    """Of the input's values, not positions: parts of a mask weigh as many channels as they cover."""
    of_part = mask.mean(axis=(0, *range(2, mask.ndim)))
    return float(np.average(of_part, weights=layer.parts or None))


def make_problem(case: Case, mask: NDArray[np.bool_], device: str, seed: int, direction: str) -> Problem:
    layer, dtype = case.layer, getattr(torch, case.dtype)
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device, dtype=torch.float32).to(dtype)

    weight = normal(*layer.weight_shape) / math.sqrt(math.prod(layer.weight_shape[1:]))
    if case.normalization == "weight":
        weight = weight.abs()  # what divides by their sum has weights of one sign
    return Problem(
        case,
        normal(layer.batch, layer.channels, *layer.size),
        torch.from_numpy(mask).to(device),
        weight,
        normal(layer.filters) * BIAS_SCALE,
        None if direction == "forward" else normal(layer.batch, layer.filters, *layer.output_size),
        backward_alone=direction == "backward",
    )


def regions(layer: Layer, flops: float) -> list[Region]:
    """Outputs to check: everything if `flops` allow, else whole images, else bands of rows."""
    rows, per_image = layer.output_size[0], layer.flops() / layer.batch
    images = int(min(layer.batch, max(flops // per_image, MIN_REGIONS)))
    if images * per_image <= flops:
        chosen = np.unique(np.linspace(0, layer.batch - 1, images).round().astype(int))
        return [Region(int(image), 0, rows) for image in chosen]
    # At most a third of an image, so that bands of one image never overlap.
    band = int(max(min(flops / MIN_REGIONS // (per_image / rows), rows // MIN_REGIONS), 1))
    result = set()
    for place in np.linspace(0, 1, MIN_REGIONS):
        first = round(place * (rows - band))
        result.add(Region(round(place * (layer.batch - 1)), first, first + band))
    return sorted(result, key=lambda region: (region.image, region.first))


@dataclass
class Answer:
    """In float64: each region's output; with gradients, of a loss that only these outputs enter."""

    outputs: dict[Region, Tensor]
    grad_input: dict[int, Tensor]  # by image, (C, *S)
    grad_weight: Tensor | None = None
    grad_bias: Tensor | None = None


def solve(problem: Problem, kind: Truth, where: list[Region]) -> Answer:
    """Through the reference, band by band."""
    # Looking for the fastest algorithm of each band's shape would take longer than the bands.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        return _solve(problem, kind, where)


def _solve(problem: Problem, kind: Truth, where: list[Region]) -> Answer:
    answer = Answer({}, {})
    backward = problem.grad is not None
    weight = problem.weight.double().requires_grad_(backward)
    bias = None if kind is Truth.DENSE_WITHOUT_BIAS else problem.bias.double().requires_grad_(backward)
    for region in where:
        rows, padding = _rows_under(problem.layer, region)
        x = problem.x[region.image : region.image + 1, :, rows].double().requires_grad_(backward)
        mask = problem.mask[region.image : region.image + 1, :, rows] if kind is Truth.MASKED else None
        options = _options(problem, x, mask, weight, bias, padding)
        with torch.set_grad_enabled(backward):
            output = reference.masked_conv(x, mask, weight, bias, options)[0]
        answer.outputs[region] = output.detach()
        if problem.grad is None:
            continue
        grad = problem.grad[region.image : region.image + 1, :, region.first : region.last].double()
        leaves = [x, weight] if bias is None else [x, weight, bias]
        grads = torch.autograd.grad(output, leaves, grad)
        whole = answer.grad_input.setdefault(region.image, torch.zeros_like(problem.x[0], dtype=torch.float64))
        whole[:, rows] += grads[0][0]
        answer.grad_weight = grads[1] if answer.grad_weight is None else answer.grad_weight + grads[1]
        if bias is not None:
            answer.grad_bias = grads[2] if answer.grad_bias is None else answer.grad_bias + grads[2]
    return answer


def _rows_under(layer: Layer, region: Region) -> tuple[slice, list[tuple[int, int]]]:
    """Input rows under a region's windows, and the padding that is left to add."""
    before = region.first * layer.stride - layer.padding[0]
    after = (region.last - 1) * layer.stride - layer.padding[0] + layer.kernel[0]
    sides = (max(-before, 0), max(after - layer.size[0], 0))
    return slice(max(before, 0), min(after, layer.size[0])), [sides, *((p, p) for p in layer.padding[1:])]


def _options(
    problem: Problem, x: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None, padding: Any
) -> Options:
    masked = mask is not None
    return check_call(
        "bench", problem.layer.rank, x, mask, weight, bias, problem.layer.stride, padding, 1, problem.layer.groups,
        problem.case.normalization if masked else "none", problem.case.mask_update if masked else "any", 0.0, False,
        "zeros", (problem.layer.parts or None) if masked else None,
    )[0]  # fmt: skip
