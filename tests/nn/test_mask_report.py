"""The report of where the mask goes in a network."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn

import maskconv_ext.nn as mnn


def half_a_mask(*size):
    mask = torch.zeros(1, 1, *size, dtype=torch.bool)
    mask[..., : size[-1] // 2] = True
    return mask


class Network(nn.Module):
    """Forgets the mask between its two parts if told so; ends it on purpose by filling."""

    def __init__(self, forgets):
        super().__init__()
        self.forgets = forgets
        self.first = mnn.MaskedSequential(mnn.MaskedConv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Dropout())
        self.second = mnn.MaskedSequential(mnn.MaskedConv2d(2, 2, 3, stride=2), mnn.MaskedMaxPool2d(2))
        self.add = mnn.MaskedAdd()
        self.fill = mnn.LearnedFill(2)
        self.last = mnn.MaskedConv2d(2, 1, 1)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x, mask=None):
        x, mask = self.add(self.first(x, mask), (torch.zeros(1, 2, 8, 8), half_a_mask(8, 8)))
        x, mask = self.second(x, None if self.forgets else mask)
        x, mask = self.last(*self.fill(x, mask))
        return self.norm(x), mask


def test_every_layer_in_the_order_of_the_calls():
    model = Network(forgets=False).train()
    model.first.eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    report = mnn.mask_report(model, torch.rand(1, 1, 8, 8), half_a_mask(8, 8))
    names = ["(input)", "first.0", "first", "add", "second.0", "second.1", "second", "fill", "last", "(model)"]
    assert [record.name for record in report.records] == names
    assert report.lost == [] and "lost" not in str(report)
    conv = report.records[1]
    assert (conv.type, conv.output_shape, conv.mask_shape) == ("MaskedConv2d", (1, 2, 8, 8), (1, 1, 8, 8))
    assert (conv.valid_fraction, conv.kind) == (5 / 8, "hard")
    assert report.records[7].mask_shape is None and report.records[7].kind == "none"
    assert str(report).splitlines()[3].split()[-1] == "hard" and "62.5 %" in str(report)
    # The model is as it was: modes, running statistics, and no hooks left.
    assert model.training and not model.first.training and model.second.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_layer_at_which_the_mask_is_lost():
    report = mnn.mask_report(Network(forgets=True), torch.rand(1, 1, 8, 8), half_a_mask(8, 8))
    assert report.lost == ["second"]
    assert str(report).splitlines()[-1] == (
        "mask lost at second: it got None after an earlier layer had returned a mask"
    )


def test_strict_raises_where_the_mask_is_lost():
    model = Network(forgets=True).train()
    with pytest.raises(ValueError) as caught:
        mnn.mask_report(model, torch.rand(1, 1, 8, 8), half_a_mask(8, 8), strict=True)
    assert str(caught.value) == (
        "mask_report: second (MaskedSequential): mask: got None after an earlier layer had returned a mask, needs it"
    )
    # The traceback shows the line of the network that forgot it.
    assert any(entry.name == "forward" and str(entry.path) == __file__ for entry in caught.traceback)
    assert model.training and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    kept = mnn.mask_report(Network(forgets=False), torch.rand(1, 1, 8, 8), half_a_mask(8, 8), strict=True)
    assert kept.lost == []


class Dropped(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.after = mnn.MaskedConv1d(1, 1, 1), mnn.MaskedConv1d(1, 1, 1)
        self.soft = mnn.LearnedMask(1, rank=1)

    def forward(self, x, mask=None):
        x, _ = self.conv(x)
        x, _ = self.soft(x)
        return self.after(x)


def test_lost_right_after_the_input_and_after_a_learned_mask():
    model = Dropped()
    report = mnn.mask_report(model, torch.rand(1, 1, 6), half_a_mask(6))
    assert report.lost == ["conv", "after"]
    assert mnn.mask_report(model, torch.rand(1, 1, 6)).lost == ["after"]
    assert [record.kind for record in report.records if record.name == "soft"] == ["soft"]


def test_hooks_and_modes_are_restored_after_an_error():
    model = mnn.MaskedSequential(mnn.MaskedConv2d(2, 1, 3)).train()
    with pytest.raises(ValueError, match=r"^masked_conv2d: weight: got shape"):
        mnn.mask_report(model, torch.rand(1, 3, 8, 8), half_a_mask(8, 8))
    assert model.training and not model[0]._forward_hooks and not model[0]._forward_pre_hooks


@pytest.mark.parametrize("rank", (1, 2, 3))
def test_picture(rank, tmp_path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    conv = (mnn.MaskedConv1d, mnn.MaskedConv2d, mnn.MaskedConv3d)[rank - 1]
    model = mnn.MaskedSequential(*(conv(1, 1, 3, padding=1) for _ in range(4)))
    size = (6,) * rank
    report = mnn.mask_report(model, torch.rand(1, 1, *size), half_a_mask(*size))
    assert [tuple(record.picture.shape) for record in report.records] == [(1, 6) if rank == 1 else (6, 6)] * 6
    report.save(tmp_path / "masks.png")
    with Image.open(tmp_path / "masks.png") as picture:
        assert picture.format == "PNG" and picture.size == (1040, 520)
        tones = picture.convert("L").getextrema()
    assert tones == (0, 255)


def test_pictures_that_cannot_be_drawn(tmp_path, monkeypatch):
    report = mnn.mask_report(mnn.MaskedConv2d(1, 1, 3), torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"^MaskReport.save: got a report without masks, needs a layer that returned"):
        report.save(tmp_path / "none.png")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"^MaskReport.save: needs matplotlib: pip install matplotlib$"):
        report.save(tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
