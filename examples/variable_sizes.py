"""Photographs of unequal sizes in one padded batch: each comes out as it does alone.

A U-Net fills the holes of five pieces of photographs, each alone and all in one batch, which `pad_collate` pads, here
with NaN. With masks through the network the padding is one more hole, so results and gradients are the same up to
rounding; those of plain convolutions are not. It is an error if masked ones differ by more than that.

    python examples/variable_sizes.py                               initial weights
    python examples/variable_sizes.py --trained out/inpainting      weights that inpainting.py has trained
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import checkpoint, cli, tables
from common.figures import save_grid
from common.images import HELD_OUT, photograph, stroke_masks, to_picture, to_tensor
from common.networks import KINDS, Completion, UNet
from common.ranks import Ranks
from torch import Tensor

from maskconv_ext.data import pad_collate
from maskconv_ext.losses import masked_mse

# Of the pictures held out, heights and widths; none is a multiple of what the U-Net halves.
SIZES = {"camera": (200, 250), "chelsea": (150, 225), "coffee": (90, 150), "cup": (70, 70), "ear": (37, 52)}
CORNERS = {"camera": (0, 0), "chelsea": (0, 0), "coffee": (40, 100), "cup": (60, 120), "ear": (10, 60)}
SOURCES = {"cup": "coffee", "ear": "chelsea"}
COVERAGE = 0.25
SMALLEST = 1e-8  # difference that the picture shows
# "unconfined": the padding is a hole like others, and closes as they do.
METHODS = {"masked": KINDS["masked"], "unconfined": "the same without `confine`"} | KINDS
TOLERANCE = 1e-4  # of the largest value; float32 sums in another order differ by less
PICTURE = "variable_sizes.png"
Sample = dict[str, Tensor]


def parser() -> argparse.ArgumentParser:
    root = cli.parser("variable_sizes", __doc__, widths=[16, 32, 64, 64])
    root.add_argument("--trained", type=Path, metavar="DIR", help="the --out of inpainting.py")
    return root


def samples(seed: int) -> dict[str, Sample]:
    """The image with NaN in its holes, its mask, and the whole image, of each name."""
    found = {}
    for number, (name, (height, width)) in enumerate(SIZES.items()):
        source = SOURCES.get(name, name)
        top, left = CORNERS[name]
        truth = to_tensor(photograph(source, HELD_OUT[source]))[:, top : top + height, left : left + width]
        mask = stroke_masks(1, COVERAGE, seed + number)[0, :, :height, :width]
        found[name] = {"image": truth.masked_fill(~mask, torch.nan), "valid": mask, "truth": truth}
    return found


def network(kind: str, arguments: argparse.Namespace) -> Completion:
    """In eval mode: batch normalisation makes each image depend on the batch while training, with masks or without."""
    torch.manual_seed(arguments.seed)
    if arguments.trained is None:
        return Completion(kind, UNet, 3, widths=arguments.widths).eval()
    state = checkpoint.load(arguments.trained / f"{kind}.pt")
    if state is None:
        raise cli.ExampleError(f"--trained: {arguments.trained} has no {kind}.pt; inpainting.py writes it")
    model = Completion(kind, UNet, 3, widths=state["settings"]["widths"])
    model.load_state_dict(state["model"])
    return model.eval()


def results(model: Completion, batch: Sample, confined: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Predictions (N, 3, H, W), and the gradient of all parameters for the squared error in the holes, summed."""
    image, valid, inside, truth = (batch[name].to(device) for name in ("image", "valid", "inside", "truth"))
    prediction = model(image, valid, inside if confined else None)
    loss = masked_mse(prediction, truth, ~valid & inside, reduction="sum")
    grads = torch.autograd.grad(loss, list(model.parameters()))
    return prediction.detach(), torch.cat([grad.flatten() for grad in grads])


def run(arguments: argparse.Namespace, ranks: Ranks) -> None:
    if ranks.count > 1:
        raise cli.ExampleError("runs in one process; torchrun is for inpainting.py and sparsity.py")
    # One mask for the holes, which close from layer to layer, and one for the padding, which must not.
    collate = pad_collate(size_multiple=16, fill={"image": torch.nan, "truth": torch.nan}, mask_key="inside")
    of_name = samples(arguments.seed)
    batch = collate(list(of_name.values()))
    figures: dict[str, Any] = {
        "methods": METHODS,
        "trained": arguments.trained is not None,
        "images": [{"name": n, "height": h, "width": w, "differences": {}} for n, (h, w) in SIZES.items()],
        "gradient": {},
    }
    panels: dict[str, list[tuple[str, np.ndarray]]] = {
        "input": [
            (f"{name}: {h} x {w}, padded", to_picture(batch["image"][i]))
            for i, (name, (h, w)) in enumerate(SIZES.items())
        ]
    }
    for method in METHODS:
        kind, confined = ("masked", False) if method == "unconfined" else (method, True)
        model = network(kind, arguments).to(ranks.device)
        together, gradient = results(model, batch, confined, ranks.device)
        sum_of_gradients = torch.zeros_like(gradient)
        panels[method] = []
        for number, (name, sample) in enumerate(of_name.items()):
            alone, of_sample = results(model, collate([sample]), confined, ranks.device)
            sum_of_gradients += of_sample
            height, width = SIZES[name]
            expected, got = alone[0, :, :height, :width], together[number, :, :height, :width]
            difference = (got - expected).abs() / expected.abs().max()
            figures["images"][number]["differences"][method] = float(difference.max())
            map_ = np.full(together.shape[2:], np.nan)
            map_[:height, :width] = np.log10(difference.amax(0).cpu().numpy() + SMALLEST)
            panels[method].append((f"{method}: differs by {float(difference.max()):.0e}", map_))
        figures["gradient"][method] = float((gradient - sum_of_gradients).norm() / sum_of_gradients.norm())
    cli.write_results(arguments, ranks, figures)
    save_grid(arguments.out / PICTURE, list(panels.values()), cmap="viridis", vmin=np.log10(SMALLEST), vmax=0)
    print(tables.variable_sizes(figures))
    print(f"\nwritten to {arguments.out}: {cli.RESULTS}, {PICTURE}")
    largest = max([figures["gradient"]["masked"], *(row["differences"]["masked"] for row in figures["images"])])
    if not largest < TOLERANCE:
        raise cli.ExampleError(f"an image alone differs from the same in the batch by {largest:.1e}, masked")


def main(argv: Sequence[str] | None = None) -> int:
    return cli.main(parser(), {"widths": [8, 8, 8, 8]}, run, argv)


if __name__ == "__main__":
    sys.exit(main())
