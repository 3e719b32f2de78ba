"""Presets equal the formulas of what they stand in for; the formulas are written here from what those compute.

Those that the operator has as options are in test_published_formulas.py.
"""

from __future__ import annotations

import copy
import io
import math
import pickle

import pytest
import torch
import torch.nn.functional as F

from maskconv_ext import compat, masks

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
SIZES = {1: (24,), 2: (13, 12), 3: (9, 8, 7)}
LAYERS = {1: compat.PartialConv1d, 2: compat.PartialConv2d, 3: compat.PartialConv3d}
PLAIN = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
EPSILON = 1e-12  # theirs vanish in float64 when small enough
TOLERANCE = dict(rtol=1e-9, atol=1e-9)
CHANNELS, FILTERS = 4, 6


def problem(rank: int, mask_channels: int, soft: bool = False, groups: int = 1):
    """Input without garbage, since these formulas multiply; a mask with a hole wider than the windows."""
    rng = torch.Generator().manual_seed(rank)
    x = torch.randn(2, CHANNELS, *SIZES[rank], generator=rng, dtype=torch.float64)
    m = (torch.rand(2, mask_channels, *SIZES[rank], generator=rng, dtype=torch.float64) < 0.6).double()
    m[:, :, : SIZES[rank][0] // 2] = 0
    if soft:
        m = m * torch.rand(m.shape, generator=rng, dtype=torch.float64) ** 4  # so small that window sums stay below 1
    w = torch.randn(FILTERS, CHANNELS // groups, *(3,) * rank, generator=rng, dtype=torch.float64)
    b = torch.randn(FILTERS, generator=rng, dtype=torch.float64)
    return x, m, w, b


def column(b: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return b.view(1, -1, *[1] * (like.dim() - 2))


# ------------------------------------------------------------------------------------------------ partial convolution


def partialconv(x, m, w, b, multi_channel, stride, padding, groups):
    """raw = conv(x * m) + b; u = clamp(s, 0, 1); r = W / (s + eps) * u; y = ((raw - b) * r + b) * u; mask u."""
    conv = CONVOLUTIONS[x.dim() - 2]
    ones = w.new_ones(w.shape[0], x.shape[1], *w.shape[2:]) if multi_channel else w.new_ones(1, 1, *w.shape[2:])
    s = conv(m.detach(), ones, stride=stride, padding=padding)
    u = s.clamp(0, 1)
    r = ones[0].numel() / (s + EPSILON) * u
    b = w.new_zeros(w.shape[0]) if b is None else b
    raw = conv(x * m, w, b, stride=stride, padding=padding, groups=groups)
    return ((raw - column(b, x)) * r + column(b, x)) * u, u


def layer_of(rank, w, b, cls=None, **kwargs):
    layer = (cls or LAYERS[rank])(CHANNELS, FILTERS, 3, bias=b is not None, dtype=torch.float64, **kwargs)
    with torch.no_grad():
        layer.weight.copy_(w)
        if b is not None:
            layer.bias.copy_(b)
    return layer


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float64])
@pytest.mark.parametrize("multi_channel", [False, True])
@pytest.mark.parametrize(("rank", "stride", "groups"), [(1, 1, 1), (2, 2, 1), (2, 1, 2), (3, 2, 1)])
def test_partial_conv_layers(rank, stride, groups, multi_channel, dtype):
    x, m, w, b = problem(rank, CHANNELS if multi_channel else 1, groups=groups)
    for bias in (b, None):
        layer = layer_of(
            rank, w, bias, stride=stride, padding=1, groups=groups, multi_channel=multi_channel, return_mask=True
        )
        expected, updated = partialconv(x, m, w, bias, multi_channel, stride, 1, groups)
        y, out_mask = layer(x, m.to(dtype))
        assert out_mask.dtype == dtype
        torch.testing.assert_close(y, expected, **TOLERANCE)
        torch.testing.assert_close(out_mask.double(), updated, **TOLERANCE)
        assert (updated == 0).any(), "no window lies in the hole"


@pytest.mark.parametrize("multi_channel", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_partial_conv_takes_fractions_as_they_are(multi_channel, groups):
    x, m, w, b = problem(2, CHANNELS if multi_channel else 1, soft=True, groups=groups)
    layer = layer_of(2, w, b, padding=1, groups=groups, multi_channel=multi_channel, return_mask=True)
    theirs, ours = (m.clone().requires_grad_() for _ in range(2))
    expected, updated = partialconv(x, theirs, w, b, multi_channel, 1, 1, groups)
    y, out_mask = layer(x, ours)
    torch.testing.assert_close(y, expected, **TOLERANCE)
    torch.testing.assert_close(out_mask, updated, **TOLERANCE)
    assert ((updated > 0) & (updated < 1)).any(), "no window sum is below 1"
    upstream = torch.randn_like(expected)
    expected_grad, grad = torch.autograd.grad(expected, theirs, upstream), torch.autograd.grad(y, ours, upstream)
    # Where the mask is 0, selection has no gradient.
    torch.testing.assert_close(grad[0], torch.where(m != 0, expected_grad[0], 0.0), **TOLERANCE)


def test_a_mask_of_equal_channels_through_two_layers():
    x, m, w, b = problem(2, 1)
    second = torch.randn(FILTERS, FILTERS, 3, 3, dtype=torch.float64)
    layers = [layer_of(2, w, b, padding=1, multi_channel=True, return_mask=True)]
    layers.append(compat.PartialConv2d(FILTERS, FILTERS, 3, padding=1, multi_channel=True, return_mask=True).double())
    with torch.no_grad():
        layers[1].weight.copy_(second)
    for dtype in (torch.bool, torch.float64):
        mask = m.expand_as(x)
        expected, updated = partialconv(x, mask, w, b, True, 1, 1, 1)
        expected, updated = partialconv(expected, updated, second, layers[1].bias, True, 1, 1, 1)
        y, out_mask = layers[0](x, mask.to(dtype))
        assert out_mask.stride(1) == 0, "equal channels take memory"
        y, out_mask = layers[1](y, out_mask)
        torch.testing.assert_close(y, expected, **TOLERANCE)
        torch.testing.assert_close(out_mask.double(), updated)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_partial_conv_without_a_mask_rescales_at_the_border_every_time(rank):
    x, m, w, b = problem(rank, 1)
    layer = layer_of(rank, w, b, padding=1, return_mask=True)
    expected, updated = partialconv(x, torch.ones_like(m), w, b, False, 1, 1, 1)
    layer(x, m)
    y, out_mask = layer(x)  # of the same size: no mask of the last call
    torch.testing.assert_close(y, expected, **TOLERANCE)
    torch.testing.assert_close(out_mask.expand_as(updated), updated)
    layer.return_mask = False
    assert torch.equal(layer(x), y)


def test_partial_conv_in_float16_has_no_nan():
    x, m, w, b = (t.half() for t in problem(2, 1))
    layer = layer_of(2, w, b, padding=1).half()
    for mask in (m.bool(), m):
        y = layer(x.masked_fill(m == 0, math.nan), mask)
        assert y.isfinite().all()
        torch.testing.assert_close(y, layer(x, mask))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_state_dict_and_attributes_are_the_plain_layers(rank):
    arguments = dict(stride=2, padding=1, dilation=2, groups=2, bias=True)
    torch.manual_seed(0)
    plain = PLAIN[rank](CHANNELS, FILTERS, 3, **arguments)
    torch.manual_seed(0)
    layer = LAYERS[rank](CHANNELS, FILTERS, 3, multi_channel=True, **arguments)
    assert isinstance(layer, PLAIN[rank])
    assert list(layer.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), plain.parameters()))
    assert repr(layer) == "Partial" + repr(plain)[:-1] + ", multi_channel=True)"
    x, m = torch.randn(1, CHANNELS, *SIZES[rank]), torch.rand(1, CHANNELS, *SIZES[rank]) < 0.7
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x, m), layer(x, m))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, m), layer(x, m))


def test_partial_conv_1d_can_be_not_partial():
    x, m, w, b = problem(1, 1)
    layer = layer_of(1, w, b, padding=1)
    layer.partial = False
    torch.testing.assert_close(layer(x, m), F.conv1d(x * m, w, b, padding=1), **TOLERANCE)
    torch.testing.assert_close(layer(x), F.conv1d(x, w, b, padding=1), **TOLERANCE)


def test_mmagic():
    x, m, w, b = problem(2, 1)
    layer = layer_of(2, w, b, compat.MMagicPartialConv2d, padding=1, eps=1e-6)
    expected, updated = partialconv(x, m, w, b, False, 1, 1, 1)
    y, out_mask = layer(x, m.bool())
    torch.testing.assert_close(y, expected, **TOLERANCE)
    torch.testing.assert_close(out_mask.double(), updated)
    assert torch.equal(layer(x, m.bool(), return_mask=False), y)
    torch.testing.assert_close(layer(x), F.conv2d(x, w, b, padding=1))

    file = io.BytesIO()
    saved = {f"0.{name}": tensor for name, tensor in layer.state_dict().items()}
    torch.save(saved | {"0.weight_mask_updater": torch.ones(1, 1, 3, 3)}, file)
    file.seek(0)
    other = torch.nn.Sequential(compat.MMagicPartialConv2d(CHANNELS, FILTERS, 3, padding=1).double())
    other.load_state_dict(torch.load(file))
    assert torch.equal(other[0](x, m)[0], layer(x, m)[0])
    with pytest.raises(RuntimeError, match="something_else"):
        other.load_state_dict(saved | {"0.something_else": torch.ones(1)})


@pytest.mark.parametrize(
    ("multi_channel", "mask", "error", "message"),
    [
        (False, torch.ones(1, 4, 5, 5), ValueError,
         "got shape (1, 4, 5, 5), needs 4 dimensions (N or 1, 1, *S) with multi_channel=False"),
        (True, torch.ones(1, 1, 5, 5), ValueError,
         "got shape (1, 1, 5, 5), needs 4 dimensions (N or 1, 4, *S) with multi_channel=True"),
        (False, torch.ones(1, 5, 5), ValueError,
         "got shape (1, 5, 5), needs 4 dimensions (N or 1, 1, *S) with multi_channel=False"),
        (False, [1], TypeError, "got list, needs a Tensor or None"),
    ],
)  # fmt: skip
def test_partial_conv_names_a_wrong_mask(multi_channel, mask, error, message):
    with pytest.raises(error) as caught:
        compat.PartialConv2d(4, 2, 3, multi_channel=multi_channel)(torch.ones(1, 4, 5, 5), mask)
    assert str(caught.value) == f"PartialConv2d: mask: {message}"


# ------------------------------------------------------------------------------------------------ functions


@pytest.mark.parametrize("mask_channels", [1, CHANNELS])
def test_naoto0804(mask_channels):
    """raw = conv(x * m) + b; s = conv(m, ones of all channels); y = (raw - b) / s + b where s != 0, else 0."""
    x, m, w, b = problem(2, mask_channels)
    full = m.expand_as(x)
    s = F.conv2d(full, torch.ones_like(w), stride=2, padding=1)
    raw = F.conv2d(x * full, w, b, stride=2, padding=1)
    expected = torch.where(s != 0, (raw - column(b, x)) / s.clamp(min=EPSILON) + column(b, x), 0.0)
    y, out_mask = compat.naoto0804_pconv2d(x, m.bool(), w, b, stride=2, padding=1)
    torch.testing.assert_close(y, expected, **TOLERANCE)
    torch.testing.assert_close(out_mask.expand_as(s), s != 0)
    assert (s == 0).any()


@pytest.mark.parametrize("mask_channels", [1, CHANNELS])
def test_pconv_keras(mask_channels):
    """s as above; y = conv(x * m) * taps / (s + eps) * clip(s, 0, 1) + b everywhere; mask clip(s, 0, 1)."""
    x, m, w, b = problem(2, mask_channels)
    full = m.expand_as(x)
    s = F.conv2d(full, torch.ones_like(w), padding=1)
    expected = F.conv2d(x * full, w, padding=1) * (9 / (s + EPSILON)) * s.clamp(0, 1) + column(b, x)
    y, out_mask = compat.pconv_keras(x, m.bool(), w, b, padding=1)
    torch.testing.assert_close(y, expected, **TOLERANCE)
    torch.testing.assert_close(out_mask.expand_as(s).double(), s.clamp(0, 1))
    assert torch.equal(y[(s == 0)], column(b, x).expand_as(y)[s == 0]) and (s == 0).any()


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 1, 1, 1), (2, (3, 1), 1, 2), (3, 0, 2, 1)])
def test_nemo_masked_conv1d(stride, padding, dilation, groups):
    """x is multiplied by its length's mask, padded and convolved; lengths follow the convolution's size."""
    x, _, w, b = problem(1, 1, groups=groups)
    lengths = torch.tensor([24, 9])
    before, after = (padding, padding) if isinstance(padding, int) else padding
    cut = x * (torch.arange(24) < lengths[:, None])[:, None]
    expected = F.conv1d(F.pad(cut, (before, after)), w, b, stride, 0, dilation, groups)
    y, new = compat.nemo_masked_conv1d(x, lengths, w, b, stride, padding, dilation, groups)
    torch.testing.assert_close(y, expected, **TOLERANCE)
    for n, length in enumerate(lengths.tolist()):
        alone = F.conv1d(F.pad(x[n : n + 1, :, :length], (before, after)), w, b, stride, 0, dilation, groups)
        assert new[n] == alone.shape[2]


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(7, 2, 3), (3, 1, 1), (3, 2, 1), (1, 2, 0), (4, 4, 0), (2, 2, 0)]
)
@pytest.mark.parametrize("depthwise", [False, True])
def test_spark(kernel, stride, padding, depthwise):
    """y = (conv(x) + b) * m', x being 0 where hidden, m' the patches repeated to the output's size."""
    rng = torch.Generator().manual_seed(0)
    active = masks.random_blocks((2, 1, 3, 4), 1, 0.5, rng)
    enlarged = active.repeat_interleave(8, 2).repeat_interleave(8, 3)
    x = torch.randn(2, CHANNELS, 24, 32, generator=rng, dtype=torch.float64)
    groups = CHANNELS if depthwise else 1
    w = torch.randn(8, CHANNELS // groups, kernel, kernel, generator=rng, dtype=torch.float64)
    b = torch.randn(8, generator=rng, dtype=torch.float64)
    after = active.repeat_interleave(8 // stride, 2).repeat_interleave(8 // stride, 3)
    expected = F.conv2d(x * enlarged, w, b, stride, padding, groups=groups) * after
    y, out_mask = compat.spark_conv2d(x, active, w, b, stride=stride, padding=padding, groups=groups)
    torch.testing.assert_close(y, expected, **TOLERANCE)
    assert torch.equal(out_mask, after)
    with pytest.raises(ValueError, match=r"^spark_conv2d: active: got shape \(2, 1, 3, 4\) for x \(2, 4, 23, 32\)"):
        compat.spark_conv2d(x[:, :, 1:], active, w, b, groups=groups)


def test_mmcv():
    """y = conv(x) + b at the output's positions with mask > 0, else 0; x itself is not masked."""
    x, m, w, b = problem(2, 1)
    expected = torch.zeros(2, FILTERS, *SIZES[2], dtype=torch.float64)
    for n, row, column_ in (m[:, 0] > 0).nonzero().tolist():
        window = F.pad(x, (1, 1, 1, 1))[n, :, row : row + 3, column_ : column_ + 3]
        expected[n, :, row, column_] = (w * window).sum((1, 2, 3)) + b
    torch.testing.assert_close(compat.mmcv_masked_conv2d(x, m[:, 0], w, b, padding=1), expected, **TOLERANCE)
    with pytest.raises(
        ValueError, match=r"^mmcv_masked_conv2d: mask: got shape \(2, 13, 12\), needs \(N or 1, 11, 10\)"
    ):
        compat.mmcv_masked_conv2d(x, m[:, 0], w, b)


# ------------------------------------------------------------------------------------------------ astropy


@pytest.mark.filterwarnings("ignore:nan_treatment='interpolate', however")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fill_value": 2.5},
        {"fill_value": math.nan},
        {"boundary": "extend"},
        {"boundary": "wrap", "preserve_nan": True},
        {"boundary": None},
        {"normalize_kernel": False, "boundary": "extend"},
        {"nan_treatment": "fill", "fill_value": -1.0},
        {"nan_treatment": "fill", "fill_value": -1.0, "normalize_kernel": False, "preserve_nan": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("holes", [True, False])
def test_astropy(rank, options, holes):
    convolution = pytest.importorskip("astropy.convolution", reason="astropy, the oracle, is not installed")
    x, m, w, _ = problem(rank, 1)
    kernel = w[0, 0].abs()
    kernel[(0,) * rank] = -0.1  # weights may be negative
    if holes:
        x = x.masked_fill(m == 0, math.nan)
    y = compat.astropy_convolve(x, kernel, **options)
    for n, c in ((0, 0), (1, 3)):
        expected = convolution.convolve(x[n, c].numpy(), kernel.numpy(), **options)
        torch.testing.assert_close(y[n, c], torch.from_numpy(expected), equal_nan=True, **TOLERANCE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(x=torch.ones(3, 4)), "x: got shape (3, 4), needs (N, C, *S) with 1 to 3 spatial axes"),
        (dict(kernel=torch.ones(2, 3)), "kernel: got shape (2, 3), needs 2 axes of odd size"),
        (dict(kernel=torch.ones(3)), "kernel: got shape (3,), needs 2 axes of odd size"),
        (dict(kernel=torch.tensor([[1.0, 0.0, -1.0]])), "kernel: got a sum of 0, needs one that is not 0"),
        (dict(boundary="reflect"), "boundary: got 'reflect', needs one of 'fill', 'extend', 'wrap', or None"),
        (dict(nan_treatment="drop"), "nan_treatment: got 'drop', needs 'interpolate' or 'fill'"),
    ],
)
def test_astropy_wrong_calls(changes, message):
    with pytest.raises(ValueError) as caught:
        compat.astropy_convolve(**{"x": torch.ones(1, 1, 5, 5), "kernel": torch.ones(3, 3), **changes})
    assert str(caught.value) == f"astropy_convolve: {message}"


TENSOR = torch.ones(2, 3, 6, 6)


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (compat.naoto0804_pconv2d, (TENSOR, None, TENSOR), TypeError, "mask: got NoneType, needs a Tensor"),
        (compat.pconv_keras, (TENSOR, TENSOR, [1.0]), TypeError, "weight: got list, needs a Tensor"),
        (compat.pconv_keras, (TENSOR[0, 0], TENSOR, TENSOR), ValueError, "x: got shape (6, 6), needs (N, C, *S)"),
        (compat.nemo_masked_conv1d, (TENSOR[0], [3], TENSOR[0]), TypeError, "lengths: got list, needs a Tensor"),
        (compat.nemo_masked_conv1d, (TENSOR[0], torch.tensor([3]), TENSOR[0]), ValueError,
         "lengths: got shape (1,), needs (3,), one a sequence of x"),
        (compat.spark_conv2d, (TENSOR, 0.6, TENSOR), TypeError, "active: got float, needs a Tensor"),
        (compat.mmcv_masked_conv2d, (TENSOR, None, TENSOR), TypeError, "mask: got NoneType, needs a Tensor"),
        (compat.astropy_convolve, (TENSOR.numpy(), TENSOR), TypeError, "x: got ndarray, needs a Tensor"),
    ],
)  # fmt: skip
def test_wrong_call(function, arguments, error, message):
    with pytest.raises(error) as caught:
        function(*arguments)
    assert str(caught.value) == f"{function.__name__}: {message}"


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_partial_conv_under_autocast(dtype):
    layer = compat.PartialConv2d(4, 8, 3, padding=1, multi_channel=True, groups=2)
    x, m = torch.randn(2, 4, 9, 9), torch.rand(2, 4, 9, 9) < 0.5
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x, m.to(dtype))
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x, m.to(dtype)), rtol=0.03, atol=0.1)
