"""What a call allocates, counted: every allocation as large as the input or the output has a reason stated here."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from native_library import require_native
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from maskconv_ext import masked_conv2d

N, C, SIZE = 4, 64, 32
# Window sums, scales, masks, weights as the framework packs them for a CPU, workspaces and partial sums: small beside x
# and y, which are as large as each other.
SMALL = 0.25
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)


def large_allocations(run: Callable[[], object], unit: int) -> list[int]:
    """Allocations on the CPU of at least `SMALL` units of bytes, in units, rounded."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        kept = run()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    del kept
    return [round(event.nbytes() / unit) for event in events if event.nbytes() > SMALL * unit]


def peak_memory(run: Callable[[], object], device: str, unit: int) -> float:
    """Above what was there before, in units."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        kept = run()
        peak = torch.cuda.max_memory_allocated() - before
    else:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            kept = run()
        events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
        events.sort(key=lambda event: event.start_ns())
        peak = max(itertools.accumulate(event.nbytes() for event in events))
    del kept
    return peak / unit


def layer(dtype: torch.dtype = torch.float32, kind: str = "hard") -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(N, C, SIZE, SIZE).to(dtype, memory_format=torch.channels_last).requires_grad_()
    m = torch.rand(N, 2 if kind == "parts" else 1, SIZE, SIZE)
    masks = {"none": None, "soft": torch.where(m < 0.5, 0.0, m), "hard": m < 0.5, "parts": m < 0.5}
    w = torch.randn(C, C, 3, 3).to(dtype, memory_format=torch.channels_last).requires_grad_()
    return x, masks[kind], w, torch.randn(C, dtype=dtype, requires_grad=True)


def bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


@pytest.mark.parametrize("holes", [True, False])
def test_forward_allocates_its_output(holes: bool) -> None:
    """And nothing else of that size, on either route."""
    require_native()
    x, mask, w, b = layer()
    given = mask if holes else torch.ones_like(mask)
    assert large_allocations(lambda: masked_conv2d(x, given, w, b, padding=1), bytes_of(x)) == [1]


@DTYPES
@pytest.mark.parametrize("kind", ["none", "hard", "parts", "soft"])
@pytest.mark.parametrize("normalization", ["ratio", "none"])
def test_forward_and_backward_allocate_their_results(dtype, kind: str, normalization: str) -> None:
    """The output; the input's gradient. Nothing is scaled, selected or widened beside them."""
    require_native()
    x, mask, w, b = layer(dtype, kind)
    options = {"mask_channels": (C // 4, 3 * C // 4)} if kind == "parts" else {}

    def forward() -> Tensor:
        return masked_conv2d(x, mask, w, b, padding=1, normalization=normalization, **options)[0]

    assert large_allocations(forward, bytes_of(x)) == [1]
    y = forward()
    grad = torch.randn_like(y)
    assert large_allocations(lambda: torch.autograd.grad(y, [x, w, b], grad), bytes_of(x)) == [1]


@DTYPES
@pytest.mark.parametrize("parts", [None, (C // 4, 3 * C // 4)], ids=["shared", "parts"])
@pytest.mark.parametrize("normalization", ["ratio", "none"])
def test_gradient_of_a_soft_mask(device, dtype, parts: tuple[int, ...] | None, normalization: str) -> None:
    """One size of the input, or of the output, whichever is larger: the sums that the scale's gradient needs are freed
    before the input's gradient comes, which is multiplied by the mask in its place. Beside it there is that of the
    weight, and few maps of the mask's size in float32. On CUDA the sums are made of a copy, the input under the mask.
    """
    require_native()
    x, _, w, b = layer(dtype)
    x, w, b = (t.detach().to(device).requires_grad_() for t in (x, w, b))
    m = torch.rand(N, len(parts or [1]), SIZE, SIZE, device=device).sub(0.4).relu().requires_grad_()

    y, _ = masked_conv2d(x, m, w, b, padding=1, normalization=normalization, mask_channels=parts)
    grad = torch.randn_like(y)
    large = 2 if device == "cuda" and normalization == "ratio" else 1
    few = (10 * bytes_of(m) + bytes_of(w)) / bytes_of(x)
    peak = peak_memory(lambda: torch.autograd.grad(y, [x, m, w, b], grad), device, bytes_of(x))
    assert peak <= large + few


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_on_cuda_too(dtype) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device: torch.cuda.is_available() is False")
    require_native()
    x = torch.randn(32, C, 64, 64, device="cuda", dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    mask = torch.rand(32, 1, 64, 64, device="cuda") < 0.5
    w = torch.randn(C, C, 3, 3, device="cuda", dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()

    def peak(run: Callable[[], object]) -> float:
        return peak_memory(run, "cuda", bytes_of(x))

    y, _ = masked_conv2d(x, mask, w, padding=1)
    grad = torch.randn_like(y)
    assert peak(lambda: masked_conv2d(x, mask, w, padding=1)) < 1 + 2 * SMALL
    assert peak(lambda: torch.autograd.grad(y, [x, w], grad, retain_graph=True)) < 1 + 3 * SMALL
