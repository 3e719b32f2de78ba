"""Strides, paddings and sizes: the part of a call that knows positions but no values.

Position p(q, t) = q * stride + t * dilation - padding, per axis, for output position q and tap t.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch._prims_common import suggest_memory_format

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Where each tap of each output position lies; one entry an axis everywhere."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # (before, after)
    dilation: tuple[int, ...]

    @property
    def taps(self) -> int:
        count = 1
        for size in self.kernel:
            count = count * size
        return count

    @property
    def center(self) -> tuple[int, ...]:
        """Tap at the window's centre; of an even window the one before the middle."""
        return tuple((size - 1) // 2 for size in self.kernel)

    def output_size(self, input_size: Sequence[int]) -> tuple[int, ...]:
        return tuple(
            (size + before + after - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, (before, after), dilation in zip(
                input_size, self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )

    def after_modes(self, modes: tuple[str, ...]) -> Geometry:
        """What padding is left to the engines of tensors that were padded by modes: that with zeros."""
        padding = tuple(sides if mode == "zeros" else (0, 0) for sides, mode in zip(self.padding, modes, strict=True))
        return dataclasses.replace(self, padding=padding)

    def flat_padding(self) -> list[int]:
        """[before, after, before, after, …], first axis first."""
        return [side for pair in self.padding for side in pair]


def parse_geometry(
    op: str,
    kernel: tuple[int, ...],
    input_size: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    kernel_name: str = "weight",
    input_name: str = "input",
) -> Geometry:
    """Normalise the arguments to one entry an axis, or raise an error that names the argument."""
    rank = len(kernel)
    strides = per_axis(op, "stride", stride, rank, minimum=1)
    dilations = per_axis(op, "dilation", dilation, rank, minimum=1)
    paddings = _parse_padding(op, padding, kernel, input_size, strides, dilations)
    for axis, (size, (before, after)) in enumerate(zip(input_size, paddings, strict=True)):
        if size < 1:
            raise ValueError(f"{op}: {input_name}: got size {size} on axis {axis}, needs at least 1")
        extent = dilations[axis] * (kernel[axis] - 1) + 1
        if size + before + after < extent:
            raise ValueError(
                f"{op}: {kernel_name}: got a window of {extent} (kernel {kernel[axis]}, dilation {dilations[axis]}) on "
                f"axis {axis}, needs at most the padded input size {size} + {before} + {after}"
            )
    return Geometry(kernel, strides, paddings, dilations)


def parse_padding_modes(
    op: str, padding_mode: Any, padding: tuple[tuple[int, int], ...], input_size: tuple[int, ...]
) -> tuple[str, ...]:
    """One mode an axis; reflect and circular need enough pixels to copy from."""
    rank = len(input_size)
    modes = (padding_mode,) * rank if isinstance(padding_mode, str) else padding_mode
    if not isinstance(modes, tuple | list) or len(modes) != rank or any(m not in PADDING_MODES for m in modes):
        raise ValueError(
            f"{op}: padding_mode: got {padding_mode!r}, needs one of {', '.join(map(repr, PADDING_MODES))}, "
            f"or a sequence of {rank} of them"
        )
    for axis, (mode, (before, after)) in enumerate(zip(modes, padding, strict=True)):
        size = input_size[axis]
        longest = {"zeros": None, "reflect": size - 1, "replicate": None, "circular": size}[mode]
        if longest is not None and max(before, after) > longest:
            raise ValueError(
                f"{op}: padding: got ({before}, {after}) on axis {axis}, needs at most {longest} a side for "
                f"padding_mode {mode!r} and input size {size}"
            )
    return tuple(modes)


def pad_by_modes(tensor: torch.Tensor, geometry: Geometry, modes: tuple[str, ...]) -> torch.Tensor:
    """Modes other than zeros copy pixels; masks are padded alike, pixels and their validity together."""
    for axis, mode in enumerate(modes):
        before, after = geometry.padding[axis]
        if mode != "zeros" and (before or after):
            tensor = pad_axis(tensor, axis, before, after, mode)
    return tensor


def pad_axis(tensor: torch.Tensor, axis: int, before: int, after: int, mode: str) -> torch.Tensor:
    """Pad one spatial axis by copying pixels; `mode` is reflect, replicate or circular."""
    dim = axis + 2
    size = tensor.shape[dim]
    index = torch.arange(-before, size + after, device=tensor.device)
    if mode == "replicate":
        index = index.clamp(0, size - 1)
    elif mode == "circular":
        index = index.remainder(size)
    else:
        index = (size - 1) - (index.abs() - (size - 1)).abs()
    if suggest_memory_format(tensor) in (torch.channels_last, torch.channels_last_3d):
        return tensor.movedim(1, -1).index_select(dim - 1, index).movedim(-1, 1)
    return tensor.index_select(dim, index)


def is_int(value: Any) -> bool:
    return isinstance(value, int | torch.SymInt) and not isinstance(value, bool)


def per_axis(op: str, name: str, value: Any, rank: int, minimum: int) -> tuple[int, ...]:
    if type(value) is int and value >= minimum:  # most calls; a small convolution takes no longer than its checks
        return (value,) * rank
    values = (value,) * rank if is_int(value) else value
    if (
        not isinstance(values, tuple | list | torch.Size)
        or len(values) not in (1, rank)
        or not all(is_int(v) and v >= minimum for v in values)
    ):
        raise ValueError(f"{op}: {name}: got {value!r}, needs an int >= {minimum} or a sequence of {rank} of them")
    return tuple(values) if len(values) == rank else tuple(values) * rank


def _parse_padding(
    op: str,
    padding: Any,
    kernel: tuple[int, ...],
    input_size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    rank = len(kernel)
    if type(padding) is int and padding >= 0:
        return ((padding, padding),) * rank
    if isinstance(padding, str) and padding == "valid":
        return ((0, 0),) * rank
    if isinstance(padding, str) and padding == "same":
        # TensorFlow's rule: output ceil(in / stride), the odd pixel after the image.
        totals = []
        for size, kernel_size, step, spread in zip(input_size, kernel, stride, dilation, strict=True):
            needed = ((size + step - 1) // step - 1) * step + spread * (kernel_size - 1) + 1 - size
            totals.append(max(needed, 0))
        return tuple((total // 2, total - total // 2) for total in totals)
    sides = (padding,) * rank if is_int(padding) else padding
    if isinstance(sides, tuple | list | torch.Size) and len(sides) in (1, rank):
        pairs: list[Any] = [(side, side) if is_int(side) else side for side in sides]
        if all(
            isinstance(pair, tuple | list) and len(pair) == 2 and all(is_int(v) and v >= 0 for v in pair)
            for pair in pairs
        ):
            pairs = pairs if len(pairs) == rank else pairs * rank
            return tuple((pair[0], pair[1]) for pair in pairs)
    raise ValueError(
        f"{op}: padding: got {padding!r}, needs 'valid', 'same', an int >= 0, or a sequence of {rank} ints >= 0 or "
        f"(before, after) pairs"
    )
