"""Which kernel a call would run, among which candidates, and why."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from . import native, reference
from .arguments import Options, check_call, is_soft
from .precision import conv_allows_tf32


@dataclasses.dataclass(frozen=True)
class Device:
    """What the planner has to know of a CUDA device; see `DEVICES`."""

    compute_capability: int  # major * 10 + minor
    multiprocessors: int
    shared_bytes_per_block: int  # the opt-in maximum
    clock_ghz: float
    memory_gb_per_s: float


# From the makers' data sheets.
DEVICES = {
    "A100": Device(80, 108, 166912, 1.41, 2039),
    "H100": Device(90, 132, 232448, 1.98, 3350),
    "H200": Device(90, 132, 232448, 1.98, 4800),
    "L40S": Device(89, 142, 101376, 2.52, 864),
    "RTX 4090": Device(89, 128, 101376, 2.52, 1008),
}
PASSES = ("forward", "grad_input", "grad_weight")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A way to compute a pass."""

    name: str
    microseconds: float | None  # estimated, as if every pixel were valid; None: it cannot run
    reason: str  # what bounds it, or why it cannot run


@dataclasses.dataclass(frozen=True)
class Pass:
    """Forward, or a gradient; the first candidate is the planner's choice."""

    name: str
    candidates: tuple[Candidate, ...]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What `explain` returns; printed, a table."""

    call: str
    engine: str  # "CUDA", "CPU" or "reference"
    reason: str
    passes: tuple[Pass, ...] = ()

    def __str__(self) -> str:
        lines = [self.call, f"engine: {self.engine}, {self.reason}"]
        width = max((len(c.name) for p in self.passes for c in p.candidates), default=0)
        for p in self.passes:
            lines.append(p.name)
            for number, candidate in enumerate(p.candidates):
                if candidate.microseconds is None:
                    text = f"{'-':>10}     {candidate.reason}"
                else:
                    chosen = "chosen: " if number == 0 else ""
                    text = f"{candidate.microseconds:10.1f} us  {chosen}bound by {candidate.reason}"
                lines.append(f"  {candidate.name:{width}}{text}")
        return "\n".join(lines)


def explain(
    input: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    normalization: str = "ratio",
    mask_update: str | float = "any",
    fill: float | str = 0.0,
    pad_is_valid: bool = False,
    padding_mode: Any = "zeros",
    mask_channels: Any = None,
    device: str | Device | None = None,
) -> Explanation:
    """Say which engine and which kernel `masked_conv1d/2d/3d` would run for these arguments. Nothing is computed.

    Candidates are ordered by an estimate that takes every pixel as valid: arithmetic, L2 and memory traffic at what
    these kernels can hope for of the device's peaks. It orders them, and predicts no benchmark.

    Args:
        input: (N, C, *S), as for `masked_conv1d`, `masked_conv2d` or `masked_conv3d` by its dimensions. Tensors on the
            "meta" device will do together with `device`.
        device: a CUDA device that need not be here: a `Device`, or a name in `DEVICES` ("A100", "H100", "H200",
            "L40S", "RTX 4090"). None: the device of `input`.

    Returns:
        Explanation: engine, reason, and for CUDA the candidates of each pass with microseconds, the planner's choice
        first. `print` shows a table.

    Raises:
        TypeError, ValueError: as the call itself would; ValueError for a `device` that is not known.

    Example:
        >>> x = torch.empty(256, 64, 56, 56, dtype=torch.bfloat16, device="meta")
        >>> m = torch.empty(256, 1, 56, 56, dtype=torch.bool, device="meta")
        >>> w = torch.empty(64, 64, 3, 3, dtype=torch.bfloat16, device="meta")
        >>> explain(x, m, w, padding=1, device="H200").passes[0].candidates[0].name
        'mma_256x64x32_s4'
    """
    rank = input.dim() - 2 if isinstance(input, Tensor) and input.dim() in (3, 4, 5) else 2
    op = f"masked_conv{rank}d"
    options, modes = check_call(
        op, rank, input, mask, weight, bias, stride, padding, dilation, groups,
        normalization, mask_update, fill, pad_is_valid, padding_mode, mask_channels,
    )  # fmt: skip
    properties = _device(op, device)
    dtype = str(input.dtype).removeprefix("torch.")
    where = device if isinstance(device, str) else "a given device" if device else str(input.device)
    call = f"{op}: {dtype} {tuple(input.shape)} with {tuple(weight.shape)} on {where}"
    if any(mode != "zeros" for mode in modes):
        call += ", padded beforehand"
    cuda = properties is not None or input.device.type == "cuda"
    why_not = native.why_not(input, options, "cuda" if cuda else input.device.type)
    if cuda and not why_not:
        why_not = _too_old(properties, input.device)
    if why_not:
        return Explanation(call, "reference", f"because {why_not}")
    if not cuda:
        return Explanation(call, "CPU", _cpu_route(input, mask, weight, options, dtype))
    numbers = [] if properties is None else [float(value) for value in dataclasses.astuple(properties)]
    geometry = options.geometry
    passes = []
    for name in PASSES:
        lines = torch.ops.maskconv_ext.candidates(
            name, input.shape, weight.shape, geometry.stride, geometry.flat_padding(), geometry.dilation, groups,
            0 if mask is None else mask.shape[0], options.window_channels, dtype, conv_allows_tf32(), numbers,
            options.needs_weight_sum,
        )  # fmt: skip
        passes.append(Pass(name, tuple(_candidate(line) for line in lines.splitlines())))
    reason = "estimates as if every pixel were valid"
    if is_soft(mask) or not options.shared_mask:
        reason += ", without the passes before that count the windows and select the input"
    if options.needs_weight_sum:
        reason += ", without the convolution of the mask before that sums the weights"
    return Explanation(call, "CUDA", reason, tuple(passes))


def _device(op: str, device: str | Device | None) -> Device | None:
    if device is None or isinstance(device, Device):
        return device
    if isinstance(device, str) and device in DEVICES:
        return DEVICES[device]
    raise ValueError(f"{op}: device: got {device!r}, needs a Device or one of {', '.join(map(repr, DEVICES))}")


def _too_old(properties: Device | None, device: torch.device) -> str:
    """Why the kernels do not run on this device; empty if they do."""
    capability = properties.compute_capability if properties else None
    major = torch.cuda.get_device_capability(device)[0] if capability is None else capability // 10
    if major >= native.CUDA_MIN_MAJOR:
        return ""
    return f"the device has compute capability {major}.x, and the kernels need {native.CUDA_MIN_MAJOR}.0"


def _candidate(line: str) -> Candidate:
    name, microseconds, reason = line.split("\t")
    return Candidate(name, float(microseconds) if microseconds else None, reason)


def _cpu_route(input: Tensor, mask: Tensor | None, weight: Tensor, options: Options, dtype: str) -> str:
    geometry = options.geometry
    whole = mask is None or (not is_soft(mask) and bool((mask != 0).all()))
    route = torch.ops.maskconv_ext.cpu_route(
        input.shape, weight.shape, geometry.stride, geometry.flat_padding(), geometry.dilation, options.groups,
        mask is None or mask.shape[1] == 1, whole, options.needs_weight_sum, native.is_channels_last(input, weight),
        dtype,
    )  # fmt: skip
    if route == "direct":
        return "route direct: lines of outputs, plane by plane, for few channels and depthwise sequences"
    if route == "dense":
        return "route dense: the framework's convolution, and the borders finished afterwards; nothing is masked"
    return f"route rows: tiles of the valid outputs alone, {reference.valid_share(mask, options):.0%} of all"
