"""Train a small U-Net to fill irregular holes in photographs: of masked convolutions, and of plain ones.

The same network three times: partial convolutions (Liu et al. 2018) told of the holes by the mask; plain convolutions
with zeros in the holes and the mask as a fourth channel; and plain convolutions with zeros alone. Trained on crops of
pictures that ship with scikit-image, scored by PSNR and SSIM in the holes of pictures it has not seen.

    python examples/inpainting.py                 one process; the same command again goes on where it was interrupted
    torchrun --standalone --nproc-per-node 2 examples/inpainting.py       two processes, the same loss curves
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from common import cli, tables
from common.figures import save_grid
from common.images import HELD_OUT, TRAINING, HoledCrops, photograph, stroke_masks, to_picture, to_tensor
from common.metrics import in_holes
from common.networks import KINDS, Completion, UNet
from common.ranks import Ranks
from common.training import Batch, autocast, train
from torch import Tensor, nn

from maskconv_ext.demo.pyramid import fill_holes
from maskconv_ext.losses import masked_l1

COVERAGES = (0.1, 0.25, 0.5)  # of the holes, in training and tests
HOLE_WEIGHT = 6.0  # Liu et al. 2018
PICTURE = "inpainting.png"
SHOWN = 0.25  # coverage
UNTRAINED = "pyramid"
DEFAULTS = dict(
    steps=2000, batch=8, learning_rate=3e-3, crop=64, widths=[16, 32, 64, 64], masks=16, test_masks=4
)  # fmt: skip
SMOKE = dict(steps=6, batch=4, crop=32, widths=[8, 8], masks=2, test_masks=1, checkpoint_every=2)


def parser() -> argparse.ArgumentParser:
    root = cli.parser("inpainting", __doc__, **DEFAULTS)
    cli.add_training(root)
    add = root.add_argument_group("network and data").add_argument
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=f"of {', '.join(KINDS)}")
    add("--widths", nargs="+", type=cli.integer(1), metavar="N", help="channels of each level; default: %(default)s")
    add("--crop", type=cli.integer(16, 16), metavar="N", help="size of crops to train on; default: %(default)s")
    add("--masks", type=cli.integer(1), metavar="N", help="of each coverage, to train with; default: %(default)s")
    add("--test-masks", type=cli.integer(1), metavar="N", help="of each coverage and picture; default: %(default)s")
    return root


def loss_fn(prediction: Tensor, batch: Batch) -> Tensor:
    """L1 in the holes and outside, each averaged over the positions of all ranks."""
    _, mask, truth = batch
    in_hole = masked_l1(prediction, truth, ~mask, sync=True)
    return HOLE_WEIGHT * in_hole + masked_l1(prediction, truth, mask, sync=True)


def held_out_cases(count: int, seed: int) -> list[tuple[str, float, Tensor, Tensor]]:
    """Name, coverage, picture (3, H, W) and mask (1, H, W) of each case; other masks than those to train with."""
    holes = {coverage: stroke_masks(count * len(HELD_OUT), coverage, seed + 1) for coverage in COVERAGES}
    cases = []
    for number, (name, reduction) in enumerate(HELD_OUT.items()):
        picture = to_tensor(photograph(name, reduction))
        height, width = (min(size // 16 * 16, 256) for size in picture.shape[1:])
        for coverage in COVERAGES:
            for mask in holes[coverage][number * count : (number + 1) * count]:
                cases.append((name, coverage, picture[:, :height, :width], mask[:, :height, :width]))
    return cases


def filled(model: nn.Module | None, picture: Tensor, mask: Tensor, precision: str) -> Tensor:
    """The picture, with the prediction in its holes."""
    x, m = picture.masked_fill(~mask, torch.nan)[None], mask[None]
    with torch.inference_mode(), autocast("fp32" if model is None else precision, picture.device):
        prediction = fill_holes(x, m) if model is None else model(x, m)
    return torch.where(mask, picture, prediction[0].float())


def run(arguments: argparse.Namespace, ranks: Ranks) -> None:
    levels, scale = len(arguments.widths), 2 ** len(arguments.widths)
    if levels > 4:
        raise cli.ExampleError(f"--widths: got {levels} levels, needs 4 at most")
    if arguments.crop % scale:
        raise cli.ExampleError(f"--crop: got {arguments.crop}, needs a multiple of {scale} for {levels} widths")
    pictures = [to_tensor(photograph(name, reduction)) for name, reduction in TRAINING.items()]
    smallest = min(min(picture.shape[1:]) for picture in pictures)
    if arguments.crop > smallest:
        raise cli.ExampleError(f"--crop: got {arguments.crop}, needs {smallest} at most, the smallest picture's side")
    holes = torch.cat([stroke_masks(arguments.masks, coverage, arguments.seed) for coverage in COVERAGES])
    dataset = HoledCrops(pictures, holes, arguments.crop, arguments.seed)
    about = {"crop": arguments.crop, "widths": arguments.widths, "masks": arguments.masks}

    models: dict[str, nn.Module | None] = {}
    figures: dict[str, Any] = {"methods": {}, "training": {}, "scores": []}
    for kind in arguments.kinds:
        torch.manual_seed(arguments.seed)
        trained = train(
            kind, Completion(kind, UNet, 3, widths=arguments.widths), loss_fn, dataset,
            cli.settings_of(arguments, arguments.seed), about | {"kind": kind}, ranks,
            arguments.out / f"{kind}.pt", **cli.training_options(arguments),
        )  # fmt: skip
        models[kind] = trained.model.eval()
        figures["methods"][kind] = KINDS[kind]
        figures["training"][kind] = trained.figures()
    figures["methods"][UNTRAINED] = "no network: the pyramid of `maskconv-ext demo`"
    models[UNTRAINED] = None
    if not ranks.first:
        return
    shown = {}
    for name, coverage, picture, mask in held_out_cases(arguments.test_masks, arguments.seed):
        picture, mask = picture.to(ranks.device), mask.to(ranks.device)
        truth, hole = to_picture(picture), ~mask[0].cpu().numpy()
        row = [(f"{name}: {coverage:.0%} holes", np.where(hole[..., None], np.nan, truth))]
        for method, model in models.items():
            result = to_picture(filled(model, picture, mask, arguments.precision))
            scores = in_holes(truth, result, hole)
            figures["scores"].append({"method": method, "picture": name, "coverage": coverage} | scores)
            row.append((f"{method}: {scores['psnr']:.1f} dB, SSIM {scores['ssim']:.2f}", result))
        row.append(("original", truth))
        if coverage == SHOWN:
            shown[name] = row  # of the last mask
    cli.write_results(arguments, ranks, figures)
    save_grid(arguments.out / PICTURE, list(shown.values()))
    print(tables.inpainting(figures))
    print(f"\nwritten to {arguments.out}: {cli.RESULTS}, {PICTURE}, and a checkpoint of each network")


def main(argv: Sequence[str] | None = None) -> int:
    return cli.main(parser(), SMOKE, run, argv)


if __name__ == "__main__":
    sys.exit(main())
