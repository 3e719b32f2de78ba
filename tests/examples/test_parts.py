"""What the examples are made of: data without leakage, batches, checkpoints, metrics, networks."""

from __future__ import annotations

import importlib.metadata
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from common import checkpoint, disparity, images, metrics
from common.batches import ResumableBatches
from common.errors import ExampleError
from common.networks import KINDS, Completion, SparseNet, UNet
from torch import nn

from maskconv_ext import nn as mnn
from maskconv_ext.data import pad_collate

# ------------------------------------------------------------------------------------------------ data


def test_pictures_are_shipped_and_held_out_ones_are_not_trained_on():
    assert not set(images.TRAINING) & set(images.HELD_OUT)
    shipped = {Path(str(file)).stem for file in importlib.metadata.files("scikit-image") or []}
    renamed = {"immunohistochemistry": "ihc"}
    assert {renamed.get(name, name) for name in images.TRAINING | images.HELD_OUT} <= shipped
    pictures = [images.photograph(name, step) for name, step in (images.TRAINING | images.HELD_OUT).items()]
    for number, picture in enumerate(pictures):
        assert picture.shape[2] == 3 and picture.dtype == np.float32
        assert 0 <= picture.min() < picture.max() <= 1 and picture.std() > 0.02
        part = picture[:100, :100]
        assert all(np.abs(part - other[:100, :100]).mean() > 0.01 for other in pictures[:number])


def test_regions_of_the_disparity_map_are_apart():
    assert disparity.TRAINING.stop + 19 < disparity.HELD_OUT.start
    training, held_out = (disparity.disparity(part) for part in (disparity.TRAINING, disparity.HELD_OUT))
    assert training.shape[2] == 440 and held_out.shape[2] == 281
    for region in (training, held_out):
        measured = region[region.isfinite()]
        assert 0.05 < region.isinf().float().mean() < 0.1  # real holes
        assert -1.1 < measured.min() < 0 < measured.max() < 1.1
    assert 7 < disparity.to_pixels(training[training.isfinite()]).min() < 60


def test_crops_depend_on_their_key_alone():
    picture = images.to_tensor(images.photograph("astronaut", 2))
    crops = images.HoledCrops([picture], images.stroke_masks(2, 0.25, 0), 32, seed=5)
    x, mask, truth = crops[(1, 7)]
    again = images.HoledCrops([picture], images.stroke_masks(2, 0.25, 0), 32, seed=5)[(1, 7)]
    assert torch.equal(x.nan_to_num(9), again[0].nan_to_num(9)) and torch.equal(mask, again[1])
    assert torch.equal(x.isnan(), ~mask.expand_as(x)) and torch.equal(x[:, mask[0]], truth[:, mask[0]])
    assert not torch.equal(truth, crops[(2, 7)][2]) and not torch.equal(truth, crops[(1, 8)][2])

    sparse = disparity.SparseCrops(disparity.disparity(disparity.TRAINING), 0.1, 64, seed=0)
    x, given, truth = sparse[(0, 0)]
    assert 0.05 < given.float().mean() < 0.15 and torch.equal(x[given], truth[given])
    assert truth[given].isfinite().all() and x[~given].isnan().all()


def test_training_and_test_masks_differ():
    import inpainting

    training = torch.cat([images.stroke_masks(4, coverage, 0) for coverage in inpainting.COVERAGES])
    for _, _, picture, mask in inpainting.held_out_cases(1, 0):
        height, width = picture.shape[1:]
        assert mask.shape == (1, height, width) and height % 16 == width % 16 == 0
        assert all(not torch.equal(other[:, :height, :width], mask) for other in training)


# ------------------------------------------------------------------------------------------------ batches


def test_ranks_share_the_batches_of_one_process():
    alone = list(ResumableBatches(24, 6, 3, 0, 9))
    assert len(alone) == 9 and [key[0] for batch in alone for key in batch[:1]] == [0] * 4 + [1] * 4 + [2]
    for epoch in (0, 1):
        assert sorted(k for b in alone[4 * epoch : 4 * epoch + 4] for k in b) == [(epoch, i) for i in range(24)]
    shares = [list(ResumableBatches(24, 6, 3, 0, 9, rank, 2)) for rank in range(2)]
    for batch, *parts in zip(alone, *shares):
        assert sorted(batch) == sorted(parts[0] + parts[1]) and len(parts[0]) == len(parts[1]) == 3
    for first in range(10):
        resumed = ResumableBatches(24, 6, 3, first, 9)
        assert list(resumed) == alone[first:] and len(resumed) == 9 - first
    assert list(ResumableBatches(24, 6, 4, 0, 9)) != alone


# ------------------------------------------------------------------------------------------------ checkpoints


def test_a_checkpoint_is_written_at_once_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    assert checkpoint.load(path, {}) is None
    checkpoint.save(path, {"settings": {"steps": 3}, "x": torch.arange(3)})
    assert checkpoint.load(path, {"steps": 3})["x"].tolist() == [0, 1, 2]

    def full_disk(*args):
        raise OSError("no space left")

    monkeypatch.setattr(checkpoint.os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.save(path, {"settings": {"steps": 3}, "x": torch.zeros(1)})
    assert checkpoint.load(path, {"steps": 3})["x"].tolist() == [0, 1, 2]
    with pytest.raises(ExampleError, match="of a run with steps 3, this one has 4"):
        checkpoint.load(path, {"steps": 4})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ExampleError, match="no checkpoint of this example"):
        checkpoint.load(path, {"steps": 3})


def test_random_state(tmp_path):
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    checkpoint.seed_all(4)
    draw()
    checkpoint.save(tmp_path / "state.pt", {"settings": {}, "random": checkpoint.random_state()})
    expected = draw()
    checkpoint.seed_all(5)
    assert draw() != expected
    checkpoint.restore_random_state(checkpoint.load(tmp_path / "state.pt", {})["random"])
    assert draw() == expected


# ------------------------------------------------------------------------------------------------ metrics


def test_metrics_of_what_is_in_the_holes():
    truth = images.photograph("astronaut", 2)[:64, :64]
    holes = np.zeros((64, 64), bool)
    holes[20:40, 20:40] = True
    filled = np.where(holes[..., None], np.clip(truth + 0.1, 0, 1.2), truth)
    scores = metrics.in_holes(truth, filled, holes)
    assert scores["psnr"] == pytest.approx(20, abs=0.01)
    assert scores["ssim"] < 1 == pytest.approx(metrics.in_holes(truth, truth + 1e-9, holes)["ssim"])
    worse = np.where(holes[..., None], truth + np.random.default_rng(0).normal(0, 0.1, truth.shape), truth)
    assert metrics.in_holes(truth, worse, holes)["ssim"] < scores["ssim"]


# ------------------------------------------------------------------------------------------------ networks


@pytest.mark.parametrize(("network", "channels", "options"), [(UNet, 3, {"widths": (4, 6)}), (SparseNet, 1, {})])
def test_networks(network, channels, options):
    """NaN in the holes goes nowhere; without holes the masked network is the plain one but at the borders."""
    x, mask = torch.rand(2, channels, 64, 64), torch.rand(2, 1, 64, 64) < 0.5
    for kind in KINDS:
        torch.manual_seed(1)
        model = Completion(kind, network, channels, **options)
        prediction = model(x.masked_fill(~mask, torch.nan), mask)
        assert prediction.shape == x.shape and prediction.isfinite().all()
        prediction.square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        assert torch.equal(prediction, model(x.masked_fill(~mask, torch.inf), mask))

    torch.manual_seed(1)
    masked = Completion("masked", network, channels, **options).eval()
    plain = Completion("plain", network, channels, **options).eval()
    plain.load_state_dict(masked.state_dict())
    full = torch.ones_like(mask)
    centre = (..., slice(28, 36), slice(28, 36))
    torch.testing.assert_close(masked(x, full)[centre], plain(x, full)[centre])
    assert not torch.allclose(masked(x, mask)[centre], plain(x, mask)[centre])


@pytest.mark.parametrize("size", [(32, 40), (29, 33), (24, 64)])
@pytest.mark.parametrize(("network", "channels", "options"), [(UNet, 3, {"widths": (4, 6, 8)}), (SparseNet, 1, {})])
def test_alone_equals_in_a_padded_batch(network, channels, options, size):
    model = Completion("masked", network, channels, **options).eval()
    collate = pad_collate(size_multiple=8, fill={"x": torch.nan}, mask_key="inside")
    samples = [
        {"x": torch.rand(channels, *extent), "mask": torch.rand(1, *extent) < 0.3} for extent in (size, (56, 64))
    ]
    alone, together = model(**collate(samples[:1])), model(**collate(samples))
    image = (0, slice(None), slice(size[0]), slice(size[1]))
    torch.testing.assert_close(together[image], alone[image])


def test_skips_keep_their_own_masks():
    masks_seen = []
    net = UNet(3, 3, (4, 6))
    net.last.register_forward_pre_hook(lambda module, inputs: masks_seen.append(inputs[1]))
    mask = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    mask[..., 8:, :] = True
    net(torch.rand(1, 3, 16, 16), mask)
    (seen,) = masks_seen
    assert seen.shape == (1, 2, 16, 16) and torch.equal(seen[:, 1:], mask) and seen[:, :1].sum() > mask.sum()
    assert all(type(layer) is mnn.MaskedConv2d for layer in net.modules() if isinstance(layer, nn.Conv2d))
