"""Checks of a public call: every error names the argument, what it got and what it needs.

Nothing is computed before all checks have passed. The result, a `Call`, is what the engines work from.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from .geometry import Geometry, is_int, parse_geometry, parse_padding_modes, per_axis

NORMALIZATIONS = ("ratio", "mean", "weight", "sqrt", "none")
MASK_UPDATES = ("any", "all", "center", "fraction", "confidence")
INPUT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
HARD_MASK_DTYPES = (torch.bool, torch.uint8)
AXIS_NAMES = {1: "L", 2: "H, W", 3: "D, H, W"}


@dataclasses.dataclass(frozen=True)
class Options:
    """What a call asks for, apart from its tensors."""

    geometry: Geometry
    groups: int
    mask_channels: tuple[int, ...]  # input channels covered by each mask channel; (C,) for a shared mask
    normalization: str
    mask_update: str  # one of MASK_UPDATES, or "threshold"
    threshold: float  # of "threshold" only
    fill: float | None  # None: the bias
    pad_is_valid: bool

    @property
    def shared_mask(self) -> bool:
        return len(self.mask_channels) == 1

    @property
    def window_channels(self) -> int:
        """Channels of the window sum: 1 where one sum serves all outputs, else one a group."""
        return 1 if self.shared_mask else self.groups

    @property
    def window_size(self) -> int:
        """W: taps, times the channels of a group where channels have masks of their own."""
        channels = 1 if self.shared_mask else sum(self.mask_channels) // self.groups
        return self.geometry.taps * channels

    @property
    def needs_weight_sum(self) -> bool:
        """Whether sum w·m, a normaliser for each filter, takes part."""
        return self.normalization == "weight" or self.mask_update == "confidence"


def is_soft(mask: torch.Tensor | None) -> bool:
    """Whether the mask's values multiply, instead of merely selecting."""
    return mask is not None and mask.dtype not in HARD_MASK_DTYPES


def autocasts(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def conv_dtype(tensor: torch.Tensor) -> torch.dtype:
    """The dtype this tensor enters a convolution in: under autocast that one's, which leaves float64 alone."""
    if autocasts(tensor.device.type) and tensor.is_floating_point() and tensor.dtype != torch.float64:
        return torch.get_autocast_dtype(tensor.device.type)
    return tensor.dtype


def check_call(
    op: str,
    rank: int,
    input: torch.Tensor,
    mask: torch.Tensor | None,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    normalization: Any,
    mask_update: Any,
    fill: Any,
    pad_is_valid: Any,
    padding_mode: Any,
    mask_channels: Any,
) -> tuple[Options, tuple[str, ...]]:
    """The call's options and its padding modes, one an axis; raises TypeError or ValueError."""
    check_tensors(op, rank, input, mask, weight, bias)
    channels, filters = input.shape[1], weight.shape[0]
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
        raise ValueError(f"{op}: groups: got {groups!r}, needs an int >= 1")
    if channels % groups or filters % groups:
        raise ValueError(
            f"{op}: groups: got {groups}, needs a divisor of the {channels} channels of input and of the {filters} "
            f"filters of weight"
        )
    if weight.shape[1] * groups != channels:
        raise ValueError(
            f"{op}: weight: got shape {_shape(weight)}, needs {channels // groups} in dimension 1 ({channels} channels "
            f"of input in {groups} group{'s' if groups > 1 else ''})"
        )
    size = tuple(input.shape[2:])
    geometry = parse_geometry(op, tuple(weight.shape[2:]), size, stride, padding, dilation)
    modes = parse_padding_modes(op, padding_mode, geometry.padding, size)
    parts = check_mask(op, input, mask, mask_channels)
    check_choice(op, "normalization", normalization, NORMALIZATIONS)
    rule, threshold = parse_mask_update(op, mask_update)
    check_pad_is_valid(op, pad_is_valid)
    fill_value = parse_fill(op, fill, conv_dtype(input))
    options = Options(geometry, groups, parts, normalization, rule, threshold, fill_value, pad_is_valid)
    return options, modes


def check_plan_arguments(
    op: str,
    mask: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    batch: Any,
    mask_update: Any,
    pad_is_valid: Any,
    padding_mode: Any,
) -> tuple[Geometry, tuple[str, ...], int, str, float]:
    """Geometry, padding modes, batch size, rule and threshold of a plan; raises TypeError or ValueError."""
    if not isinstance(mask, torch.Tensor):
        raise TypeError(f"{op}: mask: got {type(mask).__name__}, needs a Tensor")
    rank = mask.dim() - 2
    if rank not in AXIS_NAMES:
        raise ValueError(f"{op}: mask: got shape {_shape(mask)}, needs 3, 4 or 5 dimensions (N or 1, M, *S)")
    check_mask_dtype(op, mask)
    kernel = per_axis(op, "kernel_size", kernel_size, rank, minimum=1)
    size = tuple(mask.shape[2:])
    geometry = parse_geometry(op, kernel, size, stride, padding, dilation, "kernel_size", "mask")
    modes = parse_padding_modes(op, padding_mode, geometry.padding, size)
    images = mask.shape[0] if batch is None else batch
    if not is_int(images) or images < 0:
        raise ValueError(f"{op}: batch: got {batch!r}, needs an int >= 0, or None for the batch size of mask")
    if mask.shape[0] not in (1, images):
        raise ValueError(f"{op}: batch: got {batch}, needs {mask.shape[0]}, the batch size of mask")
    rule, threshold = parse_mask_update(op, mask_update)
    check_pad_is_valid(op, pad_is_valid)
    return geometry, modes, images, rule, threshold


def check_soft_values(op: str, mask: torch.Tensor | None) -> None:
    """The opt-in check of a soft mask's values; it reads the mask once and waits for the device."""
    if mask is None or not is_soft(mask) or mask.numel() == 0:
        return
    low, high = (value.item() for value in mask.detach().aminmax())
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(f"{op}: mask: got values from {low:g} to {high:g}, needs a float mask within [0, 1]")


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def check_tensors(
    op: str,
    rank: int,
    input: torch.Tensor,
    mask: torch.Tensor | None,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
) -> None:
    for name, value in (("input", input), ("mask", mask), ("weight", weight), ("bias", bias)):
        optional = name in ("mask", "bias")
        if not (isinstance(value, torch.Tensor) or (optional and value is None)):
            raise TypeError(f"{op}: {name}: got {type(value).__name__}, needs a Tensor{' or None' if optional else ''}")
    axes = AXIS_NAMES[rank]
    if input.dim() != rank + 2:
        raise ValueError(f"{op}: input: got shape {_shape(input)}, needs {rank + 2} dimensions (N, C, {axes})")
    if input.dtype not in INPUT_DTYPES:
        raise TypeError(f"{op}: input: got {input.dtype}, needs float16, bfloat16, float32 or float64")
    for name, value in (("input", input), ("mask", mask), ("weight", weight), ("bias", bias)):
        if value is not None and value.layout != torch.strided:
            raise TypeError(f"{op}: {name}: got layout {value.layout}, needs torch.strided; write {name}.to_dense()")
    if weight.dim() != rank + 2 or 0 in weight.shape:
        raise ValueError(
            f"{op}: weight: got shape {_shape(weight)}, needs {rank + 2} dimensions (K, C/groups, *kernel), none empty"
        )
    if bias is not None and _shape(bias) != (weight.shape[0],):
        raise ValueError(f"{op}: bias: got shape {_shape(bias)}, needs ({weight.shape[0]},), one a filter of weight")
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None and value.dtype != input.dtype and conv_dtype(value) != conv_dtype(input):
            raise TypeError(f"{op}: {name}: got {value.dtype}, needs {input.dtype}, the dtype of input")
    for name, value in (("mask", mask), ("weight", weight), ("bias", bias)):
        if value is not None and value.device != input.device:
            raise ValueError(f"{op}: {name}: got device {value.device}, needs {input.device}, the device of input")


def check_mask(op: str, input: torch.Tensor, mask: torch.Tensor | None, mask_channels: Any) -> tuple[int, ...]:
    """Input channels covered by each mask channel. A mask of one channel is shared by all, whatever `mask_channels`."""
    channels = input.shape[1]
    parts = parse_parts(op, mask_channels, channels) or (1,) * channels
    if mask is None:
        return (channels,)
    check_mask_dtype(op, mask)
    check_mask_shape(op, input, mask, (1, len(parts)))
    return (channels,) if mask.shape[1] == 1 else parts


def parse_parts(op: str, mask_channels: Any, channels: int | None = None) -> tuple[int, ...] | None:
    """`mask_channels` as a tuple, or None; with `channels`, they must add up to it."""
    if mask_channels is None:
        return None
    if (
        not isinstance(mask_channels, tuple | list)
        or not mask_channels
        or not all(isinstance(count, int) and not isinstance(count, bool) and count >= 1 for count in mask_channels)
    ):
        raise ValueError(f"{op}: mask_channels: got {mask_channels!r}, needs a sequence of ints >= 1, or None")
    if channels is not None and sum(mask_channels) != channels:
        raise ValueError(
            f"{op}: mask_channels: got {tuple(mask_channels)}, which add up to {sum(mask_channels)}, needs a sum of "
            f"{channels}, the channels of input"
        )
    return tuple(mask_channels)


def check_mask_shape(op: str, input: torch.Tensor, mask: torch.Tensor, counts: tuple[int, ...]) -> None:
    """`counts` are the numbers of channels that the mask may have."""
    batches = (1, input.shape[0])
    if (
        mask.dim() != input.dim()
        or mask.shape[0] not in batches
        or mask.shape[1] not in counts
        or mask.shape[2:] != input.shape[2:]
    ):
        raise ValueError(
            f"{op}: mask: got shape {_shape(mask)} for input {_shape(input)}, needs "
            f"({_either(batches)}, {_either(counts)}, {', '.join(map(str, input.shape[2:]))})"
        )


def check_mask_dtype(op: str, mask: torch.Tensor) -> None:
    if mask.dtype not in HARD_MASK_DTYPES and mask.dtype not in INPUT_DTYPES:
        raise TypeError(
            f"{op}: mask: got {mask.dtype}, needs bool, uint8 or a floating dtype; write mask != 0 for a mask of 0 and "
            f"1, mask.float() for a soft mask"
        )


def check_pad_is_valid(op: str, pad_is_valid: Any) -> None:
    if not isinstance(pad_is_valid, bool):
        raise TypeError(f"{op}: pad_is_valid: got {pad_is_valid!r}, needs True or False")


def _either(values: tuple[int, ...]) -> str:
    return " or ".join(str(value) for value in dict.fromkeys(values))


def check_choice(op: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{op}: {name}: got {value!r}, needs one of {', '.join(map(repr, choices))}")


def parse_mask_update(op: str, mask_update: Any) -> tuple[str, float]:
    if isinstance(mask_update, str) and mask_update in MASK_UPDATES:
        return mask_update, 0.0
    if isinstance(mask_update, float | int) and not isinstance(mask_update, bool) and 0.0 < mask_update <= 1.0:
        return "threshold", float(mask_update)
    raise ValueError(
        f"{op}: mask_update: got {mask_update!r}, needs one of {', '.join(map(repr, MASK_UPDATES))}, or a float in "
        f"(0, 1]"
    )


def parse_fill(op: str, fill: Any, dtype: torch.dtype) -> float | None:
    if isinstance(fill, str) and fill == "bias":
        return None
    if isinstance(fill, float | int) and not isinstance(fill, bool):
        largest = torch.finfo(dtype).max
        # Not math.isfinite: huge ints, and tracing, know comparisons only.
        if largest < abs(fill) != math.inf:
            raise ValueError(f"{op}: fill: got {fill!r}, needs a number within {dtype}, whose largest is {largest:g}")
        return float(fill)
    raise ValueError(f"{op}: fill: got {fill!r}, needs a number or 'bias'")
