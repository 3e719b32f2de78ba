"""The training loop: one process or several, float32 or bfloat16, with a progress bar and checkpoints that resume."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from . import checkpoint
from .batches import ResumableBatches
from .errors import ExampleError
from .ranks import Ranks

Batch = tuple[Tensor, ...]
Loss = Callable[[Tensor, Batch], Tensor]  # of the prediction and the batch; over all ranks (`sync=True`)
WARM_UP = 20  # steps
EPOCH = 32  # steps; samples are drawn anew in each


@dataclass(frozen=True)
class Settings:
    """What a loss curve depends on, besides model and data."""

    steps: int
    batch: int  # of all ranks together
    learning_rate: float
    seed: int
    precision: str  # fp32 or bf16


@dataclass(frozen=True)
class Trained:
    model: nn.Module
    losses: list[float]  # of each step
    cpu_seconds: float  # of this process, all threads

    def figures(self) -> dict[str, Any]:
        """For results.json: the curve as means of 10 steps."""
        means = [sum(part) / len(part) for part in (self.losses[i : i + 10] for i in range(0, len(self.losses), 10))]
        return {"losses": [round(mean, 6) for mean in means], "cpu_seconds": round(self.cpu_seconds, 2)}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to 0."""
    return min((step + 1) / min(WARM_UP, steps), 1.0) * 0.5 * (1 + math.cos(math.pi * step / steps))


def train(
    title: str,
    model: nn.Module,
    loss_fn: Loss,
    dataset: Dataset[Batch],
    settings: Settings,
    about: dict[str, Any],
    ranks: Ranks,
    path: Path,
    *,
    checkpoint_every: int = 50,
    restart: bool = False,
    workers: int = 0,
) -> Trained:
    """Trains `model(x, mask)` on batches (x, mask, …) of `dataset`, whose items are called by `Key`.

    The checkpoint `path` is read first, unless `restart`: training goes on after its step. `about` is what else the
    run depends on; a checkpoint of other settings is an error. The samples of a step depend on seed and step alone, so
    the step is also the sampler's state.
    """
    from tqdm import tqdm

    described = asdict(settings) | about
    if settings.batch % ranks.count:
        raise ExampleError(f"--batch: got {settings.batch} for {ranks.count} processes, needs a multiple")
    state = None if restart else checkpoint.load(path, described)
    model = model.to(ranks.device)
    trained = ranks.distribute(model).train()
    optimizer = torch.optim.Adam(model.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, settings.steps))
    checkpoint.seed_all(settings.seed + ranks.rank)
    losses: list[float] = []
    seconds = 0.0
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        losses, seconds = state["losses"], state["cpu_seconds"]
        if ranks.rank < len(state["random"]):  # fewer ranks than before may take over, or more
            checkpoint.restore_random_state(state["random"][ranks.rank])

    first_step, started = len(losses), time.process_time() - seconds
    batches = ResumableBatches(
        EPOCH * settings.batch, settings.batch, settings.seed, first_step, settings.steps, ranks.rank, ranks.count
    )
    loader: DataLoader[Batch] = DataLoader(
        dataset, batch_sampler=batches, num_workers=workers,
        generator=torch.Generator().manual_seed(settings.seed),  # without, it draws from the global one when it starts
    )  # fmt: skip
    bar = tqdm(
        loader, title, settings.steps, initial=first_step, unit="step", disable=not ranks.first,
        mininterval=0.5 if sys.stderr.isatty() else 10,  # few lines in a log
    )  # fmt: skip
    for step, batch in enumerate(bar, first_step + 1):
        batch = tuple(part.to(ranks.device) for part in batch)
        with autocast(settings.precision, ranks.device):
            prediction = trained(batch[0], batch[1])
        loss = loss_fn(prediction.float(), batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 10 == 0:
            bar.set_postfix(loss=f"{sum(losses[-10:]) / 10:.4f}", refresh=False)
        if not math.isfinite(losses[-1]):
            raise ExampleError(f"{title}: the loss of step {step} is {losses[-1]}; a lower --learning-rate may help")
        if step % checkpoint_every == 0 or step == settings.steps:
            seconds = time.process_time() - started
            state = {
                "settings": described,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "random": ranks.gather(checkpoint.random_state()),
                "losses": losses,
                "cpu_seconds": seconds,
            }
            if ranks.first:
                checkpoint.save(path, state)
    return Trained(model, losses, seconds)
