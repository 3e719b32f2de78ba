"""Sampling batches of similar size, so that little is padded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from .collate import Size, is_int


class BucketBatchSampler(Sampler[list[int]]):
    """Batches of items of similar size, for DataLoader's `batch_sampler`.

    Each epoch the items are shuffled and taken in pools of `pool_batches` batches; a pool is halved along the axis in
    which its sizes differ most until only batches are left; and the batches are shuffled. A small pool is more random,
    a large one pads less.

    Across ranks (`world_size`), all draw the same batches, each `batch_size * world_size` items of similar size, and
    take their share: as many batches everywhere, and no rank waits for a larger one. As in DistributedSampler, items
    are repeated so that the ranks' shares are equal, or left out with `drop_last`.

    Args:
        items: sizes (ints, or one an axis: tuples, rows of an array or a tensor), or items to call `size` on; read
            once.
        batch_size: items of a batch, of one rank.
        size: size of an item, such as `lambda sample: sample["image"].shape[-2:]`. None: the items are the sizes.
        shuffle: False gives the same batches, in order of size, in each epoch.
        seed: shuffling depends on it and on the epoch given to `set_epoch`, and on nothing else.
        drop_last: leave out randomly drawn items (the last ones, without shuffle) instead of a smaller batch.
        pool_batches: batches of one pool, all ranks together.
        rank, world_size: which share to take, of how many; those of torch.distributed are not asked.

    Raises:
        ValueError: naming the argument, what it got and what it needs.

    Example:
        >>> from maskconv_ext.data import BucketBatchSampler
        >>> lengths = [3, 9, 2, 8, 3, 9]
        >>> sampler = BucketBatchSampler(lengths, 2, seed=1)
        >>> sampler.set_epoch(0)
        >>> sorted(sorted(lengths[i] for i in batch) for batch in sampler)
        [[2, 3], [3, 8], [9, 9]]
    """

    def __init__(
        self,
        items: Iterable[Any],
        batch_size: int,
        size: Callable[[Any], int | Sequence[int]] | None = None,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        pool_batches: int = 100,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("pool_batches", pool_batches), ("world_size", world_size)):
            if not is_int(value, 1):
                raise ValueError(f"BucketBatchSampler: {name}: got {value!r}, needs an int >= 1")
        if not is_int(rank, 0) or rank >= world_size:
            raise ValueError(f"BucketBatchSampler: rank: got {rank!r}, needs an int from 0 to {world_size - 1}")
        op = "BucketBatchSampler: items"
        self.sizes = [_size(op, i, item if size is None else size(item)) for i, item in enumerate(items)]
        if len({len(of_item) for of_item in self.sizes}) > 1:
            raise ValueError("BucketBatchSampler: items: got sizes of different numbers of axes, needs one number")
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.pool_batches = pool_batches
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Before each epoch, in every rank: its number, which shuffling depends on."""
        self.epoch = epoch

    def __len__(self) -> int:
        step = self.batch_size * self.world_size
        return len(self.sizes) // step if self.drop_last else -(-len(self.sizes) // step)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        count, step = len(self.sizes), self.batch_size * self.world_size
        order = torch.randperm(count, generator=generator).tolist() if self.shuffle else list(range(count))
        if self.drop_last:
            order = order[: count // step * step]
        elif count:
            order = [order[i % count] for i in range(-(-count // self.world_size) * self.world_size)]
        pool = self.pool_batches * step if self.shuffle else max(len(order), 1)
        batches = [batch for start in range(0, len(order), pool) for batch in self._split(order[start : start + pool])]
        if self.shuffle:
            batches = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        for batch in batches:
            yield batch[self.rank :: self.world_size]

    def _split(self, items: list[int]) -> list[list[int]]:
        """Batches for all ranks; only the last may be smaller."""
        step = self.batch_size * self.world_size
        if len(items) <= step:
            return [items]
        axes = list(zip(*(self.sizes[i] for i in items)))
        spreads = [max(sizes) / max(min(sizes), 1) for sizes in axes]
        widest = spreads.index(max(spreads))
        ordered = sorted(items, key=lambda i: self.sizes[i][widest])
        half = -(-len(items) // step) // 2 * step
        return self._split(ordered[:half]) + self._split(ordered[half:])


def padded_fraction(sizes: Sequence[int | Sequence[int]], batches: Iterable[Sequence[int]]) -> float:
    """Which share of all padded batches is padding: 1 - (sum of the items' sizes) / (sum of the batches' sizes).

    Args:
        sizes: of each item: an int, or one an axis.
        batches: item numbers of each batch, as a batch sampler gives them.

    Example:
        >>> from maskconv_ext.data import padded_fraction
        >>> padded_fraction([(2, 2), (2, 4)], [[0, 1]])
        0.25
    """
    used = padded = 0
    for batch in batches:
        if not len(batch):
            continue
        of_batch = np.array([_size("padded_fraction: sizes", i, sizes[i]) for i in batch], dtype=np.int64)
        used += int(of_batch.prod(1).sum())
        padded += len(of_batch) * int(of_batch.max(0).prod())
    return 1 - used / padded if padded else 0.0


def _size(op: str, i: int, size: Any) -> Size:
    listed = size.tolist() if isinstance(size, torch.Tensor | np.ndarray | np.integer) else size
    values = tuple(listed) if isinstance(listed, Sequence) else (listed,)
    if not values or not all(is_int(n, 0) for n in values):
        raise ValueError(f"{op}: got size {size!r} of item {i}, needs ints >= 0")
    return values
