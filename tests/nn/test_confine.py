"""Padding stays padding under masks that grow: an image alone equals itself in a padded batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskconv_ext import nn as mnn
from maskconv_ext.data import pad_collate


class Net(nn.Module):
    """Down, up and a skip, with masks that grow at every layer."""

    def __init__(self, rank: int):
        super().__init__()
        conv = {1: mnn.MaskedConv1d, 2: mnn.MaskedConv2d, 3: mnn.MaskedConv3d}[rank]
        self.down, self.deep = conv(2, 4, 5, 2, padding=2), conv(4, 4, 3, 2, padding=1)
        self.up, self.cat = mnn.MaskedUpsample(scale_factor=4), mnn.MaskedCat()
        self.last = conv(6, 2, 3, padding=1, mask_channels=(4, 2))

    def forward(self, x, valid, inside=None):
        def confined(pair):
            return pair if inside is None else mnn.confine(pair, inside)

        low = confined(self.deep(*confined(self.down(x, valid))))
        return confined(self.last(*self.cat(confined(self.up(*low)), (x, valid))))


def sample(rank: int, number: int):
    generator = torch.Generator().manual_seed(number)
    size = [(8, 12, 4), (18, 13, 9)][number][:rank]
    mask = torch.rand(1, *size, generator=generator) < 0.5
    x = torch.rand(2, *size, generator=generator, dtype=torch.float64)
    return {"x": x.masked_fill(~mask, torch.nan), "valid": mask}


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_alone_equals_in_the_batch(rank):
    net = Net(rank).double()
    collate = pad_collate(rank=rank, size_multiple=4, fill={"x": torch.inf}, mask_key="inside")
    samples = [sample(rank, 0), sample(rank, 1)]
    batch = collate(samples)
    together, mask = net(batch["x"], batch["valid"], batch["inside"])
    grown, _ = net(batch["x"], batch["valid"])
    assert torch.equal(mask & ~batch["inside"], torch.zeros_like(mask))
    assert (together.masked_select(~batch["inside"]) == 0).all()
    for number, one in enumerate(samples):
        alone, alone_mask = net(**collate([one]))
        part = (number, slice(None), *(slice(0, extent) for extent in one["x"].shape[1:]))
        torch.testing.assert_close(together[part], alone[(0, *part[1:])])
        assert torch.equal(mask[part], alone_mask[(0, *part[1:])])
    part = (0, slice(None), *(slice(0, extent) for extent in samples[0]["x"].shape[1:]))
    unconfined, _ = net(samples[0]["x"][None], samples[0]["valid"][None])
    assert not torch.allclose(grown[part], unconfined[part]), "without confine they differ, or this tests nothing"


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_masks(dtype):
    """Any dtype and number of channels; the gradient of a soft one; sizes of the network's input."""
    x = torch.full((2, 3, 2), 5.0)
    mask = torch.ones(1, 3, 2, dtype=dtype)
    soft = mask.requires_grad_() if dtype == torch.float32 else mask
    inside = torch.tensor([[[True, False, False, False]], [[True, True, True, False]]])
    y, out = mnn.confine((x, soft), inside)
    assert y[:, 0].tolist() == [[5, 0], [5, 5]] and out.dtype == dtype
    assert out.tolist() == [[[1, 0]] * 3, [[1, 1]] * 3]
    if dtype == torch.float32:
        out.sum().backward()
        assert mask.grad.tolist() == [[[2, 1]] * 3]
    assert torch.equal(mnn.confine((x, None), inside.byte())[1], torch.tensor([[[1, 0]], [[1, 1]]], dtype=torch.uint8))
    x = x.masked_fill(torch.tensor([[[False, True]], [[False, False]]]), torch.nan)
    assert mnn.confine((x, None), inside)[0].isfinite().all()


def test_wrong_calls():
    x, inside = torch.zeros(2, 3, 4, 4), torch.ones(2, 1, 4, 4, dtype=torch.bool)
    with pytest.raises(TypeError, match="confine: pair: got Tensor, needs a pair"):
        mnn.confine(x, inside)
    with pytest.raises(TypeError, match=r"confine: inside: got torch\.float32, needs a Tensor of bool or uint8"):
        mnn.confine((x, None), inside.float())
    with pytest.raises(TypeError, match="confine: inside: got NoneType"):
        mnn.confine((x, None), None)
    for wrong in (inside[:, :, :3], inside.expand(2, 3, 4, 4), inside[:, 0], torch.ones(3, 1, 4, 4, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"confine: inside: got shape .* needs \(2 or 1, 1, \*T\)"):
            mnn.confine((x, None), wrong)
    with pytest.raises(ValueError, match="confine: mask: got shape"):
        mnn.confine((x, inside[..., :2]), inside)
