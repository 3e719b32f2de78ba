"""Operations in a forward, one at a time, between two convolutions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from convert_checks import (
    assert_equals_original,
    assert_holes_are_not_read,
    assert_restored,
    randomised,
    tensors_of,
)
from torch import nn

from maskconv_ext.convert import convert, unconvert
from maskconv_ext.nn import register_elementwise
from maskconv_ext.nn.containers import _ELEMENTWISE


class Net(nn.Module):
    """`body` of two maps, between convolutions; `tail` after it takes maps only."""

    def __init__(self, body, tail: bool = True, **layers: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 5, stride=1, padding=2)
        self.tail = nn.LazyConv2d(2, 3, padding=1) if tail else None
        self.gamma = nn.Parameter(torch.ones(4))
        self.register_buffer("offset", torch.ones(4, 1, 1))
        self.weight = nn.Parameter(torch.randn(4, 2, 3, 3))
        self.body = body
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        y = self.body(self, self.first(x), self.second(x))
        return y if self.tail is None else self.tail(y)


def channels_last(m, x, y):
    x, y = x.permute(0, 2, 3, 1), y.permute(0, 2, 3, 1)
    x = F.layer_norm(x, (4,), m.gamma, None, 1e-6) + m.mlp(y) * x
    return x.permute(0, 3, 1, 2)


def shuffle(m, x, y):
    batch, channels, height, width = x.shape
    x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2)
    return x.reshape(batch, -1, height, width) + y


def written(m, x, y):
    y.mul_(2)
    x += y
    F.relu_(x)
    return x * y


def parts(m, x, y):
    first, second = x.chunk(2, 1)
    of_y = torch.split(y, 1, dim=1)
    return torch.cat((second, first, of_y[0] * of_y[-1], x[:, 1:3]), 1)


def tokens(m, x, y):
    size = x.shape
    t = x.flatten(2).transpose(1, 2)
    t = m.norm(t) + m.linear(t)
    return t.transpose(1, 2).reshape(size) + y


def selective(m, x, y):
    both = torch.stack([x, y], dim=1)
    weights = both.sum(1).mean((2, 3), keepdim=True)
    weights = torch.softmax(weights, 1)
    return (both * weights.unsqueeze(1)).sum(dim=1)


def gate(m, x, y):
    return x * m.gate(F.adaptive_avg_pool2d(x, 1)) + y.mean([2, 3], keepdim=True)


def efficient_channel_attention(m, x, y):
    w = x.mean((2, 3)).view(x.shape[0], 1, -1)
    w = F.conv1d(w, torch.ones(1, 1, 3, dtype=x.dtype), padding=1).view(x.shape[0], -1, 1, 1)
    return x * w.sigmoid().expand_as(x) + y


def global_response(m, x, y):
    norm = x.norm(p=2, dim=(2, 3), keepdim=True)
    return torch.addcmul(m.offset, m.gamma.view(1, -1, 1, 1), x * (norm / (norm.mean(1, keepdim=True) + 1e-6))) + x


def tanh_of_sums(m, x, y):
    return torch.tanh(torch.add(x, y, alpha=0.5)) - y


# What they are called, the body, layers, and whether each image of a padded batch gets what it has alone.
CASES = [
    ("sums", lambda m, x, y: x + y, {}, True),
    ("as another", lambda m, x, y: x.type_as(y) + x.mean((2, 3), True).expand_as(y) + y.view_as(x), {}, True),
    ("sums with factors", tanh_of_sums, {}, True),
    ("parameters and numbers", lambda m, x, y: m.offset + 2 * x * m.gamma.reshape(1, -1, 1, 1) - 1 + y, {}, True),
    ("written arguments", written, {}, True),
    ("products and quotients", lambda m, x, y: x * y / (1 + y.abs()), {}, True),
    ("maximum", lambda m, x, y: torch.maximum(x, y), {}, True),
    ("not smooth at 0", lambda m, x, y: (x * x).sqrt() + y.abs().pow(0.5) + 1 / (1 + y.exp()), {}, True),
    ("activations", lambda m, x, y: F.silu(x) + torch.sigmoid(y) + F.softplus(x) + F.leaky_relu(y, 0.1), {}, True),
    ("dropout", lambda m, x, y: F.dropout(x, 0.5, m.training) + m.drop(y), {"drop": nn.Dropout2d(0.5)}, True),
    ("concatenation", lambda m, x, y: torch.cat([x, F.relu(y), m.offset.expand(x.shape)], dim=1), {}, True),
    ("concatenation of positions", lambda m, x, y: torch.cat((x, y), -1), {}, False),
    ("parts", parts, {}, True),
    ("channel shuffle", shuffle, {}, True),
    ("pixel shuffle", lambda m, x, y: m.shuffle(x * y), {"shuffle": nn.PixelShuffle(2)}, True),
    ("channels last", channels_last,
     {"mlp": nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.2), nn.Linear(8, 4))}, True),
    ("tokens", tokens, {"norm": nn.LayerNorm(4), "linear": nn.Linear(4, 4)}, True),
    ("selective kernels", selective, {}, True),
    ("squeeze and excitation", gate,
     {"gate": nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU(True), nn.Conv2d(2, 4, 1), nn.Hardsigmoid())}, True),
    ("channel attention", efficient_channel_attention, {}, True),
    ("global response", global_response, {}, True),
    ("softmax", lambda m, x, y: F.softmax(x, dim=1) * F.log_softmax(y, 1) + m.soft(x), {"soft": nn.Softmax(1)}, True),
    ("softmax of positions", lambda m, x, y: x.flatten(2).softmax(-1).unflatten(2, x.shape[2:]) * y, {}, True),
    ("pools", lambda m, x, y: F.max_pool2d(x, 3, 2, 1) + F.avg_pool2d(y, 3, 2, 1, count_include_pad=False), {}, True),
    ("pools as layers", lambda m, x, y: m.max(x) + m.avg(y),
     {"max": nn.MaxPool2d(2, ceil_mode=True), "avg": nn.AvgPool2d(3, 2, 1)}, True),
    ("interpolation", lambda m, x, y: F.interpolate(x, scale_factor=2.0, mode="bilinear") + m.up(y),
     {"up": nn.Upsample(scale_factor=2, mode="nearest")}, True),
    ("padding", lambda m, x, y: F.pad(x, (1, 1, 2, 0)) + m.pad(y), {"pad": nn.ZeroPad2d((2, 0, 1, 1))}, True),
    ("cropping", lambda m, x, y: F.pad(x, (-1, 0, 0, -2)) + y[:, :, 2:, 1:], {}, False),
    ("linear functions", lambda m, x, y: F.linear(x.permute(0, 2, 3, 1), m.weight[..., 0, 0].repeat(1, 2), m.gamma)
     .permute(0, 3, 1, 2) + y, {}, True),
    ("padding by copies", lambda m, x, y: F.pad(x, (1, 1, 1, 1), mode="reflect") + m.pad(y),
     {"pad": nn.CircularPad2d(1)}, False),
    ("circular convolution", lambda m, x, y: m.conv(x) + y,
     {"conv": nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")}, False),
    ("computed weight", lambda m, x, y: F.conv2d(x, m.weight - m.weight.mean(), m.gamma, 2, 1, 1, 2), {}, True),
    ("norms", lambda m, x, y: F.group_norm(x, 2, m.gamma) + m.norm(y),
     {"norm": nn.InstanceNorm2d(4, affine=True)}, True),
    ("strides and groups", lambda m, x, y: m.b(m.a(torch.cat([x, y], 1))),
     {"a": nn.Conv2d(8, 8, 4, 2, 1, groups=2), "b": nn.Conv2d(8, 4, 2, 2)}, True),
    ("a layer used twice", lambda m, x, y: m.conv(F.relu(m.conv(x))) + m.conv(y),
     {"conv": nn.Conv2d(4, 4, 3, 1, 1)}, True),
    ("arguments by their names", lambda m, x, y: F.max_pool2d(input=m.act(input=x), kernel_size=2, stride=1)
     + F.pad(input=torch.relu(input=y), pad=(0, -1, -1, 0)), {"act": nn.Softplus()}, False),
    ("functions of layers", lambda m, x, y: F.conv_transpose2d(x, m.weight[..., :2, :2], m.gamma[:2], 2, 0, 0, 1)
     + F.instance_norm(F.conv_transpose2d(y, m.weight, stride=2, padding=1, output_padding=1)), {}, True),
    ("transposed", lambda m, x, y: m.up(x) + m.other(y),
     {"up": nn.ConvTranspose2d(4, 4, 4, 2, 1), "other": nn.ConvTranspose2d(4, 4, 2, 2)}, True),
]  # fmt: skip
# Heads: what they return has no positions.
HEADS = [
    ("mean", lambda m, x, y: (x + y).mean((2, 3)), {}),
    ("largest", lambda m, x, y: torch.cat([x.amax(dim=(2, 3)), torch.flatten(F.adaptive_max_pool2d(y, 1), 1)], 1), {}),
    ("layers", lambda m, x, y: m.fc(m.norm(m.flat(m.pool(x)))),
     {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "norm": nn.LayerNorm(4), "fc": nn.Linear(4, 3)}),
    ("view", lambda m, x, y: m.fc(F.relu(F.adaptive_avg_pool2d(x, (1, 1)).view(x.size(0), -1))),
     {"fc": nn.Linear(4, 3)}),
    ("channels last", lambda m, x, y: m.fc(F.layer_norm(x.permute(0, 2, 3, 1), (4,)).mean((1, 2))),
     {"fc": nn.Linear(4, 3)}),
]  # fmt: skip


def build(body, layers, tail: bool = True) -> Net:
    torch.manual_seed(0)
    net = Net(body, tail, **layers).double()
    net(images())  # the tail sees its channels
    return randomised(net)


def images(height: int = 12, width: int = 12) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def holes(shape: int = 12) -> torch.Tensor:
    mask = torch.rand(2, 1, shape, shape, generator=torch.Generator().manual_seed(2)) < 0.3
    mask[..., :6, :8] = False  # larger than windows
    return mask


@pytest.mark.parametrize(("body", "layers", "inside"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_operations(body, layers, inside):
    net = build(body, layers)
    converted = convert(net, pad_is_valid=True)
    assert_equals_original(net, converted, images())
    assert_holes_are_not_read(convert(net).train(), images(), holes())
    assert_restored(net, converted, images())
    assert converted.report.outputs == [True]
    if inside:
        assert_padded_is_alone(net)


@pytest.mark.parametrize(("body", "layers"), [case[1:] for case in HEADS], ids=[case[0] for case in HEADS])
def test_heads(body, layers):
    net = build(body, layers, tail=False)
    converted = convert(net, pad_is_valid=True)
    assert_equals_original(net, converted, images())
    assert converted.report.outputs == [False] and converted.report.leaves
    assert_holes_are_not_read(convert(net), images(), holes())
    assert_padded_is_alone(net)
    # An image without any valid pixel: no features, and no NaN.
    features = converted(images(), torch.zeros(2, 1, 12, 12, dtype=torch.bool))
    assert isinstance(features, torch.Tensor) and features.isfinite().all()


def assert_padded_is_alone(net: nn.Module) -> None:
    net.eval()
    converted = convert(net, normalization="none", mask_update="inside")
    alone = images(8, 6)
    x = torch.full((2, 3, 12, 12), float("nan"), dtype=torch.float64)
    x[..., :8, :6] = alone
    mask = torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    mask[..., :8, :6] = True
    (got,), wanted = tensors_of(converted(x, mask)), net(alone)
    if wanted.dim() == 4:
        assert (got[..., wanted.shape[2] :, :] == 0).all() and (got[..., wanted.shape[3] :] == 0).all()
        got = got[..., : wanted.shape[2], : wanted.shape[3]]
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


def test_arguments_that_are_written_are_read_as_written():
    net = build(written, {})
    x = images()
    torch.testing.assert_close(convert(net)(x)[0], net(x))


def test_modes_of_a_forward():
    class TwoModes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.extra = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            y = self.conv(x)
            return (y, self.extra(y)) if self.training else y

    converted = convert(TwoModes())
    x, mask = images().float(), holes()
    (y, m), (extra, _) = converted.train()(x, mask)
    assert y.shape[1] == 4 and extra.shape[1] == 2 and torch.equal(m, mask)
    y, m = converted.eval()(x, mask)
    assert y.shape[1] == 4 and torch.equal(m, mask)
    assert converted.code != converted.train().code


def test_other_outputs_and_inputs():
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, stride=2, padding=1)

        def forward(self, x, factor, flag=False):
            low = self.conv(x)
            return {"all": [x, low], "factor": factor, "features": (low * factor).mean((2, 3))}

    converted = convert(Pyramid())
    x = images().float().masked_fill(~holes(), float("nan"))
    outputs = converted(x, holes(), torch.tensor(2.0))
    (first, first_mask), (low, low_mask) = outputs["all"]
    assert first.isfinite().all() and torch.equal(first_mask, holes())  # a map that is returned as it came holds 0
    assert low.shape == (2, 3, 6, 6) and low_mask.shape == (2, 1, 6, 6)
    assert outputs["factor"] == 2.0 and outputs["features"].shape == (2, 3)
    assert converted.report.outputs == [True, True, False, False]


def test_elementwise_modules_of_users():
    class Double(nn.Module):
        def forward(self, x):
            if x.numel() > 1:  # cannot be traced
                return 2 * x
            return x + x

    model = nn.Sequential(nn.Conv2d(3, 4, 1), Double())
    register_elementwise(Double, maps_zero_to_zero=True)
    try:
        y, _ = convert(model)(images().float(), holes())
        assert y.isfinite().all()
    finally:
        del _ELEMENTWISE[Double]


def test_options_reach_the_layers():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.ConvTranspose2d(4, 2, 2))
    given = dict(normalization="mean", mask_update=0.5, pad_is_valid=True)
    converted = convert(model, **given)
    layers = list(converted.children())
    assert {name: getattr(layers[0], name) for name in given} == given
    assert layers[1].mask_update == layers[2].mask_update == "any"
    assert (layers[3].normalization, layers[3].mask_update) == ("mean", 0.5)
    assert [layer.mask_update for layer in convert(model, mask_update="inside").children()] == ["inside"] * 4


def test_sums_of_what_all_have():
    net = build(lambda m, x, y: x + y, {}, tail=False)
    x = images()
    (_, any_mask), (_, all_mask) = (convert(net, residual=rule)(x, holes()) for rule in ("any", "all"))
    assert (all_mask <= any_mask).all() and all_mask.sum() < any_mask.sum()


class Chosen(nn.Module):
    """An option chose its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.forward = self.doubled

    def doubled(self, x):
        return 2 * self.conv(x)


class Doubled(nn.Conv2d):
    """A layer whose forward is no more that of its class."""

    def __init__(self) -> None:
        super().__init__(3, 4, 3)
        self.forward = lambda x: F.conv2d(2 * x, self.weight, self.bias)


class DoubledByMethod(Doubled):
    def __init__(self) -> None:
        super().__init__()
        self.forward = self.doubled

    def doubled(self, x):
        return F.conv2d(2 * x, self.weight, self.bias)


@pytest.mark.parametrize("inner", (False, True))
@pytest.mark.parametrize("kind", (Chosen, Doubled, DoubledByMethod))
def test_forwards_of_instances(kind, inner):
    model = kind()
    model = randomised(nn.Sequential(model, nn.Conv2d(4, 2, 1)) if inner else model)
    converted = convert(model, pad_is_valid=True)
    assert_equals_original(model, converted, images())
    assert_holes_are_not_read(converted, images(), holes())
    restored = unconvert(converted)
    assert torch.equal(restored(images()), model(images()))
    module = restored[0] if inner else restored
    assert kind is Doubled or module.forward.__self__ is module


def test_shared_modules_stay_shared():
    shared = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    converted = convert(model)
    assert converted.get_submodule("0") is converted.get_submodule("2")
    assert len(list(converted.parameters())) == 2
    assert_restored(model, converted, images().float())
    restored = unconvert(converted)
    assert restored[0] is restored[2]
