"""What is asked of every layer with a mask: inputs with holes, and checks that the tests of each layer share."""

from __future__ import annotations

import copy
import io
import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode

GARBAGE = (math.nan, math.inf, -math.inf, 1e300)
MASK_KINDS = ("bool", "uint8", "float64")


def image_with_holes(
    shape, mask_channels=1, kind="bool", density=0.6, dtype=torch.float64, seed=0, batch=None, parts=None
):
    """A random input with garbage in its holes, and its mask."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    mask_shape = (shape[0] if batch is None else batch, mask_channels, *shape[2:])
    mask = torch.rand(mask_shape, generator=generator) < density
    if kind == "uint8":
        mask = mask * torch.randint(1, 256, mask_shape, generator=generator).to(torch.uint8)
    elif kind != "bool":
        mask = mask * torch.randint(1, 9, mask_shape, generator=generator).to(getattr(torch, kind)) / 8
    of_channel = mask if parts is None else mask.repeat_interleave(torch.tensor(parts), 1)
    rubbish = torch.tensor(GARBAGE, dtype=dtype)[torch.randint(0, len(GARBAGE), shape, generator=generator)]
    return torch.where(of_channel.expand(shape) != 0, x, rubbish), mask


def assert_holes_hold(y, mask, value=0.0):
    """Every position that the output mask calls a hole holds `value`."""
    assert ((y == value) | (mask != 0).expand_as(y)).all()


def assert_gradients_are_clean(call, x, mask):
    """Finite everywhere, and exactly 0 in the holes of the input."""
    x = x.clone().requires_grad_()
    m = mask.clone().requires_grad_(mask.is_floating_point())
    y, out_mask = call(x, m)
    assert y.isfinite().all()
    (y.sum() + (out_mask.sum() if out_mask is not None and out_mask.requires_grad else 0)).backward()
    assert x.grad is None or x.grad.isfinite().all()
    if x.grad is not None and x.shape[1] % mask.shape[1] == 0:
        assert (x.grad.masked_select((mask == 0).expand_as(x)) == 0).all()
    assert m.grad is None or m.grad.isfinite().all()


def assert_survives_copies(module, *inputs):
    """deepcopy, pickling, and torch.compile in one graph give the same."""
    expected = module(*inputs)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(module), backend="aot_eager", fullgraph=True)
    for copied in (copy.deepcopy(module), torch.load(buffer, weights_only=False), compiled):
        for got, wanted in zip(copied(*inputs), expected):
            torch.testing.assert_close(got, wanted, equal_nan=True)


class OpRecorder(TorchDispatchMode):
    """What is computed under it."""

    def __init__(self):
        super().__init__()
        self.ops = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.ops.append(func)
        return func(*args, **(kwargs or {}))


def assert_raises_first(call, error, message):
    """`call` raises exactly this, before anything is computed."""
    with OpRecorder() as recorder:
        try:
            call()
        except Exception as caught:
            assert (type(caught), str(caught)) == (error, message)
        else:
            raise AssertionError(f"nothing was raised, needs {error.__name__}: {message}")
    assert recorder.ops == [], "something was computed before the checks had passed"
