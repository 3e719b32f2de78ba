"""ResNet-50, ConvNeXt and U-Net with masks."""

from __future__ import annotations

import copy

import pytest
import torch
from convert_checks import (
    UNet,
    assert_equals_original,
    assert_holes_are_not_read,
    assert_restored,
    randomised,
    tensors_of,
)
from torch import nn

from maskconv_ext import nn as mnn
from maskconv_ext.convert import convert, unconvert

NAMES = ("resnet50", "convnext", "convnext_conv_mlp", "convnext_torchvision", "unet", "unet_bilinear")

OTHERS = (
    "torchvision.models mobilenet_v3_small",
    "torchvision.models shufflenet_v2_x0_5",
    "torchvision.models squeezenet1_1",
    "timm convnextv2_atto",
    "timm skresnet18",
    "timm nf_resnet26",
    "timm ghostnet_100",
)


def build(name: str) -> torch.nn.Module:
    """Random weights; ConvNeXt with few channels and blocks."""
    torch.manual_seed(0)
    if name.startswith("unet"):
        return randomised(UNet(transposed=name == "unet"))
    if name == "resnet50":
        models = pytest.importorskip("torchvision.models", reason="needs torchvision, which is not installed")
        return randomised(models.resnet50(weights=None))
    if name == "convnext_torchvision":
        models = pytest.importorskip("torchvision.models", reason="needs torchvision, which is not installed")
        block = models.convnext.CNBlockConfig
        settings = [block(8, 16, 1), block(16, 32, 1), block(32, None, 1)]
        return randomised(models.ConvNeXt(settings, stochastic_depth_prob=0.5, num_classes=5))
    timm = pytest.importorskip("timm", reason="needs timm, which is not installed")
    smaller = {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32), "drop_path_rate": 0.5, "num_classes": 5}
    kind = "convnext_atto" if name == "convnext_conv_mlp" else "convnext_tiny"
    return randomised(timm.create_model(kind, pretrained=False, **smaller))


def images(batch: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def holes(batch: int = 2, size: int = 64) -> torch.Tensor:
    """Blocks that are missing, so that some windows have no valid pixel."""
    coarse = torch.rand(batch, 1, size // 8, size // 8, generator=torch.Generator().manual_seed(3)) < 0.5
    return coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)


@pytest.mark.parametrize("name", NAMES)
def test_without_holes_it_is_the_original(name):
    model = build(name)
    converted = convert(model, pad_is_valid=True)
    assert_equals_original(model, converted, images(size=48 if name == "resnet50" else 64))
    assert_restored(model, converted, images(1))


@pytest.mark.parametrize("name", NAMES)
def test_state_dicts_load_both_ways(name):
    model, other = build(name), build(name)
    converted = convert(model)
    assert list(converted.state_dict()) == list(model.state_dict())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    converted.load_state_dict(other.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))
    build(name).load_state_dict(converted.state_dict())


@pytest.mark.parametrize("training", (False, True))
@pytest.mark.parametrize("name", NAMES)
def test_holes_are_not_read(name, training):
    converted = convert(build(name)).train(training)
    size = 32 if name == "resnet50" else 64
    assert_holes_are_not_read(converted, images(size=size), holes(size=size))


@pytest.mark.parametrize("name", NAMES)
def test_a_padded_batch_gives_each_image_what_the_original_gives_it_alone(name):
    model = build(name).eval()
    converted = convert(model, normalization="none", mask_update="inside")
    sizes = [(64, 64), (32, 64), (64, 32)]
    if name == "resnet50":
        sizes += [(45, 51)]  # any size, where nothing is concatenated or interpolated
    x = torch.full((len(sizes), 3, 64, 64), float("nan"), dtype=torch.float64)
    mask = torch.zeros(len(sizes), 1, 64, 64, dtype=torch.bool)
    alone = [images(1)[..., :height, :width] for height, width in sizes]
    for i, (image, (height, width)) in enumerate(zip(alone, sizes)):
        x[i, :, :height, :width] = image[0]
        mask[i, :, :height, :width] = True
    (batch,) = tensors_of(converted(x, mask))
    for i, image in enumerate(alone):
        wanted = model(image)
        got = batch[i : i + 1]
        if wanted.dim() == 4:
            assert (got[..., wanted.shape[2] :, :] == 0).all() and (got[..., wanted.shape[3] :] == 0).all()
            got = got[..., : wanted.shape[2], : wanted.shape[3]]
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures(name):
    """Gates, shuffles, computed weights, ghosts: in eval mode, with the mask of a padded batch, and with holes."""
    library, _, name = name.partition(" ")
    models = pytest.importorskip(library, reason=f"needs {library}, which is not installed")
    model = randomised(models.create_model(name) if library == "timm" else getattr(models, name)(weights=None)).eval()
    x, mask = images(1), torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    mask[..., :32] = True
    converted = convert(model, normalization="none", mask_update="inside")
    with torch.no_grad():
        padded = converted(x.masked_fill(~mask, float("nan")), mask)
        torch.testing.assert_close(padded, model(x[..., :32]), rtol=1e-8, atol=1e-8)
        assert convert(model)(x.masked_fill(~holes(1), float("nan")), holes(1)).isfinite().all()


def test_an_image_alone_is_itself_in_a_padded_batch_with_any_normalisation():
    model = build("resnet50").eval()
    converted = convert(model, mask_update="inside")
    x, mask = images(2), torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    mask[0, :, :40, :56] = mask[1] = True
    alone = converted(x[:1, :, :40, :56], torch.ones(1, 1, 40, 56, dtype=torch.bool))
    torch.testing.assert_close(converted(x.masked_fill(~mask, float("nan")), mask)[:1], alone, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(alone, model(x[:1, :, :40, :56]))  # borders are rescaled


@pytest.mark.parametrize("kind", ("uint8", "soft", "one for all", "one per channel"))
def test_any_mask(kind):
    mask = holes()
    masks = {
        "uint8": mask.to(torch.uint8) * 255,
        "soft": mask * torch.rand(mask.shape, dtype=torch.float64).clamp(0.1),
        "one for all": mask[:1],
        "one per channel": torch.cat([mask, holes().flip(2), holes().flip(3)], 1),
    }
    converted = convert(build("unet")).eval()
    given = masks[kind]
    x = images().masked_fill((given == 0).expand(2, 3, 64, 64), float("nan"))
    y, out_mask = converted(x, given)
    assert y.isfinite().all() and out_mask.dtype == given.dtype
    if kind in ("uint8", "one for all"):
        wanted, _ = converted(x, (given != 0).expand(2, 1, 64, 64))
        torch.testing.assert_close(y, wanted)


@pytest.mark.parametrize("name", ("convnext", "unet"))
def test_copies(name, tmp_path):
    model = build(name)
    converted = convert(model).eval()
    x, mask = images(1), holes(1)
    wanted = tensors_of(converted(x, mask))[0]
    torch.save(converted, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    copied = copy.deepcopy(converted)
    for other in (loaded, copied):
        assert torch.equal(tensors_of(other(x, mask))[0], wanted)
        assert torch.equal(unconvert(other)(x), model.eval()(x))
        assert {id(p) for p in other.parameters()}.isdisjoint(id(p) for p in converted.parameters())


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.SiLU(inplace=True)

    def forward(self, x):
        y = x + self.act(self.norm(self.conv(x)))
        return torch.cat([y, y * y.mean((2, 3), keepdim=True)], 1)


def test_compilation():
    converted = convert(Residual()).eval()
    x, mask = images(1, 16).float(), holes(1, 16)
    torch._dynamo.reset()
    compiled = torch.compile(converted, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, mask), converted(x, mask))


def test_devices(device):
    converted = convert(build("unet").float())
    x, mask = images().float(), holes()
    y, out_mask = converted(x, mask)
    on_device = convert(build("unet").float()).to(device)
    y_there, mask_there = on_device(x.to(device).masked_fill(~mask.to(device), float("nan")), mask.to(device))
    torch.testing.assert_close(y_there.cpu(), y, rtol=1e-3, atol=1e-4)
    assert torch.equal(mask_there.cpu(), out_mask)
    (y_there.square().mean()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in on_device.parameters())


def test_distributed(tmp_path):
    if not torch.distributed.is_available():
        pytest.skip("this build of PyTorch has no torch.distributed")
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        model = torch.nn.parallel.DistributedDataParallel(convert(build("unet")))
        for _ in range(2):  # a second pass raises where parameters got no gradient
            y, _ = model(images(), holes())
            y.square().mean().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
    finally:
        torch.distributed.destroy_process_group()


def test_where_the_mask_goes():
    report = mnn.mask_report(convert(build("unet")), images(1), holes(1))
    assert not report.lost
    assert {"inc.0", "down.0", "up", "last"} <= {record.name for record in report.records}
