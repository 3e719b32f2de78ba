"""Photographs of unequal sizes in one padded batch: each comes out as it does alone.

A U-Net fills the holes of five pieces of photographs, each alone and all in one batch, which `pad_collate` pads, here
with NaN. With masks through the network the padding is one more hole, so results and gradients are the same up to
rounding; those of plain convolutions are not. The exit status is 1 if masked ones differ by more than that.

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

# Pieces of the pictures held out: top, left, height, width.
PIECES = {
    "man": ("camera", 0, 0, 200, 250),
    "cat": ("chelsea", 0, 0, 150, 225),
    "table": ("coffee", 40, 100, 90, 150),
    "cup": ("coffee", 60, 120, 70, 70),
    "ear": ("chelsea", 10, 60, 37, 52),
}
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
    for number, (name, (source, top, left, height, width)) in enumerate(PIECES.items()):
        truth = to_tensor(photograph(source, HELD_OUT[source]))[:, top : top + height, left : left + width]
        mask = stroke_masks(1, COVERAGE, seed + number)[0, :, :height, :width]
        found[name] = {"image": truth.masked_fill(~mask, torch.nan), "valid": mask, "truth": truth}
    return found


def network(kind: str, arguments: argparse.Namespace) -> Completion:
    """In eval mode: while training, batch normalisation makes each image depend on the others, masked or not."""
    torch.manual_seed(arguments.seed)
    if arguments.trained is None:
        return Completion(kind, UNet, 3, widths=arguments.widths).eval()
    state = checkpoint.load(arguments.trained / f"{kind}.pt")
    if state is None:
        raise cli.ExampleError(f"--trained: {arguments.trained} has no {kind}.pt; inpainting.py writes it")
    if "widths" not in state["settings"]:
        raise cli.ExampleError(f"--trained: {arguments.trained / f'{kind}.pt'} is not of inpainting.py")
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
        "images": [{"name": n, "height": h, "width": w, "differences": {}} for n, (*_, h, w) in PIECES.items()],
        "gradient": {},
    }
    rows = [[(f"{n}: {h} x {w}", to_picture(x)) for (n, (*_, h, w)), x in zip(PIECES.items(), batch["image"])]]
    for method in METHODS:
        kind, confined = ("masked", False) if method == "unconfined" else (method, True)
        model = network(kind, arguments).to(ranks.device)
        together, gradient = results(model, batch, confined, ranks.device)
        sum_of_gradients = torch.zeros_like(gradient)
        rows.append([])
        for number, sample in enumerate(of_name.values()):
            alone, of_sample = results(model, collate([sample]), confined, ranks.device)
            sum_of_gradients += of_sample
            height, width = sample["image"].shape[1:]
            expected, got = alone[0, :, :height, :width], together[number, :, :height, :width]
            difference = (got - expected).abs() / expected.abs().max()
            figures["images"][number]["differences"][method] = largest = float(difference.max())
            picture = np.full(together.shape[2:], np.nan)
            picture[:height, :width] = np.log10(difference.amax(0).cpu().numpy() + SMALLEST)
            rows[-1].append((f"{method}: differs by {largest:.0e}", picture))
        figures["gradient"][method] = float((gradient - sum_of_gradients).norm() / sum_of_gradients.norm())
    cli.write_results(arguments, ranks, figures)
    save_grid(
        arguments.out / PICTURE, rows, "difference, relative to the largest value: its power of ten", cmap="viridis",
        vmin=np.log10(SMALLEST), vmax=0,
    )  # fmt: skip
    print(tables.variable_sizes(figures))
    print(f"\nwritten to {arguments.out}: {cli.RESULTS}, {PICTURE}")
    largest = max([figures["gradient"]["masked"], *(row["differences"]["masked"] for row in figures["images"])])
    if not largest < TOLERANCE:
        raise SystemExit(f"variable_sizes.py: masked, an image alone differs from itself in the batch by {largest:.1e}")


def main(argv: Sequence[str] | None = None) -> int:
    return cli.main(parser(), {"widths": [8, 8, 8, 8]}, run, argv)


if __name__ == "__main__":
    sys.exit(main())
