"""The compiled library: loading it, and which calls it takes."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format
from torch.autograd import forward_ad

from . import operators
from .arguments import Options, is_soft

LIBRARY = Path(__file__).with_name("_native.so")
# Above this many taps a row's bitset no longer fits beside the tiles in shared memory.
CUDA_MAX_TAPS = 1024
# The kernels need cp.async and mma.sync on bfloat16.
CUDA_MIN_MAJOR = 8


def _load() -> str:
    """Loads the library, or returns why it was not, and what to do about it."""
    if os.environ.get("MASKCONV_DISABLE_NATIVE") == "1":
        reason = "MASKCONV_DISABLE_NATIVE=1 is set; unset it to use the compiled library"
    elif not LIBRARY.exists():
        reason = (
            "the compiled library was not built; install a C++20 compiler (g++ 11 or later) and ninja, then reinstall "
            "with pip install --no-build-isolation --force-reinstall --no-deps maskconv_ext"
        )
    else:
        torch.ops.load_library(LIBRARY)
        return ""
    warnings.warn(f"maskconv_ext runs on its slower PyTorch reference: {reason}", RuntimeWarning, stacklevel=3)
    return reason


why_not_loaded = _load()
is_loaded = not why_not_loaded
has_cuda = is_loaded and torch._C._dispatch_has_kernel_for_dispatch_key("maskconv_ext::forward", "CUDA")


def build_info() -> dict[str, Any] | None:
    """What the library was compiled with; None where none is loaded."""
    return json.loads(torch.ops.maskconv_ext.build_info()) if is_loaded else None


def can_run(input: Tensor, mask: Tensor | None, weight: Tensor, options: Options) -> bool:
    """Whether the operators take this call; what they do not take runs on the reference."""
    device = input.device
    if device.type == "cuda" and torch.cuda.get_device_properties(device).major < CUDA_MIN_MAJOR:
        return False
    return not is_transformed() and not why_not(input, mask, options, device.type)


def why_not(input: Tensor, mask: Tensor | None, options: Options, device: str) -> str:
    """Why the operators do not take this call on a device of that type; empty if they do."""
    if not is_loaded:
        return "the compiled library was not loaded"
    if options.needs_weight_sum:
        return "a sum of weights normalises, or is the output mask"
    if device == "cpu":
        return ""
    if device != "cuda":
        return f"there is no engine for {device} devices"
    if not has_cuda:
        return "the library was built without CUDA"
    if is_soft(mask) or not options.shared_mask:
        return "the mask is soft, or has several channels"
    if options.geometry.taps > CUDA_MAX_TAPS:
        return f"the kernel has {options.geometry.taps} taps, and CUDA takes {CUDA_MAX_TAPS}"
    return "" if input.shape[0] > 0 else "the batch is empty"


def is_transformed() -> bool:
    """Whether torch.func or forward-mode differentiation is at work: the operators only have a backward."""
    if torch.compiler.is_compiling():
        return False
    return forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None


def masked_conv(
    input: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """As `reference.masked_conv`, through the compiled operator."""
    geometry = options.geometry
    return torch.ops.maskconv_ext.forward(
        input, mask, weight, bias, geometry.stride, geometry.flat_padding(), geometry.dilation, options.groups,
        _op_mask_channels(mask, options.mask_channels), options.normalization, options.mask_update,
        options.threshold, options.fill, options.pad_is_valid, _is_channels_last(input, weight),
    )  # fmt: skip


def _op_mask_channels(mask: Tensor | None, parts: tuple[int, ...]) -> list[int]:
    """The operators write a shared mask as []."""
    return [] if mask is None or len(parts) == 1 else list(parts)


def _is_channels_last(input: Tensor, weight: Tensor) -> bool:
    """F.conv2d's rule: either of the two asks for it."""
    return any(suggest_memory_format(t) in (torch.channels_last, torch.channels_last_3d) for t in (input, weight))


if is_loaded:
    operators.register()
