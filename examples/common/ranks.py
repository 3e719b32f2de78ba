"""One process, or one of several under torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from maskconv_ext.nn import convert_sync_batchnorm

from .errors import ExampleError


@dataclass(frozen=True)
class Ranks:
    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def distribute(self, model: nn.Module) -> nn.Module:
        """The model as it is trained: of several ranks, with shared statistics and averaged gradients."""
        if self.count == 1:
            return model
        convert_sync_batchnorm(model)
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices)

    def gather(self, value: object) -> list[object]:
        """The values of all ranks, everywhere."""
        values: list[object] = [value] * self.count
        if self.count > 1:
            dist.all_gather_object(values, value)
        return values


@contextmanager
def join(device: str) -> Iterator[Ranks]:
    """The process group that torchrun describes in the environment; without it, this process alone."""
    rank, count, local = (int(os.environ.get(n, d)) for n, d in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    if device == "cuda" and local >= torch.cuda.device_count():
        raise ExampleError(f"--device cuda: got {torch.cuda.device_count()} devices, needs {local + 1}")
    ranks = Ranks(rank, count, torch.device(device, local) if device == "cuda" else torch.device(device))
    if device == "cuda":
        torch.cuda.set_device(ranks.device)
    if count > 1:
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield ranks
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
