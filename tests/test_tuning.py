"""Timing candidates: which are tried, and that it happens once a problem, forward and backward."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from native_library import require_native
from torch import Tensor
from torch._subclasses import FakeTensorMode

from maskconv_ext import explain, masked_conv2d, tuning
from maskconv_ext.explain import DEVICES, PASSES

LINES = "a\t10\tL2\nb\t20\tarithmetic\nslow\t61\tarithmetic\nother\t\tneeds something\n"
TIMES = {"a": 9.0, "b": 7.0}
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    tuning.forget()
    yield
    tuning.forget()


def test_the_fastest_is_taken_and_remembered() -> None:
    ran: list[str] = []

    def timer(run) -> float:
        run()
        return TIMES[ran[-1]]

    def best_of(key: str) -> str:
        return tuning.fastest(key, lambda: LINES, ran.append, timer)

    assert best_of("key") == "b"
    assert ran == ["a", "b"], "neither what cannot run nor what is expected to be far behind"
    assert best_of("key") == "b"
    assert len(ran) == 2
    best_of("other key")
    assert len(ran) == 4


@pytest.fixture
def _not_capturing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)


@pytest.mark.usefixtures("_not_capturing")
def test_it_is_off_unless_asked_for() -> None:
    assert not tuning.is_on(CUDA)
    with torch.backends.cudnn.flags(benchmark=True):
        assert tuning.is_on(CUDA)
        assert not tuning.is_on(torch.device("cpu"))
        torch.use_deterministic_algorithms(True)
        try:
            assert not tuning.is_on(CUDA)
        finally:
            torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_not_capturing")
def test_it_is_off_where_calls_are_traced_or_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def ask(x: Tensor) -> Tensor:
        asked.append(tuning.is_on(CUDA))
        return x

    with torch.backends.cudnn.flags(benchmark=True):
        with FakeTensorMode():
            ask(torch.ones(2))
        torch.func.vmap(ask)(torch.ones(2))
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        ask(torch.ones(2))
        assert torch.compile(lambda x: x + tuning.is_on(CUDA), fullgraph=True, backend="eager")(torch.zeros(1)) == 0
    assert asked == [False] * 3


class Recorded:
    """An operator on the CPU, which notes the candidates asked for and has none of them."""

    def __init__(self, name: str, calls: list[tuple[str, str]]) -> None:
        self.name, self.calls, self.operator = name, calls, getattr(torch.ops.maskconv_ext, name)
        self.default = self.operator.default

    def __call__(self, *arguments: Any, candidate: str = "") -> Any:
        self.calls.append((self.name, candidate))
        return self.operator(*arguments)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Operators and candidates that were called, of an H200 that the CPU stands for: each try takes less time."""
    require_native()
    found: list[tuple[str, str]] = []
    for name in PASSES:
        monkeypatch.setattr(torch.ops.maskconv_ext, name, Recorded(name, found))
    listed = torch.ops.maskconv_ext.candidates
    numbers = [float(number) for number in dataclasses.astuple(DEVICES["H200"])]

    def timer(run: Any) -> float:
        run()
        return -float(len(found))

    monkeypatch.setattr(
        torch.ops.maskconv_ext, "candidates", lambda *given: listed(*given[:11], given[11] or numbers, *given[12:])
    )
    monkeypatch.setattr(tuning, "is_on", lambda device: True)
    monkeypatch.setattr(tuning, "_microseconds", timer)
    return found


def sample(dtype: torch.dtype = torch.bfloat16) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 12, 12).to(dtype, memory_format=torch.channels_last).requires_grad_()
    w = torch.randn(24, 16, 3, 3).to(dtype, memory_format=torch.channels_last).requires_grad_()
    return x, torch.rand(2, 1, 12, 12) < 0.5, w


def step(x: Tensor, mask: Tensor, w: Tensor, **options: Any) -> tuple[Tensor, ...]:
    y, _ = masked_conv2d(x, mask, w, padding=1, **options)
    return torch.autograd.grad(y.square().sum(), [x, w])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_a_training_step_times_each_pass_once(dtype: torch.dtype, calls: list[tuple[str, str]]) -> None:
    """Those that explain() lists and expects to be not far behind; then the fastest computes."""
    x, mask, w = sample(dtype)
    last = {}
    gradients = step(x, mask, w)
    for p in explain(x, mask, w, padding=1, device="H200").passes:
        least = p.candidates[0].microseconds
        runs = [c for c in p.candidates if c.microseconds is not None]
        tried = [c.name for c in runs if c.microseconds <= tuning.WORTH_TRYING * least]
        assert len(tried) > 1
        last[p.name] = tried[-1]
        assert [candidate for name, candidate in calls if name == p.name] == [*tried, tried[-1]]
    calls.clear()
    again = step(x, mask, w)
    assert dict(calls) == last and len(calls) == len(PASSES)
    torch.testing.assert_close(again, gradients, rtol=0, atol=0)


def test_what_is_another_problem(calls: list[tuple[str, str]]) -> None:
    """Shapes, layouts, types, rules; not values, NaN among them."""
    x, mask, w = sample()
    step(x, mask, w, fill=float("nan"))
    calls.clear()
    step(x + 1, ~mask, w, fill=float("nan"))
    assert len(calls) == len(PASSES)
    for other in ((x[:1], mask[:1], w), (x, mask[:1], w), (x.contiguous(), mask, w), (x.float(), mask, w.float())):
        calls.clear()
        step(*other)
        assert len(calls) > len(PASSES)


def test_only_what_takes_their_alignment_is_timed(calls: list[tuple[str, str]]) -> None:
    """What lies off a 16-byte boundary; not where a copy in another layout is read."""
    x, mask, w = sample()
    room = torch.randn(x.numel() + 1, dtype=x.dtype)
    off = room[1:].view(2, 12, 12, 16).permute(0, 3, 1, 2)
    step(off.requires_grad_(), mask, w)
    for name, mma in (("forward", False), ("grad_weight", False), ("grad_input", True)):
        assert any(c.startswith("mma") for n, c in calls if n == name) == mma, name
    calls.clear()
    step(room[1:].view(x.shape).requires_grad_(), mask, w)
    assert any(c.startswith("mma") for n, c in calls if n == "forward")


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)
def test_on_cuda_results_do_not_depend_on_it(device: str) -> None:
    require_native()
    x, mask, w = (tensor.detach().to(device) for tensor in sample(torch.float64))
    x, w = x.requires_grad_(), w.requires_grad_()
    expected = step(x, mask, w)
    with torch.backends.cudnn.flags(benchmark=True):
        for _ in range(2):
            torch.testing.assert_close(step(x, mask, w), expected)
    assert len(tuning._fastest) == len(PASSES)
