"""What is timed: this op, the bare convolution it is held against, and the forms it replaces.

A candidate is built from a problem's tensors in the layout it likes best, once, outside of the timing.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import functional, native, reference
from ..arguments import check_call
from ..reference import CONVOLUTIONS, repeat_parts
from .problem import NHWC, Problem, Truth, to_nhwc

OP = "op"
# The yardstick is the faster of these two.
BARE = ("conv_nhwc_bias", "conv_nchw_bias")
COMPOSED, COMPILED = "composed_eager", "composed_compiled"
ASTROPY = "astropy"


class NotApplicable(Exception):
    """Why a candidate has nothing to measure in this case."""


@dataclass
class Candidate:
    """`call(x, weight, bias)`, its arguments, and what it is to compute."""

    truth: Truth
    call: Callable[..., Tensor]
    x: Tensor
    weight: Tensor
    bias: Tensor | None
    grad: Tensor | None = None  # of the output; None: forward only
    backward_alone: bool = False  # the forward before it is not timed
    note: str = ""
    as_dense: Callable[[Tensor], Tensor] = lambda output: output  # for the check, not timed

    def __post_init__(self) -> None:
        if self.grad is not None:
            self.x, self.weight = self.x.detach().requires_grad_(), self.weight.detach().requires_grad_()
            self.bias = None if self.bias is None else self.bias.detach().requires_grad_()

    def forward(self) -> Tensor:
        return self.call(self.x, self.weight, self.bias)

    def gradients(self, grad: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        output = self.forward()
        return output, torch.autograd.grad(output, self._leaves(), grad)

    @cached_property
    def _output(self) -> Tensor:
        """With the graph that every timed backward goes through."""
        return self.forward()

    def _leaves(self) -> list[Tensor]:
        return [leaf for leaf in (self.x, self.weight, self.bias) if leaf is not None]

    def run(self) -> Any:
        """What is timed."""
        if self.grad is not None and self.backward_alone:
            return torch.autograd.grad(self._output, self._leaves(), self.grad, retain_graph=True)
        if self.grad is not None:
            return self.gradients(self.grad)
        with torch.no_grad():
            return self.forward()


def _op(problem: Problem, nhwc: bool) -> Candidate:
    options, rank = problem.call_options(), problem.layer.rank
    function = getattr(functional, f"masked_conv{rank}d")
    if nhwc and rank == 1:
        raise NotApplicable("sequences have no channels_last format")
    x, weight = (problem.x_nhwc, to_nhwc(problem.weight)) if nhwc else (problem.x, problem.weight)

    def call(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return function(x, problem.mask, weight, bias, **options)[0]

    return Candidate(
        Truth.MASKED, call, x, weight, problem.bias, _grad(problem, nhwc), note=_engine(problem, x, weight)
    )


def _engine(problem: Problem, x: Tensor, weight: Tensor) -> str:
    parsed = _parsed_options(problem, x, weight)
    return "native" if native.can_run(x, problem.mask, weight, parsed) else "reference"


def _parsed_options(problem: Problem, x: Tensor, weight: Tensor) -> Any:
    given = {"dilation": 1, "fill": 0.0, "pad_is_valid": False, "padding_mode": "zeros", **problem.call_options()}
    rank = problem.layer.rank
    return check_call("bench", rank, x, problem.mask, weight, problem.bias, **given)[0]


def op_nhwc(problem: Problem) -> Candidate:
    """As a channels_last model calls it; a sequence, as it lies."""
    return _op(problem, nhwc=problem.layer.rank > 1)


def op_nchw(problem: Problem) -> Candidate:
    if problem.layer.rank == 1:
        raise NotApplicable("the same as op for sequences")
    return _op(problem, nhwc=False)


def op_reference(problem: Problem) -> Candidate:
    nhwc = problem.layer.rank > 1
    x, weight = (problem.x_nhwc, to_nhwc(problem.weight)) if nhwc else (problem.x, problem.weight)
    if _engine(problem, x, weight) == "reference":
        raise NotApplicable("the same as op here")
    options = _parsed_options(problem, x, weight)

    def call(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return reference.masked_conv(x, problem.mask, weight, bias, options)[0]

    return Candidate(Truth.MASKED, call, x, weight, problem.bias, _grad(problem, nhwc))


def _bare(nhwc: bool, biased: bool) -> Callable[[Problem], Candidate]:
    def build(problem: Problem) -> Candidate:
        layer = problem.layer
        x, weight = (problem.x_nhwc, to_nhwc(problem.weight)) if nhwc else (problem.x, problem.weight)
        # A sequence in NHWC is an image of one row.
        padding = (0, *layer.padding) if x.dim() - 2 > layer.rank else layer.padding
        stride = (1,) * (x.dim() - 2 - layer.rank) + (layer.stride,) * layer.rank
        convolution: Any = CONVOLUTIONS[x.dim() - 2]

        def call(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return convolution(x, weight, bias, stride, padding, 1, layer.groups)

        truth = Truth.DENSE if biased else Truth.DENSE_WITHOUT_BIAS
        return Candidate(truth, call, x, weight, problem.bias if biased else None, _grad(problem, nhwc))

    return build


def composed_form(problem: Problem) -> Callable[..., Tensor]:
    """What people write today: multiply, conv, conv of the mask with ones, clamp, divide, multiply, bias."""
    case, layer = problem.case, problem.layer
    convolution: Any = CONVOLUTIONS[layer.rank]
    mask = repeat_parts(problem.mask, layer.parts)
    m = mask.to(problem.x.dtype)
    by_weight = case.normalization == "weight"
    m_of_input = m.expand(-1, layer.channels, *m.shape[2:]) if by_weight else m
    ones = m.new_ones(1, m.shape[1], *layer.kernel)
    update, needs_sum = case.mask_update, case.normalization != "none" or case.mask_update != "center"
    centres = (slice(None), slice(None)) + (slice(None, None, layer.stride),) * layer.rank

    def call(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y = convolution(x * m, weight, None, layer.stride, layer.padding, 1, layer.groups)
        if needs_sum:
            s = convolution(m, ones, None, layer.stride, layer.padding)
        if update == "center":
            # Windows of odd kernels with padding R // 2 are centred on every stride-th pixel.
            valid = m[centres].amax(1, keepdim=True)
        elif update == "any":
            valid = s.clamp(0, 1)
        else:
            least = 1.0 if update == "all" else update
            valid = (s >= least * ones.numel()).to(x.dtype)
        if by_weight:
            total = convolution(m_of_input, weight, None, layer.stride, layer.padding, 1, layer.groups)
            y = y / torch.where(valid > 0, total, 1.0) * valid
        elif case.normalization != "none":
            top = {"ratio": ones.numel(), "mean": 1.0}[case.normalization]
            y = y * (top / s.clamp(min=1) * valid)
        else:
            y = y * valid
        return y + bias.view(-1, *[1] * layer.rank) * valid

    return call


def composed_eager(problem: Problem) -> Candidate:
    nhwc = problem.layer.rank > 1
    x, weight = (problem.x_nhwc, to_nhwc(problem.weight)) if nhwc else (problem.x, problem.weight)
    return Candidate(Truth.MASKED, composed_form(problem), x, weight, problem.bias, _grad(problem, nhwc))


def composed_compiled(problem: Problem) -> Candidate:
    candidate = composed_eager(problem)
    # What earlier cases compiled would count towards the limit of recompilations.
    torch.compiler.reset()
    candidate.call = torch.compile(candidate.call, dynamic=False)
    return candidate


def spconv_submanifold(problem: Problem) -> Candidate:
    """spconv's SubMConv, its index search included, on values gathered beforehand."""
    layer, case = problem.layer, problem.case
    if importlib.util.find_spec("spconv") is None:
        raise NotApplicable("spconv is not installed")
    submanifold = (case.normalization, case.mask_update) == ("none", "center")
    if layer.rank == 1 or layer.stride > 1 or layer.groups > 1 or layer.parts or not submanifold:
        raise NotApplicable("spconv's: images and volumes, stride 1, no groups, no normalization, center")
    if problem.grad is not None or problem.x.device.type != "cuda":
        raise NotApplicable("measured forward, on CUDA")
    spconv: Any = importlib.import_module("spconv.pytorch")
    module = {2: spconv.SubMConv2d, 3: spconv.SubMConv3d}[layer.rank](
        layer.channels, layer.filters, layer.kernel, padding=layer.padding, bias=True
    ).to(device=problem.x.device, dtype=problem.x.dtype)
    weight, bias = problem.weight.movedim(1, -1).contiguous(), problem.bias
    module.weight.data.copy_(weight.reshape(module.weight.shape))
    module.bias.data.copy_(bias)
    positions = problem.mask[:, 0].nonzero()
    features = problem.x_nhwc.movedim(1, -1)[tuple(positions.T)]
    indices = positions.int()

    def call(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return module(spconv.SparseConvTensor(x, indices, list(layer.size), layer.batch)).features

    def as_dense(values: Tensor) -> Tensor:
        dense = values.new_zeros(layer.batch, *layer.size, layer.filters)
        dense[tuple(positions.T)] = values
        return dense.movedim(-1, 1)

    return Candidate(Truth.MASKED, call, features, weight, bias, as_dense=as_dense)


def astropy_convolve(problem: Problem) -> Candidate:
    """astropy.convolution.convolve, single-threaded C in float64, on an image whose bad pixels are NaN beforehand."""
    layer, case = problem.layer, problem.case
    if importlib.util.find_spec("astropy") is None:
        raise NotApplicable("astropy is not installed")
    single = (layer.batch, layer.channels, layer.filters, layer.stride) == (1, 1, 1, 1)
    if not single or (case.normalization, case.mask_update) != ("weight", "any"):
        raise NotApplicable("astropy's: one image, one channel, one filter, stride 1, normalization weight")
    if problem.grad is not None or problem.x.device.type != "cpu":
        raise NotApplicable("measured forward, on the CPU")
    convolve: Any = importlib.import_module("astropy.convolution").convolve
    # It counts what it fills borders with, unless that is NaN too; its kernel is turned round.
    border = [(0, 0), (0, 0), *((p, p) for p in layer.padding)]
    holes = problem.x.masked_fill(~problem.mask, torch.nan)
    padded = torch.from_numpy(np.pad(holes.numpy(), border, constant_values=np.nan))
    turned = problem.weight.flip(tuple(range(2, 2 + layer.rank)))
    inner = tuple(slice(p, p + size) for p, size in zip(layer.padding, layer.size))

    def call(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        smooth = convolve(x[0, 0].numpy(), weight[0, 0].numpy(), boundary=None, nan_treatment="interpolate")
        return torch.from_numpy(smooth[inner])[None, None] + bias

    # Where no pixel is in reach it has NaN, and the op its fill.
    return Candidate(Truth.MASKED, call, padded, turned, problem.bias, as_dense=lambda output: output.nan_to_num(0.0))


def _grad(problem: Problem, nhwc: bool) -> Tensor | None:
    """In the layout the candidate's output has."""
    if problem.grad is None or not nhwc:
        return problem.grad
    if problem.layer.rank == 1:
        return to_nhwc(problem.grad)
    return problem.grad.contiguous(memory_format=NHWC[problem.grad.dim()])


CANDIDATES: dict[str, Callable[[Problem], Candidate]] = {
    OP: op_nhwc,
    "op_nchw": op_nchw,
    "op_reference": op_reference,
    "conv_nhwc_bias": _bare(nhwc=True, biased=True),
    "conv_nhwc": _bare(nhwc=True, biased=False),
    "conv_nchw_bias": _bare(nhwc=False, biased=True),
    "conv_nchw": _bare(nhwc=False, biased=False),
    COMPOSED: composed_eager,
    COMPILED: composed_compiled,
    "spconv_subm": spconv_submanifold,
    ASTROPY: astropy_convolve,
}
# What a candidate needs that this package does not.
PACKAGES = {"spconv_subm": "spconv", ASTROPY: "astropy"}
