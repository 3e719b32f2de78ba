"""torch.library.opcheck on every operator of the native library."""

from __future__ import annotations

import pytest
import torch
from conftest import require_native

SIZES = {1: (7,), 2: (6, 5), 3: (4, 3, 5)}
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}
# Rank, groups, mask ("parts": two mask channels), channels_last, dtype, and the options of the forward operator.
FORWARD = ("ratio", "any", 0.0, 0.0, False)
SAMPLES = {
    "1-D": (1, 1, "bool", False, torch.float32, FORWARD),
    "2-D": (2, 2, "uint8", False, torch.float32, ("mean", "all", 0.0, 1.5, True)),
    "2-D channels_last": (2, 1, "bool", True, torch.bfloat16, ("sqrt", "threshold", 0.5, None, False)),
    "2-D no mask": (2, 1, None, False, torch.float64, ("none", "center", 0.0, 0.0, False)),
    "2-D fraction": (2, 1, "bool", False, torch.float32, ("ratio", "fraction", 0.0, 0.0, False)),
    "2-D parts": (2, 1, "parts", False, torch.float32, FORWARD),
    "2-D soft": (2, 1, "soft", False, torch.float32, FORWARD),
    "3-D channels_last": (3, 1, "bool", True, torch.float32, FORWARD),
}


def arguments(op: str, sample: str, device: str):
    """What the schema of `op` takes, as in csrc/ops/library.cpp."""
    rank, groups, form, channels_last, dtype, forward = SAMPLES[sample]
    memory_format = FORMATS[rank] if channels_last else torch.contiguous_format
    stride, padding, dilation = [1] * rank, [1, 0] * rank, [1] * rank

    def leaf(*size, layout=torch.contiguous_format):
        return torch.randn(size, device=device, dtype=dtype).contiguous(memory_format=layout).requires_grad_()

    x, w = leaf(2, 4, *SIZES[rank], layout=memory_format), leaf(4, 4 // groups, *(3,) * rank)
    mask_channels = [1, 3] if form == "parts" else []
    mask = None if form is None else torch.rand(2, len(mask_channels) or 1, *SIZES[rank], device=device)
    if form == "uint8":
        mask = (mask < 0.6).byte()
    elif form in ("bool", "parts"):
        mask = mask < 0.6
    geometry = (stride, padding, dilation, groups, mask_channels)
    if op == "forward":
        normalization, update, threshold, fill, pad_is_valid = forward
        b = leaf(4)
        return (x, mask, w, b, *geometry, normalization, update, threshold, fill, pad_is_valid, channels_last, True)
    grad = leaf(2, 4, *(size - 1 for size in SIZES[rank]), layout=memory_format)
    valid = torch.rand(1 if mask is None else 2, 1, *grad.shape[2:], device=device) < 0.7
    if op == "scale_grad":
        window_size = 3**rank
        if form == "soft":
            window_sum = torch.rand(valid.shape, device=device) * window_size
        else:
            window_sum = torch.randint(window_size + 1, valid.shape, device=device, dtype=torch.int32)
        return (grad, valid, window_sum, window_size, forward[0], True, forward[3] is None)
    if op == "grad_input":
        return (grad, valid, mask, w, list(x.shape), *geometry, channels_last, True)
    assert op == "grad_weight", f"no sample is written for {op}"
    return (grad, valid, x, mask, list(w.shape), *geometry, True)


def registered_operators() -> set[str]:
    prefix = "maskconv_ext::"
    return {name.removeprefix(prefix) for name in torch._C._dispatch_get_all_op_names() if name.startswith(prefix)}


OPERATORS = ("forward", "scale_grad", "grad_input", "grad_weight")


def test_every_operator_is_checked():
    require_native()
    assert registered_operators() == set(OPERATORS)


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("op", OPERATORS)
def test_opcheck(device, op, sample):
    require_native()
    if device == "cuda" and sample in ("2-D parts", "2-D soft") and op != "scale_grad":
        pytest.skip("the CUDA operators take shared hard masks only")
    if sample == "2-D soft" and op in ("grad_input", "grad_weight"):
        pytest.skip("the operators of the gradients take hard masks; soft ones multiply outside of them")
    torch.manual_seed(0)
    torch.library.opcheck(getattr(torch.ops.maskconv_ext, op).default, arguments(op, sample, device))
