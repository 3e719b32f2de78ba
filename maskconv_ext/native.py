"""The compiled library: loading it, and which calls it takes."""

from __future__ import annotations

import json
import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format
from torch.autograd import forward_ad

from . import operators, tuning
from .arguments import Options, is_soft
from .geometry import Geometry
from .precision import conv_allows_tf32
from .weight_sums import confidence, weight_sums

LIBRARY = Path(__file__).with_name("_native.so")
# Above this many taps a row's bitset no longer fits beside the tiles in shared memory.
CUDA_MAX_TAPS = 1024
# More parts of a mask than this, if not equal, are no longer passed to a kernel with its parameters.
CUDA_MAX_MASK_PARTS = 64
# The kernels need cp.async and mma.sync on bfloat16.
CUDA_MIN_MAJOR = 8

# How the forward operator computes, for tests and measurements: on the CPU "rows", "dense" or "direct", on CUDA
# "composite"; "" is the one expected to be fastest.
candidate = ""


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
    if input.device.type == "cuda" and not _is_recent(input):
        return False
    return not is_transformed() and not why_not(input, options, input.device.type)


def why_not(input: Tensor, options: Options, device: str) -> str:
    """Why the operators do not take this call on a device of that type; empty if they do."""
    if not is_loaded:
        return "the compiled library was not loaded"
    if device == "cpu":
        return ""
    if device != "cuda":
        return f"there is no engine for {device} devices"
    if not has_cuda:
        return "the library was built without CUDA"
    parts = options.mask_channels
    if len(parts) > CUDA_MAX_MASK_PARTS and len(set(parts)) > 1:
        return f"the mask has {len(parts)} parts, and CUDA takes {CUDA_MAX_MASK_PARTS}, or equal ones"
    if options.geometry.taps > CUDA_MAX_TAPS:
        return f"the kernel has {options.geometry.taps} taps, and CUDA takes {CUDA_MAX_TAPS}"
    return "" if input.shape[0] > 0 else "the batch is empty"


def is_transformed() -> bool:
    """Whether torch.func or forward-mode differentiation is at work: the operators only have a backward."""
    if torch.compiler.is_compiling():
        return False
    return forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None


def masked_conv(
    input: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    options: Options,
    row_orders: tuple[Tensor | None, Tensor | None] = (None, None),
) -> tuple[Tensor, Tensor, Tensor]:
    """As `reference.masked_conv`, through the compiled operator."""
    geometry = options.geometry
    where = (geometry.stride, geometry.flat_padding(), geometry.dilation, options.groups)
    channels_last = is_channels_last(input, weight)
    # Of "confidence", a filter's output is valid where its sum of weights is not 0, and the mask made of them.
    by_confidence = options.mask_update == "confidence"
    how = (
        _op_mask_channels(mask, options.mask_channels), options.normalization,
        "any" if by_confidence else options.mask_update, options.threshold, options.fill, options.pad_is_valid,
        channels_last, conv_allows_tf32(),
    )  # fmt: skip
    sums = weight_sums(input, mask, weight, options, channels_last) if options.needs_weight_sum else None
    with _below_autograd(input, mask, weight, bias, sums):
        output, out_mask, window_sum = tuning.call(
            "forward", input, mask, weight, bias, *where, *how, *row_orders, sums, candidate=candidate
        )
    if by_confidence and sums is not None:
        out_mask = confidence(sums, weight, mask)
    return output, out_mask, window_sum


def _below_autograd(*tensors: Tensor | None) -> AbstractContextManager[object]:
    """Where nothing asks for a gradient, the operator's layer for gradients, written in Python, is passed by: it would
    cost as much as a small convolution.
    """
    if torch.compiler.is_compiling() or (
        torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)
    ):
        return nullcontext()
    return torch._C._AutoDispatchBelowAutograd()


def row_orders(
    mask: Tensor, batch: int, geometry: Geometry, mask_update: str, threshold: float, pad_is_valid: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Orders of rows for the forward and, where gradients are enabled, for grad_input; None where none is taken."""
    if not takes_row_orders(mask, batch, geometry, mask_update):
        return None, None
    ops = torch.ops.maskconv_ext
    where = (geometry.stride, geometry.flat_padding(), geometry.dilation)
    order = ops.forward_row_order(mask, batch, geometry.kernel, *where, mask_update, threshold, pad_is_valid)
    if not torch.is_grad_enabled():
        return order, None
    with torch.no_grad():
        # Which outputs are valid, from the operator that says so: a convolution of the mask itself.
        ones = torch.ones((1, 1, *geometry.kernel), device=mask.device)
        _, out_mask, s = ops.forward(
            mask.float(),
            mask,
            ones,
            None,
            *where,
            1,
            [],
            "none",
            mask_update,
            threshold,
            0.0,
            pad_is_valid,
            False,
            False,
        )
    valid = s > 0 if mask_update == "fraction" else out_mask != 0
    return order, ops.grad_input_row_order(valid, mask, batch, geometry.kernel, *where)


def takes_row_orders(mask: Tensor, batch: int, geometry: Geometry, mask_update: str) -> bool:
    """Whether the kernels of calls with this mask take their rows in an order."""
    if not has_cuda or mask.device.type != "cuda" or is_transformed() or mask_update == "confidence" or batch == 0:
        return False
    hard_and_shared = not is_soft(mask) and mask.shape[1] == 1
    return hard_and_shared and geometry.taps <= CUDA_MAX_TAPS and _is_recent(mask)


def _is_recent(tensor: Tensor) -> bool:
    return torch.cuda.get_device_properties(tensor.device).major >= CUDA_MIN_MAJOR


def _op_mask_channels(mask: Tensor | None, parts: tuple[int, ...]) -> list[int]:
    """The operators write a shared mask as []."""
    return [] if mask is None or len(parts) == 1 else list(parts)


def is_channels_last(input: Tensor, weight: Tensor) -> bool:
    """F.conv2d's rule: either of the two asks for it."""
    return _asks_for_channels_last(input) or _asks_for_channels_last(weight)


def _asks_for_channels_last(tensor: Tensor) -> bool:
    memory_format = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.dim())
    if memory_format is None:
        return False
    last = tensor.is_contiguous(memory_format=memory_format)
    if last != tensor.is_contiguous():
        return last
    return suggest_memory_format(tensor) == memory_format  # the whole rule, in Python, takes ten times as long


if is_loaded:
    operators.register()
