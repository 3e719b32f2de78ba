"""Gradients of input, weight, bias and soft mask, to the second order."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from configurations import FUNCTIONS, Case, cases
from hypothesis import given, settings

from maskconv_ext import masked_conv2d, native

SIZES = {1: (6,), 2: (4, 3), 3: (3, 2, 3)}
# One row an option; the defaults are 2-D, a shared bool mask, padding 1.
ROWS = [
    dict(rank=1),
    dict(),
    dict(rank=3, kernel=2),
    dict(stride=2, dilation=2, padding=((2, 1), (1, 2))),
    dict(groups=2),
    dict(padding="same", stride=(2, 1)),
    dict(padding_mode="reflect"),
    dict(padding_mode=["circular", "replicate"]),
    dict(pad_is_valid=True),
    dict(mask=None),
    dict(mask="uint8"),
    dict(mask="channels"),
    dict(mask="channels", groups=2),
    dict(mask="parts", mask_channels=(1, 3)),
    dict(mask="soft"),
    dict(mask="soft", mask_batch=1, stride=2),
    dict(mask="soft", rank=1, padding_mode="reflect"),
    dict(mask="soft", rank=3, kernel=2),
    dict(mask="soft channels", groups=2),
    dict(mask="soft parts", mask_channels=(3, 1), pad_is_valid=True),
    dict(mask="soft parts", mask_channels=(1, 3), groups=2),
    dict(mask="soft parts", mask_channels=(2, 2), mask_batch=1, groups=2),
    dict(normalization="mean"),
    dict(normalization="sqrt"),
    dict(normalization="none"),
    dict(normalization="weight"),
    dict(mask="soft", normalization="mean"),
    dict(mask="soft", normalization="sqrt", groups=2),
    dict(mask="soft", normalization="none"),
    dict(mask="soft", normalization="weight"),
    dict(mask="soft channels", normalization="weight", mask_update="confidence", groups=2),
    dict(mask="soft", mask_update="confidence"),
    dict(mask="soft", mask_update="fraction"),
    dict(mask="soft channels", mask_update="fraction", pad_is_valid=True),
    dict(mask_update="all", fill="bias"),
    dict(mask_update="center", fill=math.nan),
    dict(mask="soft", mask_update=0.3, fill="bias"),
    dict(bias=False, fill="bias"),
]


# What the backward pass rounds differs by form of mask, normalisation and output mask; the geometry is in ROWS.
LOWER_PRECISION_ROWS = [
    dict(rank=1),
    dict(stride=2, groups=2),
    dict(rank=3, kernel=2, mask=None),
    dict(mask="channels", normalization="sqrt"),
    dict(mask="soft", normalization="mean"),
    dict(mask="soft channels", mask_update="fraction", groups=2),
    dict(mask="soft parts", mask_channels=(3, 1), groups=2),
    dict(mask="soft", mask_update="confidence"),
    dict(mask_update="center", fill=math.nan),
    dict(mask="soft", bias_scale=100.0),  # y - bias would cancel
]


@pytest.fixture(autouse=True)
def one_thread():
    """Thousands of tiny calls: waking threads would take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(row: dict, device: str, dtype=torch.float64):
    """Differentiable leaves, and a function of them that returns every differentiable result."""
    options = dict(row)
    rank, kernel = options.pop("rank", 2), options.pop("kernel", 3)
    form, mask_batch = options.pop("mask", "bool"), options.pop("mask_batch", 2)
    has_bias, bias_scale = options.pop("bias", True), options.pop("bias_scale", 1.0)
    options.setdefault("padding", 1)
    rng = torch.Generator().manual_seed(7)

    def leaf(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64).to(device, dtype).requires_grad_()

    groups = options.get("groups", 1)
    x = leaf(2, 4, *SIZES[rank])
    w = leaf(2, 4 // groups, *(kernel,) * rank)
    if row.get("normalization") == "weight" or row.get("mask_update") == "confidence":
        w = (w.detach().abs() + 0.2).requires_grad_()  # sums far from 0, where the quotient is smooth
    b = leaf(2).detach().mul(bias_scale).requires_grad_() if has_bias else None
    mask = None
    if form is not None:
        parts = 4 if "channels" in form else 2 if "parts" in form else 1
        shape = (mask_batch, parts, *SIZES[rank])
        if "soft" in form:  # away from 0, where selection begins and the derivative jumps
            mask = torch.rand(shape, generator=rng, dtype=torch.float64).mul(0.8).add(0.1)
            mask = mask.to(device, dtype).requires_grad_()
        else:
            mask = torch.rand(shape, generator=rng).lt(0.6).to(device)
            mask = mask.byte() * 255 if form == "uint8" else mask
    tensors = [x, mask, w, b]
    leaves = [t for t in tensors if t is not None and t.requires_grad]

    def function(*values):
        values = iter(values)
        arguments = [next(values) if t is not None and t.requires_grad else t for t in tensors]
        results = FUNCTIONS[rank](*arguments, **options, return_window_sum=True)
        # A fill of NaN has the gradient 0, of which a finite difference knows nothing.
        return tuple(t.nan_to_num(0.0) for t in results if t.dtype == dtype and t.requires_grad)

    return leaves, function


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_first_and_second_order(engine, device, row):
    leaves, function = build(row, device)
    assert torch.autograd.gradcheck(function, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


@settings(max_examples=60)
@given(case=cases())
def test_garbage_reaches_no_gradient(engine, device, case: Case):
    """NaN and Inf under the holes: gradients are finite, equal to those over zeros, and 0 under every hole."""
    gradients = []
    for garbage in (True, False):
        tensors = case.tensors(device, garbage)
        leaves = [t.requires_grad_() for t in tensors if t is not None and t.is_floating_point()]
        output, out_mask, window_sum = case.call(tensors, fill=0.0)
        results = [t for t in (output, out_mask, window_sum) if t.requires_grad]
        # Weights that cancel make a soft output mask infinite by definition; its gradient says nothing here.
        loss = sum(t.double().cos().sum() for t in results if t.isfinite().all())
        if not isinstance(loss, torch.Tensor):
            return
        gradients.append(torch.autograd.grad(loss, leaves, allow_unused=True))
    for got, expected in zip(*gradients):
        if expected is not None and expected.isfinite().all():
            assert torch.equal(got, expected)
    x, mask = tensors[:2]
    if mask is not None and gradients[0][0] is not None:
        holes = torch.from_numpy(case.mask_of_channel(mask.detach().cpu().numpy()) == 0).to(device)
        assert not gradients[0][0][holes.expand_as(x)].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("row", LOWER_PRECISION_ROWS, ids=str)
def test_lower_precision(engine, device, row, dtype, monkeypatch):
    """Against the reference in float64, relative to the gradient's norm."""
    leaves, function = build(row, device, dtype)
    gradients = torch.autograd.grad(function(*leaves)[0].double().sum(), leaves)
    monkeypatch.setattr(native, "can_run", lambda *args, **kwargs: False)
    doubles = [t.detach().double().requires_grad_() for t in leaves]
    _, function64 = build(row, device, torch.float64)
    expected = torch.autograd.grad(function64(*doubles)[0].sum(), doubles)
    for got, exact in zip(gradients, expected):
        assert got.dtype == dtype
        # A few roundings of the dtype: that of the gradient itself, and of what the backward pass rereads.
        error = (got.double() - exact).norm() / exact.norm().clamp_min(1e-30)
        assert error < 4 * torch.finfo(dtype).eps, f"relative error {error:g}"


def composed(x, m, w, b):
    """The docstring's formula in framework operations."""
    s = F.conv2d(m.to(x.dtype), torch.ones_like(w[:1, :1]), padding=1)
    a = F.conv2d(x * m, w, padding=1)
    return torch.where(s > 0, a * (9 / s.clamp(min=1)) + b.view(-1, 1, 1), 0.0)


def test_gradient_penalty(engine, device):
    """A critic of two layers trained as WGAN-GP does: its loss holds the norm of an input gradient."""
    rng = torch.Generator().manual_seed(3)
    shapes = [(3, 2, 3, 3), (3,), (1, 3, 3, 3), (1,)]
    parameters = [torch.randn(s, generator=rng, dtype=torch.float64).to(device).requires_grad_() for s in shapes]
    x = torch.randn(2, 2, 6, 5, generator=rng, dtype=torch.float64).to(device).requires_grad_()
    m = (torch.rand(2, 1, 6, 5, generator=rng) < 0.7).to(device)

    def gradients(layer):
        w1, b1, w2, b2 = parameters
        score = layer(torch.tanh(layer(x, m, w1, b1)), m, w2, b2)
        (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True)
        penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        return torch.autograd.grad(score.mean() + 10 * penalty, parameters)

    ours = gradients(lambda *args: masked_conv2d(*args, padding=1)[0])
    for got, expected in zip(ours, gradients(composed)):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
