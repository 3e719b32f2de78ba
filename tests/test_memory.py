"""What a call allocates, counted: every allocation as large as the input or the output has a reason stated here."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from native_library import require_native
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from maskconv_ext import masked_conv2d

N, C, SIZE = 4, 64, 32
# Windows sums, masks, workspaces and partial sums: small beside x and y, which are as large as each other.
SMALL = 0.15


def large_allocations(run: Callable[[], object], unit: int) -> list[int]:
    """Allocations on the CPU of at least `SMALL` units of bytes, in units, rounded."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        kept = run()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    del kept
    return [round(event.nbytes() / unit) for event in events if event.nbytes() > SMALL * unit]


@pytest.fixture
def layer() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(N, C, SIZE, SIZE).to(memory_format=torch.channels_last).requires_grad_()
    mask = torch.rand(N, 1, SIZE, SIZE) < 0.5
    w = torch.randn(C, C, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    return x, mask, w, torch.randn(C, requires_grad=True)


def bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


@pytest.mark.parametrize("holes", [True, False])
def test_forward_allocates_its_output(layer, holes: bool) -> None:
    """And nothing else of that size, on either route."""
    require_native()
    x, mask, w, b = layer
    given = mask if holes else torch.ones_like(mask)
    assert large_allocations(lambda: masked_conv2d(x, given, w, b, padding=1), bytes_of(x)) == [1]


def test_backward_allocates_its_results_and_the_scaled_gradient(layer) -> None:
    """One copy of the output's gradient, scaled, which both gradients read; and the input's gradient."""
    require_native()
    x, mask, w, b = layer
    y, _ = masked_conv2d(x, mask, w, b, padding=1)
    grad = torch.randn_like(y)
    assert large_allocations(lambda: torch.autograd.grad(y, [x, w, b], grad), bytes_of(x)) == [1, 1]


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
        """Above what was there, in bytes of x."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        kept = run()
        above = torch.cuda.max_memory_allocated() - before
        del kept
        return above / bytes_of(x)

    y, _ = masked_conv2d(x, mask, w, padding=1)
    grad = torch.randn_like(y)
    assert peak(lambda: masked_conv2d(x, mask, w, padding=1)) < 1 + 2 * SMALL
    assert peak(lambda: torch.autograd.grad(y, [x, w], grad, retain_graph=True)) < 2 + 3 * SMALL
