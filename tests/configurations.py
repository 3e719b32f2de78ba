"""Random configurations of masked convolution, as hypothesis strategies."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import oracle
import torch
from hypothesis import strategies as st

import maskconv_ext

FUNCTIONS = {1: maskconv_ext.masked_conv1d, 2: maskconv_ext.masked_conv2d, 3: maskconv_ext.masked_conv3d}
GARBAGE = (math.nan, math.inf, -math.inf, 1e300, -3e38)
MAX_SIZE = {1: 9, 2: 6, 3: 4}  # pixels an axis, so that the loops of the oracle stay short
MAX_KERNEL = {1: 5, 2: 3, 3: 2}
DTYPES = (torch.float64, torch.float64, torch.float32, torch.bfloat16, torch.float16)
MASK_DTYPES = (torch.bool, torch.uint8, torch.float16, torch.float32, torch.float64)
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
# Weights and soft masks are multiples of 1 / 8: their sums are exact in float32 in any order, so which outputs are
# valid never depends on rounding, and sums of weights that cancel to exactly 0 occur.
GRID = 8


@dataclasses.dataclass
class Case:
    """One call. The arrays follow from `shape`, `mask_shape` and `seed`, so they stay out of the report."""

    shape: tuple[int, ...]
    filters: int
    kernel: tuple[int, ...]
    mask_shape: tuple[int, ...] | None
    mask_dtype: torch.dtype | None
    density: float
    has_bias: bool
    dtype: torch.dtype
    seed: int
    options: dict[str, Any]

    @property
    def rank(self) -> int:
        return len(self.kernel)

    def tensors(self, device: str = "cpu", garbage: bool = True):
        """Input, mask, weight and bias; every hole holds NaN, Inf or a huge number, or else 0."""
        rng = np.random.default_rng(self.seed)
        x = rng.standard_normal(self.shape)
        weight_shape = (self.filters, self.shape[1] // self.options.get("groups", 1), *self.kernel)
        w = rng.integers(-GRID, GRID + 1, weight_shape) / GRID
        b = rng.standard_normal(self.filters) if self.has_bias else None
        rubbish = rng.choice(GARBAGE, self.shape)
        mask = None
        if self.mask_shape is not None:
            valid = rng.random(self.mask_shape) < self.density
            if self.mask_dtype == torch.bool:
                m = valid
            elif self.mask_dtype == torch.uint8:
                m = valid * rng.choice([1, 2, 255], self.mask_shape)
            else:
                m = valid * rng.integers(1, GRID + 1, self.mask_shape) / GRID
            mask = torch.from_numpy(np.asarray(m)).to(self.mask_dtype)
            x = np.where(self.mask_of_channel(mask.numpy()) != 0, x, rubbish if garbage else 0.0)
        tensors = [torch.from_numpy(x).to(self.dtype), mask, torch.from_numpy(w).to(self.dtype)]
        tensors.append(None if b is None else torch.from_numpy(b).to(self.dtype))
        return [tensor if tensor is None else tensor.to(device) for tensor in tensors]

    def mask_of_channel(self, mask: np.ndarray) -> np.ndarray:
        parts = self.options.get("mask_channels")
        return np.repeat(mask, parts, axis=1) if parts and mask.shape[1] > 1 else mask

    def call(self, tensors, **changes):
        return FUNCTIONS[self.rank](*tensors, return_window_sum=True, **{**self.options, **changes})

    def expected(self, tensors) -> oracle.Result:
        x, mask, w, b = tensors
        arrays = [None if t is None else t.detach().cpu().double().numpy() for t in (x, w, b)]
        return oracle.masked_conv(
            arrays[0], None if mask is None else mask.detach().cpu().numpy(), *arrays[1:], **self.options
        )


@st.composite
def axes(draw, rank: int, modes: list[str]):
    """Size, kernel, stride, dilation and padding pair of each axis, fitting each other."""
    sizes, kernels, strides, dilations, pads = [], [], [], [], []
    for mode in modes:
        size = draw(st.integers(1, MAX_SIZE[rank]))
        longest = {"zeros": 3, "replicate": 3, "reflect": size - 1, "circular": size}[mode]
        before, after = (draw(st.integers(0, min(longest, 3))) for _ in range(2))
        padded = size + before + after
        kernel = draw(st.integers(1, min(MAX_KERNEL[rank], padded)))
        dilation = draw(st.integers(1, max(1, min(3, (padded - 1) // max(kernel - 1, 1)))))
        strides.append(draw(st.integers(1, 3)))
        for values, value in ((sizes, size), (kernels, kernel), (dilations, dilation), (pads, (before, after))):
            values.append(value)
    return sizes, kernels, strides, dilations, pads


def same_padding_fits(size, kernel, stride, dilation, modes) -> bool:
    pads = oracle.side_pairs("same", size, kernel, stride, dilation)
    limits = {"reflect": lambda n: n - 1, "circular": lambda n: n}
    return all(max(p) <= limits[mode](n) for p, n, mode in zip(pads, size, modes) if mode in limits)


@st.composite
def paddings(draw, pairs, size, kernel, stride, dilation, modes):
    """One of the ways to write a padding that this geometry allows."""
    forms: list[Any] = [tuple(pairs), list(pairs)]
    if same_padding_fits(size, kernel, stride, dilation, modes):
        forms.append("same")
    if all(d * (r - 1) < n for n, r, d in zip(size, kernel, dilation)):
        forms += ["valid", 0]
    # The larger side on both sides fits wherever the pair did.
    forms.append(tuple(max(pair) for pair in pairs))
    return draw(st.sampled_from(forms))


def scalar_or_sequence(values: list[int]):
    return st.sampled_from([values[0]] if len(set(values)) == 1 else [tuple(values), list(values)])


@st.composite
def cases(draw, dtypes=DTYPES, mask_dtypes=MASK_DTYPES, modes=PADDING_MODES):
    rank = draw(st.integers(1, 3))
    modes = draw(st.one_of(st.just([modes[0]] * rank), st.lists(st.sampled_from(modes), min_size=rank, max_size=rank)))
    size, kernel, stride, dilation, pairs = draw(axes(rank, modes))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels, filters = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 2))
    batch = draw(st.integers(1, 2))

    mask_channels, mask_shape, mask_dtype = None, None, None
    if draw(st.integers(0, 7)):
        mask_dtype = draw(st.sampled_from(mask_dtypes))
        form = draw(st.sampled_from(["shared", "shared", "channels", "parts"]))
        parts = {"shared": 1, "channels": channels}.get(form)
        if parts is None:
            cuts = sorted(draw(st.sets(st.integers(1, channels - 1), max_size=2))) if channels > 1 else []
            mask_channels = [end - start for start, end in zip([0, *cuts], [*cuts, channels])]
            parts = len(mask_channels)
        mask_shape = (draw(st.sampled_from([1, batch])), parts, *size)

    options = {
        "stride": draw(scalar_or_sequence(stride)),
        "padding": draw(paddings(pairs, size, kernel, stride, dilation, modes)),
        "dilation": draw(scalar_or_sequence(dilation)),
        "groups": groups,
        "normalization": draw(st.sampled_from(["ratio", "mean", "weight", "sqrt", "none"])),
        "mask_update": draw(st.sampled_from(["any", "all", "center", "fraction", "confidence", 0.25, 1 / 3, 0.7, 1])),
        "fill": draw(st.sampled_from([0.0, 0.0, -1.5, 7, math.nan, "bias"])),
        "pad_is_valid": draw(st.booleans()),
        "padding_mode": modes[0] if len(set(modes)) == 1 else modes,
        "mask_channels": mask_channels,
    }
    return Case(
        shape=(batch, channels, *size),
        filters=filters,
        kernel=tuple(kernel),
        mask_shape=mask_shape,
        mask_dtype=mask_dtype,
        density=draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])),
        has_bias=draw(st.booleans()),
        dtype=draw(st.sampled_from(dtypes)),
        seed=draw(st.integers(0, 2**32 - 1)),
        options=options,
    )
