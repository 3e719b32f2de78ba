"""float32 on tensor cores follows torch's own setting for convolutions, at the time each pass runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from native_library import require_native
from torch.utils._python_dispatch import TorchDispatchMode

from maskconv_ext import masked_conv2d
from maskconv_ext.precision import conv_allows_tf32


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    backends = torch.backends
    places = (backends, backends.cudnn, backends.cudnn.conv)
    before = [place.fp32_precision for place in places]
    yield
    for place, precision in zip(places, before):
        place.fp32_precision = precision


def test_the_older_setting() -> None:
    torch.backends.cudnn.allow_tf32 = True
    assert conv_allows_tf32()
    torch.backends.cudnn.allow_tf32 = False
    assert not conv_allows_tf32()


def test_the_setting_of_convolutions_and_what_it_falls_back_on() -> None:
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    torch.backends.cudnn.fp32_precision = "ieee"
    assert conv_allows_tf32()
    torch.backends.cudnn.conv.fp32_precision = "none"
    assert not conv_allows_tf32()
    torch.backends.cudnn.fp32_precision = "none"
    torch.backends.fp32_precision = "tf32"
    assert conv_allows_tf32()
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    assert not conv_allows_tf32()


def place_of_allow_tf32(op) -> int | None:
    names = [argument.name for argument in op._schema.arguments]
    return names.index("allow_tf32") if "allow_tf32" in names else None


class Recorded(TorchDispatchMode):
    """Of every operator of the library that was called: its name, and whether TF32 was allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, bool]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "maskconv_ext" and place_of_allow_tf32(func) is not None:
            self.calls.append((func._opname, args[place_of_allow_tf32(func)]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("forward", ["tf32", "ieee"])
@pytest.mark.parametrize("backward", ["tf32", "ieee"])
def test_every_pass_reads_it_when_it_runs(forward: str, backward: str) -> None:
    require_native()
    x = torch.randn(1, 4, 6, 6, requires_grad=True)
    weight = torch.randn(4, 4, 3, 3, requires_grad=True)
    mask = torch.rand(1, 1, 6, 6) < 0.7
    with Recorded() as recorded:
        torch.backends.cudnn.conv.fp32_precision = forward
        y, _ = masked_conv2d(x, mask, weight, padding=1)
        assert recorded.calls == [("forward", forward == "tf32")]
        torch.backends.cudnn.conv.fp32_precision = backward
        grads = torch.autograd.grad(y.square().sum(), (x, weight), create_graph=True)
        sum(grad.square().sum() for grad in grads).backward()
    assert {name for name, _ in recorded.calls[1:]} == {"forward", "grad_input", "grad_weight"}  # of both backwards
    assert all(allowed == (backward == "tf32") for _, allowed in recorded.calls[1:])


def test_sums_of_weights_are_never_rounded_to_tf32() -> None:
    require_native()
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    mask = torch.rand(1, 1, 6, 6) < 0.7
    with Recorded() as recorded:
        masked_conv2d(torch.randn(1, 4, 6, 6), mask, torch.randn(4, 4, 3, 3), padding=1, normalization="weight")
    assert recorded.calls == [("forward", False), ("forward", True)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("soft", [False, True])
def test_sums_of_weights_are_not_rounded_to_16_bits(device, engine, dtype, soft) -> None:
    """Of a constant image every mean is that constant: a normaliser that was rounded would show."""
    torch.manual_seed(0)
    mask = torch.rand(2, 1, 12, 12, device=device) < 0.7
    m = mask * torch.rand(2, 1, 12, 12, device=device).mul(8).ceil().div(8) if soft else mask
    weight = torch.rand(8, 3, 3, 3, device=device).to(dtype)
    x = torch.ones(2, 3, 12, 12, device=device, dtype=dtype)
    y, out_mask = masked_conv2d(x, m, weight, padding=1, normalization="weight")
    assert (y[out_mask.expand_as(y) != 0] == 1).all()


def test_a_compiled_function_reads_it_when_traced() -> None:
    require_native()
    x, weight = torch.randn(1, 4, 6, 6), torch.randn(4, 4, 3, 3)
    seen = []

    def backend(module: torch.fx.GraphModule, _: object):
        nodes = [node for node in module.graph.nodes if "maskconv_ext" in str(node.target)]
        place = place_of_allow_tf32(torch.ops.maskconv_ext.forward.default)
        seen.extend(node.args[place] for node in nodes)
        return module

    for precision in ("tf32", "ieee"):
        torch.backends.cudnn.conv.fp32_precision = precision
        torch.compiler.reset()
        torch.compile(masked_conv2d, backend=backend, fullgraph=True)(x, None, weight)
    assert seen == [True, False]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="tensor cores are a GPU's")
@pytest.mark.parametrize("precision, least, most", [("tf32", 2.0**-16, 2.0**-11), ("ieee", 0.0, 2.0**-20)])
def test_errors_are_those_of_the_precision(precision: str, least: float, most: float) -> None:
    require_native()
    torch.manual_seed(0)
    mask = torch.rand(2, 1, 20, 20, device="cuda") < 0.7
    exact = [
        torch.randn(size, device="cuda", dtype=torch.float64)
        for size in ((2, 32, 20, 20), (48, 32, 3, 3), (2, 48, 20, 20))
    ]

    def results(dtype: torch.dtype) -> list[torch.Tensor]:
        x, weight, grad = (tensor.float().to(dtype).requires_grad_() for tensor in exact)
        y, _ = masked_conv2d(x, mask, weight, padding=1)
        return [y, *torch.autograd.grad(y, (x, weight), grad)]

    torch.backends.cudnn.conv.fp32_precision = precision
    for got, want in zip(results(torch.float32), results(torch.float64)):
        error = float((got.double() - want).norm() / want.norm())
        assert least <= error <= most
