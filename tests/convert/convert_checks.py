"""What is asked of every converted model."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from maskconv_ext.convert import MaskedModel, unconvert

GARBAGE = (math.nan, 1e300)


class UNet(nn.Module):
    """Two levels, as they are commonly written: up by a transposed convolution or by interpolation."""

    def __init__(self, channels: int = 3, width: int = 4, transposed: bool = True) -> None:
        super().__init__()
        self.inc = self.double_conv(channels, width)
        self.down = nn.Sequential(nn.MaxPool2d(2), self.double_conv(width, 2 * width))
        self.deep = nn.Sequential(nn.MaxPool2d(2), self.double_conv(2 * width, 4 * width))
        if transposed:
            self.up: nn.Module = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        else:
            self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4 * width, 2 * width, 1))
        self.merge = self.double_conv(4 * width, 2 * width)
        self.last = nn.Conv2d(3 * width, 2, 1)

    @staticmethod
    def double_conv(inputs: int, outputs: int) -> nn.Sequential:
        layers = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        top = self.inc(x)
        middle = self.down(top)
        low = self.merge(torch.cat([middle, self.up(self.deep(middle))], dim=1))
        high = nn.functional.interpolate(low, size=top.shape[-2:], mode="nearest")
        return self.last(torch.cat([high, top], 1))


def randomised(model: nn.Module) -> nn.Module:
    """In float64, with statistics and scales as after some training."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and tensor.dim() <= 1:
            low = 0.5 if name.endswith(("running_var", "weight", "gamma")) else -0.5
            tensor.data.uniform_(low, low + 1, generator=generator)
    return model.double()


def tensors_of(output) -> list[Tensor]:
    """The tensors of an output; of pairs (y, mask), y."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if len(output) == 2 and isinstance(output[0], Tensor) and (output[1] is None or output[1].dtype == torch.bool):
        return [output[0]]
    return [tensor for part in output for tensor in tensors_of(part)]


@contextlib.contextmanager
def leaving_no_trace(model: nn.Module) -> Iterator[None]:
    """Statistics are as before, afterwards, and the random numbers within are the same every time."""
    before = [buffer.clone() for buffer in model.buffers()]
    torch.manual_seed(1)
    yield
    for buffer, value in zip(model.buffers(), before):
        buffer.copy_(value)


def run(model: nn.Module, *inputs):
    """Outputs, gradients and buffers after one call."""
    with leaving_no_trace(model):
        outputs = tensors_of(model(*inputs))
        loss = sum((y * torch.linspace(0.5, 1.5, y.numel(), dtype=y.dtype).view(y.shape)).sum() for y in outputs)
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)
        return outputs, gradients, [buffer.clone() for buffer in model.buffers()]


def assert_equals_original(model: nn.Module, converted: MaskedModel, x: Tensor) -> None:
    """Without a mask, and under one of ones with pad_is_valid, in both modes: outputs, gradients, statistics."""
    ones = torch.ones(x.shape[0], 1, *x.shape[2:], dtype=torch.bool)
    for training in (False, True):
        model.train(training)
        converted.train(training)
        wanted = run(model, x)
        for mask in (None, ones):
            for got, want in zip(run(converted, x, mask), wanted):
                torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-9)


def assert_holes_are_not_read(converted: MaskedModel, x: Tensor, mask: Tensor) -> None:
    """Whatever is in the holes, outputs and gradients are the same and finite; the gradient there is 0."""
    seen = []
    for garbage in (0.0, *GARBAGE):
        inputs = x.masked_fill(~mask, garbage).requires_grad_()
        with leaving_no_trace(converted):
            outputs = tensors_of(converted(inputs, mask))
            loss = sum(y.square().sum() for y in outputs)
            wanted = [inputs, *converted.parameters()]
            grad, *grads = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
            seen.append([*outputs, grad, *grads, *(buffer.clone() for buffer in converted.buffers())])
        assert all(tensor.isfinite().all() for tensor in seen[-1])
        assert (grad.masked_select(~mask.expand_as(grad)) == 0).all() and grad.abs().sum() > 0
    for other in seen[1:]:
        for got, want in zip(other, seen[0]):
            assert torch.equal(got, want)


def assert_restored(model: nn.Module, converted: MaskedModel, x: Tensor) -> None:
    """`unconvert` gives the original's classes, around the same parameters, and its outputs."""
    restored = unconvert(converted)
    wanted = dict(model.named_modules(remove_duplicate=False))
    found = dict(restored.named_modules(remove_duplicate=False))
    assert list(found) == list(wanted)
    assert all(type(found[path]) is type(module) and str(found[path]) == str(module) for path, module in wanted.items())
    parameters = dict(restored.named_parameters())
    assert all(parameters[name] is parameter for name, parameter in model.named_parameters())
    model.eval()
    restored.eval()
    for got, want in zip(tensors_of(restored(x)), tensors_of(model(x))):
        assert torch.equal(got, want)
