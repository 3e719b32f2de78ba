"""Which samples a step trains on: a function of the seed and the step, so that runs resume anywhere, on any ranks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from maskconv_ext.data import BucketBatchSampler

Key = tuple[int, int]  # epoch and sample


class ResumableBatches(Sampler[list[Key]]):
    """The keys of each step's samples, for DataLoader's `batch_sampler`, from `first_step` on.

    `batch` is of all ranks together, of which each takes its share. `samples` of one epoch is a multiple of it.
    """

    def __init__(
        self, samples: int, batch: int, seed: int, first_step: int, steps: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self.sampler = BucketBatchSampler(
            [1] * samples, batch // ranks, seed=seed, drop_last=True, rank=rank, world_size=ranks
        )
        self.first_step, self.steps = first_step, steps

    def __len__(self) -> int:
        return max(self.steps - self.first_step, 0)

    def __iter__(self) -> Iterator[list[Key]]:
        step = self.first_step
        while step < self.steps:
            epoch, position = divmod(step, len(self.sampler))
            self.sampler.set_epoch(epoch)
            for batch in list(self.sampler)[position : position + self.steps - step]:
                yield [(epoch, sample) for sample in batch]
                step += 1


def generator_of(seed: int, key: Key) -> np.random.Generator:
    """Random numbers of one sample in one epoch: the same in whatever process, order or batch it is made."""
    return np.random.default_rng((seed, *key))
