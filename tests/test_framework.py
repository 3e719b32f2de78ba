"""What PyTorch asks of an operator: memory formats, autocast, tracing, export, determinism; and no binary."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import torch.autograd.forward_ad as fwAD
import torch.nn.functional as F
from configurations import FUNCTIONS
from torch._subclasses.fake_tensor import FakeTensorMode

from maskconv_ext import masked_conv2d

ROOT = Path(__file__).resolve().parents[1]
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
SIZES = {1: (9,), 2: (7, 6), 3: (4, 5, 6)}
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


def make(rank: int, device: str, mask: str | None = "bool", dtype=torch.float32, batch: int = 2):
    rng = torch.Generator().manual_seed(rank)
    x = torch.randn(batch, 4, *SIZES[rank], generator=rng).to(device, dtype)
    w = torch.randn(6, 4, *(3,) * rank, generator=rng).to(device, dtype)
    b = torch.randn(6, generator=rng).to(device, dtype)
    m = torch.rand(batch, 1, *SIZES[rank], generator=rng)
    m = {None: None, "bool": m < 0.6, "uint8": (m < 0.6).byte(), "soft": m.round(decimals=2)}[mask]
    return x, m if m is None else m.to(device), w, b


@pytest.mark.parametrize(
    "options", [{}, {"padding_mode": "reflect"}, {"normalization": "weight"}, {"mask": None}], ids=str
)
@pytest.mark.parametrize("rank", [2, 3])
def test_memory_format_follows_the_convolution(engine, device, rank, options, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "enabled", True)  # on CUDA its formats are what users see
    options = dict(options)
    x, m, w, b = make(rank, device, options.pop("mask", "bool"))
    for input_format in (torch.contiguous_format, FORMATS[rank]):
        x_in = x.clone(memory_format=input_format).requires_grad_()
        output, out_mask = FUNCTIONS[rank](x_in, m, w, b, padding=1, **options)
        plain = CONVOLUTIONS[rank](x_in, w, b, padding=1)
        assert output.stride() == plain.stride()
        output.sum().backward()
        assert x_in.grad.is_contiguous(memory_format=input_format)
        assert out_mask.is_contiguous()


@pytest.mark.parametrize("mask", ["bool", "soft", None])
@pytest.mark.parametrize("amp", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_gives_the_dtypes_of_the_convolution(engine, device, amp, mask):
    x, m, w, b = make(2, device, mask)
    inputs = [x, x.half(), x.bfloat16(), x.double()]
    weights = [w, w, w, w.double()]
    for x_in, w_in in zip(inputs, weights):
        leaves = [x_in.detach().requires_grad_(), w_in.detach().requires_grad_()]
        b_in = b.to(w_in.dtype)
        with torch.autocast(device, dtype=amp):
            plain = F.conv2d(leaves[0], leaves[1], b_in)
            output, out_mask, window_sum = masked_conv2d(leaves[0], m, leaves[1], b_in, return_window_sum=True)
        assert output.dtype == plain.dtype
        assert [g.dtype for g in torch.autograd.grad(output.sum(), leaves)] == [t.dtype for t in leaves]
        eager = masked_conv2d(x_in.to(plain.dtype), m, w_in.to(plain.dtype), b_in.to(plain.dtype))
        torch.testing.assert_close(output, eager[0], rtol=0, atol=0)
        assert out_mask.dtype == (torch.bool if m is None else m.dtype)
        if mask == "soft":  # sums of hundredths: neither float16 nor bfloat16 would give them
            exact = F.conv2d(m.double(), torch.ones(1, 1, 3, 3, dtype=torch.float64, device=device))
            assert window_sum.dtype == (torch.float64 if x_in.dtype == torch.float64 else torch.float32)
            torch.testing.assert_close(window_sum.double(), exact, rtol=1e-6, atol=0)


def test_two_layers_under_autocast(engine, device):
    """The second layer's input is already cast, its parameters are not."""
    x, m, w, b = make(2, device)
    second = torch.randn(3, 6, 3, 3, device=device, requires_grad=True)
    with torch.autocast(device, dtype=torch.bfloat16):
        y, m = masked_conv2d(x, m, w, b)
        y, m = masked_conv2d(y, m, second, None)
    y.sum().backward()
    assert y.dtype == torch.bfloat16 and second.grad.dtype == torch.float32


COMPILED = [
    ("aot_eager", {}),
    ("aot_eager", {"mask": "soft", "mask_update": "fraction", "normalization": "sqrt"}),
    ("aot_eager", {"mask": None, "padding": "same", "stride": 2, "fill": "bias"}),
    ("aot_eager", {"padding_mode": "reflect", "normalization": "mean"}),
    ("aot_eager", {"normalization": "weight", "mask_update": "confidence"}),
    ("inductor", {}),
]


@pytest.mark.parametrize(("backend", "row"), COMPILED, ids=str)
def test_compiled_equals_eager_at_every_shape(engine, device, backend, row):
    options = {"padding": 1, **row}
    mask = options.pop("mask", "bool")
    _, _, w, b = make(2, device)

    def step(x, m, w, b):
        return FUNCTIONS[2](x, m, w, b, return_window_sum=True, **options)

    torch._dynamo.reset()
    compiled = torch.compile(step, backend=backend, fullgraph=True, dynamic=True)
    # One graph serves all shapes; only Inductor specialises the sliding windows of the reference to the first one.
    once = not (backend == "inductor" and engine == "reference")
    compiled = torch._dynamo.config.patch(error_on_recompile=once)(compiled)
    rng = torch.Generator().manual_seed(5)
    for size in ((2, 4, 8, 9), (3, 4, 11, 6), (2, 4, 5, 13)):
        x = torch.randn(size, generator=rng).to(device)
        m = torch.rand(size[0], 1, *size[2:], generator=rng).to(device)
        m = {"bool": m < 0.6, "soft": m, None: None}[mask]
        runs = []
        for function in (step, compiled):
            leaves = [t.clone().requires_grad_() for t in (x, w, b)]
            soft = m.clone().requires_grad_() if mask == "soft" else m
            results = function(leaves[0], soft, *leaves[1:])
            leaves += [soft] if mask == "soft" else []
            loss = sum(t.sin().sum() for t in results if t.requires_grad)
            runs.append((results, torch.autograd.grad(loss, leaves)))
        torch.testing.assert_close(runs[1], runs[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mask", ["bool", "soft", None])
def test_export(engine, device, mask):
    class Layer(torch.nn.Module):
        def forward(self, x, m, w, b):
            return masked_conv2d(x, m, w, b, padding=1)

    tensors = make(2, device, mask)
    size = {0: torch.export.Dim("batch", min=2, max=16)}
    shapes = (size, None if mask is None else size, None, None)
    program = torch.export.export(Layer(), tensors, dynamic_shapes=shapes)
    larger = make(2, device, mask, batch=5)
    torch.testing.assert_close(program.module()(*larger), Layer()(*larger))


@pytest.mark.parametrize("mask", ["bool", "uint8", "soft", None])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_fake_and_meta_tensors_have_the_real_shapes(engine, device, rank, mask):
    tensors = make(rank, device, mask)
    options = dict(stride=2, padding=1, mask_update="fraction", return_window_sum=True)
    real = FUNCTIONS[rank](*tensors, **options)
    with FakeTensorMode() as mode:
        fakes = [t if t is None else mode.from_tensor(t) for t in tensors]
        traced = FUNCTIONS[rank](*fakes, **options)
    described = [(t.shape, t.dtype, t.stride()) for t in real]
    assert [(t.shape, t.dtype, t.stride()) for t in traced] == described
    meta = FUNCTIONS[rank](*[t if t is None else t.to("meta") for t in tensors], **options)
    assert [(t.shape, t.dtype) for t in meta] == [(t.shape, t.dtype) for t in real]


@pytest.mark.parametrize("mask", ["bool", "soft"])
def test_deterministic_mode(engine, device, mask):
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for _ in range(2):
            x, m, w, b = make(2, device, mask)
            leaves = [t.requires_grad_() for t in (x, w, b, *([m] if mask == "soft" else []))]
            output, out_mask = masked_conv2d(x, m, w, b, padding=1, padding_mode=["reflect", "zeros"])
            runs.append([output, out_mask, *torch.autograd.grad(output.cos().sum(), leaves)])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(first, second) for first, second in zip(*runs))


def test_without_a_binary_it_warns_once_and_works():
    script = """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import torch
            from maskconv_ext import masked_conv2d
            x, m = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool)
            for _ in range(2):
                y, _ = masked_conv2d(x, m, torch.ones(1, 1, 3, 3), padding=1)
        assert torch.equal(y, torch.full_like(x, 9.0)), y
        ours = [str(w.message) for w in caught if "maskconv_ext" in str(w.message)]
        print(len(ours), *ours)
    """
    environment = os.environ | {"MASKCONV_DISABLE_NATIVE": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("1 ") and "MASKCONV_DISABLE_NATIVE" in run.stdout, run.stdout


def test_torch_func_and_forward_mode(engine, device):
    """Transforms that the compiled operators do not know run on the reference, rather than wrong."""
    x, w = torch.randn(2, 3, 6, 7, device=device), torch.randn(4, 3, 3, 3, device=device)
    m = torch.rand(2, 1, 6, 7, device=device) > 0.5

    def function(x):
        return masked_conv2d(x, m, w)[0]

    # linear in x: its derivative along x is itself
    output, tangent = torch.func.jvp(function, (x,), (x,))
    torch.testing.assert_close(tangent, output)
    with fwAD.dual_level():
        dual = fwAD.unpack_dual(function(fwAD.make_dual(x, x)))
        torch.testing.assert_close(dual.tangent, output)
    leaf = x.clone().requires_grad_()
    function(leaf).sum().backward()
    torch.testing.assert_close(torch.func.grad(lambda x: function(x).sum())(x), leaf.grad)
    each = torch.func.vmap(lambda x, m: masked_conv2d(x[None], m[None], w)[0][0])(x, m)
    torch.testing.assert_close(each, output)


@pytest.mark.parametrize("mask_update", ["any", "fraction"])
@pytest.mark.parametrize("mask", ["hard", "soft", "learned"])
def test_only_what_depends_on_a_leaf_requires_grad(engine, device, mask, mask_update):
    x, w = torch.randn(1, 2, 5, 5, device=device, requires_grad=True), torch.randn(3, 2, 3, 3, device=device)
    m = torch.rand(1, 1, 5, 5, device=device)
    m = m > 0.5 if mask == "hard" else m.requires_grad_(mask == "learned")
    output, out_mask, s = masked_conv2d(x, m, w, mask_update=mask_update, return_window_sum=True)
    assert output.requires_grad
    assert out_mask.requires_grad == (mask == "learned" and mask_update == "fraction")
    assert s.requires_grad == (mask == "learned")
