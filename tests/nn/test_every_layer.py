"""What all layers have in common: memory format, empty batches, masks of parts, and what is not an input."""

from __future__ import annotations

import pytest
import torch
from layer_checks import assert_raises_first, image_with_holes
from torch import nn

import maskconv_ext.nn as mnn

FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}
LAYERS = {
    "conv": lambda d, **o: getattr(mnn, f"MaskedConv{d}")(4, 6, 3, padding=1, **o),
    "conv inside": lambda d, **o: getattr(mnn, f"MaskedConv{d}")(4, 6, 3, 2, 1, groups=2, mask_update="inside", **o),
    "transposed": lambda d, **o: getattr(mnn, f"MaskedConvTranspose{d}")(4, 6, 3, 2, groups=2, **o),
    "max": lambda d, **o: getattr(mnn, f"MaskedMaxPool{d}")(3, 2, 1, **o),
    "avg": lambda d, **o: getattr(mnn, f"MaskedAvgPool{d}")(2, **o),
    "adaptive max": lambda d, **o: getattr(mnn, f"MaskedAdaptiveMaxPool{d}")(3, **o),
    "adaptive avg": lambda d, **o: getattr(mnn, f"MaskedAdaptiveAvgPool{d}")(3, **o),
    "nearest": lambda d, **o: mnn.MaskedUpsample(scale_factor=2, **o),
    "linear": lambda d, **o: mnn.MaskedUpsample(scale_factor=2, mode={"2d": "bilinear", "3d": "trilinear"}[d], **o),
    "batch norm": lambda d, **o: getattr(mnn, f"MaskedBatchNorm{d}")(4, **o),
    "instance norm": lambda d, **o: getattr(mnn, f"MaskedInstanceNorm{d}")(4, track_running_stats=True, **o),
    "group norm": lambda d, **o: mnn.MaskedGroupNorm(2, 4, **o),
    "dropout": lambda d, **o: mnn.MaskedDropout(0.3, **o),
    "dropped positions": lambda d, **o: mnn.MaskedDropout(0.3, drop_mask=True, **o),
    "masked": lambda d, **o: mnn.Masked(nn.Sigmoid(), **o),
}
WITHOUT_PARTS = {
    "layer norm": lambda d: mnn.MaskedLayerNorm(4, channels_first=True),
    "fill": lambda d: mnn.LearnedFill(4),
    "learned mask": lambda d: mnn.LearnedMask(4, rank=int(d[0])),
    "sequence": lambda d: mnn.MaskedSequential(nn.Softplus()),
}
# torch's own poolings of volumes return contiguous tensors.
CONTIGUOUS_VOLUMES = ("avg", "adaptive max", "adaptive avg")


@pytest.mark.parametrize("kind", ("bool", "float32"))
@pytest.mark.parametrize("channels", (1, 4))
@pytest.mark.parametrize("rank", (2, 3))
@pytest.mark.parametrize("name", [*LAYERS, *WITHOUT_PARTS])
def test_memory_format_follows_the_input(name, rank, channels, kind):
    layer = (LAYERS | WITHOUT_PARTS)[name](f"{rank}d")
    x, mask = image_with_holes((2, 4, *(6, 5, 7)[:rank]), channels, kind, dtype=torch.float32)
    keeps = rank == 2 or name not in CONTIGUOUS_VOLUMES
    for training in (True, False):
        y, _ = layer.train(training)(x.contiguous(memory_format=FORMATS[rank]), mask)
        assert y.is_contiguous(memory_format=FORMATS[rank] if keeps else torch.contiguous_format)
        assert layer(x, mask)[0].is_contiguous()


@pytest.mark.parametrize("training", (True, False))
@pytest.mark.parametrize("name", [*LAYERS, *WITHOUT_PARTS])
def test_empty_batches(name, training):
    layer = (LAYERS | WITHOUT_PARTS)[name]("2d").train(training)
    state = {key: value.clone() for key, value in layer.state_dict().items() if "running" in key}
    for batch in (0, 1):
        y, _ = layer(torch.zeros(0, 4, 6, 6), torch.ones(batch, 1, 6, 6))
        assert len(y) == 0 and y.isfinite().all()
    assert all(torch.equal(layer.state_dict()[key], value) for key, value in state.items())


@pytest.mark.parametrize("name", LAYERS)
def test_a_mask_of_one_channel_is_shared_also_where_parts_may_have_their_own(name):
    x, mask = image_with_holes((2, 4, 6, 6), dtype=torch.float32)
    parts, shared = LAYERS[name]("2d", mask_channels=(3, 1)), LAYERS[name]("2d")
    parts.load_state_dict(shared.state_dict())
    runs = []
    for layer in (parts, shared):
        torch.manual_seed(1)
        runs.append(layer(x, mask))
    assert all(torch.equal(*pair) for pair in zip(*runs))


@pytest.mark.parametrize("name", [*LAYERS, "add"])
@pytest.mark.parametrize("parts", (4, "ab", (), (4, 0), (True, 3)))
def test_mask_channels_are_checked_when_the_layer_is_made(name, parts):
    make = LAYERS.get(name, lambda d, **o: mnn.MaskedAdd(**o))
    with pytest.raises(ValueError) as caught:
        make("2d", mask_channels=parts)
    assert str(caught.value).endswith(f": mask_channels: got {parts!r}, needs a sequence of ints >= 1, or None")


@pytest.mark.parametrize("name", ("conv", "transposed", "batch norm", "instance norm", "group norm"))
def test_mask_channels_add_up(name):
    message = r"mask_channels: got \(1, 2\), which add up to 3, needs a sum of 4, the channels of input$"
    with pytest.raises(ValueError, match=message):
        LAYERS[name]("2d", mask_channels=(1, 2))


@pytest.mark.parametrize("name", [*LAYERS, "layer norm", "fill", "learned mask"])
def test_a_pair_that_was_not_unpacked(name):
    """layer(previous(x, mask)), by which the mask would be lost, says what to write."""
    layer = (LAYERS | WITHOUT_PARTS)[name]("2d")
    op = "Masked(Sigmoid)" if name == "masked" else type(layer).__name__
    pair = image_with_holes((2, 4, 6, 6), dtype=torch.float32)
    assert_raises_first(
        lambda: layer(pair), TypeError,
        f"{op}: input: got a tuple, needs a Tensor; write layer(*pair) to hand on the mask of a pair",
    )  # fmt: skip


def test_from_conv_of_a_masked_layer_keeps_its_options():
    masked = mnn.MaskedConv2d(4, 4, 3, mask_update="center", normalization="sqrt", mask_channels=(1, 3))
    again = mnn.MaskedConv2d.from_conv(masked, normalization="mean")
    assert repr(again) == repr(masked).replace("'sqrt'", "'mean'") and again.weight is masked.weight
