"""Train at one density of the given pixels, test at all: the experiment of Uhrig et al. 2017 on sparse depth.

Their network, of masked convolutions and of plain ones (with the mask as a second channel, and without), completes a
disparity map of which few pixels are given. It is trained on one part of the map at one density, and tested on another
part at densities from 5 % to 100 %. What the map itself lacks (7 % of it is Inf) is neither given nor scored.

    python examples/sparsity.py                   the same command again goes on where it was interrupted
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from common import cli, tables
from common.disparity import HELD_OUT, TRAINING, SparseCrops, disparity, thinned, to_pixels
from common.figures import save_curves, save_grid
from common.networks import KINDS, Completion, SparseNet
from common.ranks import Ranks
from common.training import Batch, autocast, train
from torch import Tensor, nn

from maskconv_ext import masks
from maskconv_ext.demo.baselines import nearest
from maskconv_ext.losses import masked_l1

DENSITIES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
SHOWN = (0.05, 0.2, 1.0)  # densities
UNTRAINED = "nearest"
CURVES, MAPS = "sparsity.png", "sparsity_maps.png"
DEFAULTS = dict(steps=400, batch=8, learning_rate=3e-3, crop=64, density=0.1, runs=3, draws=2, rows=500)
SMOKE = dict(steps=4, batch=4, crop=32, runs=1, draws=1, rows=40, checkpoint_every=2)


def parser() -> argparse.ArgumentParser:
    root = cli.parser("sparsity", __doc__, **DEFAULTS)
    cli.add_training(root)
    add = root.add_argument_group("experiment").add_argument
    add("--density", type=cli.number(0, 1), metavar="X", help="of the given pixels in training; default: %(default)s")
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=f"of {', '.join(KINDS)}")
    add("--runs", type=cli.integer(1), metavar="N", help="networks of each kind, by seed; default: %(default)s")
    add("--draws", type=cli.integer(1), metavar="N", help="of the given pixels at each density; default: %(default)s")
    add("--rows", type=cli.integer(1), metavar="N", help="of the map to test on; default: %(default)s, all")
    add("--crop", type=cli.integer(16), metavar="N", help="size of crops to train on; default: %(default)s")
    return root


def loss_fn(prediction: Tensor, batch: Batch) -> Tensor:
    """L1 where the map was measured, averaged over the positions of all ranks."""
    truth = batch[2]
    return masked_l1(prediction, truth, masks.from_finite(truth), sync=True)


def complete(model: nn.Module | None, x: Tensor, given: Tensor, precision: str) -> Tensor:
    """(1, H, W) of (1, H, W); without a network the nearest given pixel."""
    if model is None:
        return torch.from_numpy(nearest(x.permute(1, 2, 0).cpu().numpy(), given[0].cpu().numpy())).permute(2, 0, 1)
    with torch.inference_mode(), autocast(precision, x.device):
        return model(x[None], given[None])[0]


def run(arguments: argparse.Namespace, ranks: Ranks) -> None:
    image = disparity(TRAINING)
    if arguments.crop > min(image.shape[1:]):
        raise cli.ExampleError(f"--crop: got {arguments.crop}, needs {min(image.shape[1:])} at most")
    about = {"crop": arguments.crop, "density": arguments.density}
    models: list[tuple[str, int, nn.Module | None]] = []
    figures: dict[str, Any] = {"methods": {}, "training": {}, "scores": []}
    for kind in arguments.kinds:
        for seed in range(arguments.seed, arguments.seed + arguments.runs):
            torch.manual_seed(seed)
            dataset = SparseCrops(image, arguments.density, arguments.crop, seed)
            name = f"{kind}-{seed}"
            trained = train(
                name, Completion(kind, SparseNet, 1), loss_fn, dataset, cli.settings_of(arguments, seed),
                about | {"kind": kind}, ranks, arguments.out / f"{name}.pt", **cli.training_options(arguments),
            )  # fmt: skip
            models.append((kind, seed, trained.model.eval()))
            figures["methods"][kind] = KINDS[kind]
            figures["training"][name] = trained.figures()
    figures["methods"][UNTRAINED] = "no network: the nearest given pixel"
    models.append((UNTRAINED, arguments.seed, None))
    if not ranks.first:
        return

    truth = disparity(HELD_OUT)[:, : arguments.rows].to(ranks.device)
    measured = truth.isfinite()
    rows = []
    for density in DENSITIES:
        for draw in range(arguments.draws):
            given = thinned(measured.cpu(), density, np.random.default_rng((arguments.seed, draw))).to(ranks.device)
            x = truth.masked_fill(~given, torch.nan)
            row = [(f"{density:.0%} given", to_pixels(x))]
            for kind, seed, model in models:
                result = complete(model, x, given, arguments.precision).to(ranks.device)
                error = float(masked_l1(to_pixels(result), to_pixels(truth), measured))
                score = {"method": kind, "seed": seed, "density": density, "draw": draw, "mae": error}
                figures["scores"].append(score)
                if seed == arguments.seed:
                    row.append((f"{kind}: {error:.2f} px", to_pixels(result)))
        row.append(("measured", to_pixels(truth)))
        if density in SHOWN:
            rows.append([(title, image[0].cpu().numpy()) for title, image in row])
    cli.write_results(arguments, ranks, figures)
    low, high = (float(end) for end in to_pixels(truth[measured]).aminmax())
    save_grid(arguments.out / MAPS, rows, "disparity, px", cmap="viridis", vmin=low, vmax=high)
    save_curves(
        arguments.out / CURVES, curves_of(figures), arguments.density,
        "density of the given pixels in the test", "mean absolute error, px",
    )  # fmt: skip
    print(tables.sparsity(figures))
    print(f"\nwritten to {arguments.out}: {cli.RESULTS}, {CURVES}, {MAPS}, and a checkpoint of each network")


def curves_of(figures: dict[str, Any]) -> dict[str, tuple[Sequence[float], np.ndarray]]:
    """Of each method's label: densities, and errors (runs, densities), averaged over draws."""
    curves: dict[str, tuple[Sequence[float], np.ndarray]] = {}
    for method, label in figures["methods"].items():
        scores = [row for row in figures["scores"] if row["method"] == method]
        runs = list(dict.fromkeys(row["seed"] for row in scores))
        errors = [
            [np.mean([row["mae"] for row in scores if (row["seed"], row["density"]) == (seed, d)]) for d in DENSITIES]
            for seed in runs
        ]
        curves[label] = (DENSITIES, np.array(errors))
    return curves


def main(argv: Sequence[str] | None = None) -> int:
    return cli.main(parser(), SMOKE, run, argv)


if __name__ == "__main__":
    sys.exit(main())
