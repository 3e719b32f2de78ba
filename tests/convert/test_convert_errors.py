"""What has no masked form is said, by name and with the reason."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from maskconv_ext import nn as mnn
from maskconv_ext.convert import ConversionError, MaskedModel, Problem, convert, unconvert

X = torch.rand(2, 3, 8, 8)
MASK = torch.rand(2, 1, 8, 8) < 0.5


class Careful(nn.Module):
    """A forward that asks for a value."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(x).clamp(max=1) if x.max() > 1 else self.conv(x)


class Attention(nn.Module):
    def forward(self, x):
        t = x.flatten(2)
        return (t @ torch.softmax(t.transpose(1, 2) @ t, -1)).reshape(x.shape)


class Stride(Careful):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, stride=2)


def reasons_of(*layers: nn.Module, **options) -> list[Problem]:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), *layers)
    with pytest.raises(ConversionError) as caught:
        convert(model, **options)
    report = caught.value.report
    assert all(str(problem) in str(caught.value) for problem in report.problems)
    assert pickle.loads(pickle.dumps(caught.value)).report == report
    return report.problems


def hooked() -> nn.Module:
    conv = nn.Conv2d(4, 4, 1)
    conv.register_forward_hook(lambda module, args, output: None)
    return conv


UNTRACED = "symbolically traced variables cannot be used as inputs to control flow"
ROWS = [
    (Careful(), {}, "1", "Careful", f"its forward cannot be traced: TraceError: {UNTRACED}"),
    (nn.Upsample(scale_factor=2, mode="bicubic"), {}, "1", "Upsample",
     "mode 'bicubic' has no masked form; use nearest, or linear, bilinear or trilinear"),
    (nn.MaxPool2d(2, return_indices=True), {}, "1", "MaxPool2d",
     "return_indices=True: indices have no masked form"),
    (nn.LPPool2d(2, 2), {}, "1", "LPPool2d", "no masked form of LPPool2d is known"),
    (parametrizations.weight_norm(nn.Conv2d(4, 4, 1)), {}, "1", "ParametrizedConv2d",
     "MaskedConv2d.from_conv: conv: got a computed weight or bias, needs plain Parameters; remove the parametrization "
     "first, and apply it to the result"),
    (hooked(), {}, "1", "Conv2d", "it has forward hooks, which would be handed (x, mask)"),
    (mnn.MaskedConv2d(4, 4, 1), {}, "1", "MaskedConv2d",
     "it takes a mask already; convert the model without it, and put it in afterwards"),
    (nn.LazyConv2d(4, 1), {}, "1", "LazyConv2d", "it is lazy and has seen no input; call the model once before"),
    (nn.ConvTranspose2d(4, 4, 2), {"normalization": "weight"}, "1", "ConvTranspose2d",
     "transposed convolutions have no normalization 'weight'"),
]  # fmt: skip
OF_THE_BATCH = "depends on the size of the whole batch, not of each image, which mask_update='inside' asks for"
INSIDE_ROWS = [
    (nn.AdaptiveAvgPool2d(7), f"the windows of output size 7 {OF_THE_BATCH}"),
    (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), f"padding_mode 'circular' {OF_THE_BATCH}"),
    (nn.UpsamplingBilinear2d(scale_factor=2), f"align_corners=True {OF_THE_BATCH}"),
    (nn.AvgPool2d(3, 2, 1, ceil_mode=True), f"the divisor of windows with padding {OF_THE_BATCH}"),
    (nn.ConstantPad2d(1, 3.0), f"padding with 3.0 {OF_THE_BATCH}"),
    (nn.ReflectionPad2d(1), f"padding by copies {OF_THE_BATCH}"),
]


@pytest.mark.parametrize(("layer", "options", "name", "kind", "reason"), ROWS, ids=[row[3] for row in ROWS])
def test_layers(layer, options, name, kind, reason):
    (problem,) = reasons_of(layer, **options)
    assert (problem.name, problem.type, problem.reason) == (name, kind, reason)


@pytest.mark.parametrize(("layer", "reason"), INSIDE_ROWS, ids=lambda row: type(row).__name__)
def test_layers_that_know_no_size_of_an_image(layer, reason):
    (problem,) = reasons_of(layer, mask_update="inside")
    assert problem.reason == reason
    convert(nn.Sequential(nn.Conv2d(3, 4, 1), layer))


def test_hooks_of_blocks():
    block = nn.Sequential(nn.Conv2d(4, 4, 1))
    block.register_forward_hook(lambda module, args, output: None)
    assert [problem.name for problem in reasons_of(block)] == ["1"]


def test_all_are_named():
    problems = reasons_of(nn.Sequential(nn.ReLU(), Careful()), Attention())
    assert [problem.name for problem in problems] == ["1.1", "2.matmul"]
    assert problems[1].reason == "no masked form of matmul is known"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lambda x: torch.matmul(x, x), "no masked form of matmul is known"),
        (lambda x: x.cumsum(1), "no masked form of cumsum is known"),
        (lambda x: x.norm(p=1, dim=1), "only the 2-norm along given dimensions has a masked form"),
        (lambda x: x.mT, "no masked form of the attribute mT is known"),
        (lambda x: F.conv2d(x, x), "conv2d with a masked weight or bias has no masked form"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", antialias=True),
         "antialias=True has no masked form; use nearest, or linear, bilinear or trilinear"),
        (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], "no masked form of max_pool2d_with_indices is known"),
    ],
)  # fmt: skip
def test_operations(body, reason):
    class Net(nn.Module):
        def forward(self, x):
            return body(x)

    with pytest.raises(ConversionError) as caught:
        convert(Net())
    assert caught.value.report.problems[0].reason == reason


def test_what_stays_plain_sees_no_holes_and_the_mask_goes_past_it():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), Careful(), nn.Conv2d(4, 2, 1)).eval()
    converted = convert(model, strict=False)
    assert [problem.name for problem in converted.report.problems] == ["1"]
    assert "stays plain: 1 (Careful): its forward cannot be traced" in str(converted.report)
    y, mask = converted(X.masked_fill(~MASK, float("nan")), MASK)
    x = torch.where(MASK, model[1](torch.where(MASK, model[0](X), 0.0)), 0.0)
    torch.testing.assert_close(y, torch.where(MASK, model[2](x), 0.0))
    assert torch.equal(mask, MASK)
    torch.testing.assert_close(converted(X)[0], model(X))
    assert type(unconvert(converted)[1]) is Careful


def test_a_mask_that_would_be_lost():
    converted = convert(nn.Sequential(nn.Conv2d(3, 4, 1), Stride()), strict=False)
    converted(X)
    message = (
        r"^1: stays plain and made shape \(2, 4, 3, 3\) beside a mask of \(2, 1, 8, 8\), needs an output of its "
        r"input's size, or the mask is lost$"
    )
    with pytest.raises(ValueError, match=message):
        converted(X, MASK)


def test_layers_put_in_afterwards():
    class Forgetful(nn.Module):
        def forward(self, x, mask=None):
            return x

    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5))
    converted = convert(model)
    converted.add_module("3", nn.Linear(256, 7))
    assert converted(X, MASK).shape == (2, 7)
    assert unconvert(converted)[3] is not model[3] and unconvert(converted)(X).shape == (2, 7)
    converted.add_module("0", Forgetful())
    with pytest.raises(TypeError, match=r"^0: got Tensor, needs to return \(y, mask\)$"):
        converted(X, MASK)


def test_a_model_that_cannot_be_traced():
    with pytest.raises(ConversionError, match="convert: model: the forward of Careful cannot be traced: TraceError"):
        convert(Careful(), strict=False)


def test_layers_of_several_inputs():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2)

        def forward(self, x):
            t = x.flatten(2).permute(2, 0, 1)
            return self.attention(t, t, t)[0].mean(0)

    (problem,) = reasons_of(Tokens())
    assert problem.reason == "no masked form of MultiheadAttention is known"


class NoInput(nn.Module):
    def forward(self, x=None):
        return x


CALLS = [
    (lambda: convert(3), TypeError, "convert: model: got int, needs an nn.Module"),
    (lambda: convert(convert(nn.Conv2d(3, 4, 1))), TypeError,
     "convert: model: got a converted model, needs one that is not; unconvert it first"),
    (lambda: convert(NoInput()), ValueError,
     "convert: model: got NoInput, whose forward needs no input, needs one with an image first"),
    (lambda: convert(nn.ReLU(), normalization="l2"), ValueError,
     "convert: normalization: got 'l2', needs one of 'ratio', 'mean', 'weight', 'sqrt', 'none'"),
    (lambda: convert(nn.ReLU(), mask_update="some"), ValueError,
     "convert: mask_update: got 'some', needs one of 'any', 'all', 'center', 'fraction', 'confidence', or a float in "
     "(0, 1]"),
    (lambda: convert(nn.ReLU(), residual="none"), ValueError,
     "convert: residual: got 'none', needs one of 'any', 'all'"),
    (lambda: unconvert(nn.ReLU()), TypeError, "unconvert: model: got ReLU, needs a model made by convert"),
    (lambda: convert(nn.Sequential(nn.Conv2d(3, 4, 1)))(X, MASK[..., 1:]), ValueError,
     "Sequential: mask: got shape (2, 1, 8, 7) for input (2, 3, 8, 8), needs (1 or 2, 1 or 3, 8, 8)"),
    (lambda: convert(nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1)))).get_submodule("0")(X), RuntimeError,
     "Sequential: is part of a converted model, which computes as a whole; convert this part by itself to call it"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), CALLS)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error and str(caught.value) == message


def test_the_original_stays_as_it_is():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5))
    model[1].eval()
    before = str(model), [module.training for module in model.modules()], [type(m) for m in model.modules()]
    converted = convert(model)
    assert isinstance(converted, MaskedModel)
    assert [module.training for module in converted.children()] == [True, False, True, True]
    converted.eval()
    assert before == (str(model), [module.training for module in model.modules()], [type(m) for m in model.modules()])
    assert not any(module.training for module in unconvert(converted).modules())
