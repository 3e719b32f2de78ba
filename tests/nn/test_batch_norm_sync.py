"""Two processes that share their statistics equal one on the joint batch."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from masked_inputs import MASKS, make, randomise
from torch import nn

from maskconv_ext.nn import MaskedBatchNorm2d, convert_sync_batchnorm

SHARES = (slice(0, 1), slice(1, 3))  # unequal
FORMS = [*MASKS, None, "empty rank"]


def batch(form):
    """Input and mask of the joint batch."""
    if form is None:
        return make(2, "bool", "shared", 3, garbage=False)[0], None
    x, mask = make(2, *(MASKS[0] if form == "empty rank" else form))
    mask = mask.expand(3, *mask.shape[1:]).clone()
    if form == "empty rank":
        mask[SHARES[0]] = False
    return x, mask


def step(layer: nn.Module, x, mask, factors):
    """Output, gradients of input and soft mask, gradients of the parameters, buffers."""
    x = x.detach().clone().requires_grad_()
    leaves = [x]
    if mask is not None and mask.is_floating_point():
        mask = mask.detach().clone().requires_grad_()
        leaves.append(mask)
    y, _ = layer(x, mask)
    grads = torch.autograd.grad((y * factors).sum(), [*leaves, *layer.parameters()])
    return [y.detach(), *grads[: len(leaves)]], list(grads[len(leaves) :]), list(layer.buffers())


def factors_of(x):
    return torch.linspace(0.5, 1.5, x.numel(), dtype=x.dtype).view(x.shape)


def work(rank: int, folder: str) -> None:
    limit = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=limit)
    torch.set_num_threads(1)
    results = {}
    for index, form in enumerate(FORMS):
        x, mask = batch(form)
        layer = convert_sync_batchnorm(randomise(MaskedBatchNorm2d(4, dtype=torch.float64)))
        share = SHARES[rank]
        of_rank = None if mask is None else mask[share]
        results[index] = step(layer, x[share], of_rank, factors_of(x)[share])
    # One rank without a mask, the other with one.
    x, _ = batch(None)
    mask = torch.ones(3, 1, 5, 6, dtype=torch.bool)
    layer = MaskedBatchNorm2d(4, sync=True, momentum=None, dtype=torch.float64)
    results["mixed"] = step(layer, x[SHARES[rank]], mask[SHARES[rank]] if rank else None, factors_of(x)[SHARES[rank]])
    # In evaluation nothing is exchanged: one rank alone does not wait for the other.
    if rank == 0:
        results["eval"] = layer.eval()(x, mask)[0].detach()
        untracked = MaskedBatchNorm2d(4, sync=True, track_running_stats=False, dtype=torch.float64).eval()
        results["untracked"] = untracked(x, mask)[0].detach()
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")
def test_two_ranks_equal_the_joint_batch(tmp_path: Path):
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    joint = {}
    for index, form in enumerate(FORMS):
        x, mask = batch(form)
        joint[index] = step(randomise(MaskedBatchNorm2d(4, dtype=torch.float64)), x, mask, factors_of(x))
    x, _ = batch(None)
    plain = MaskedBatchNorm2d(4, momentum=None, dtype=torch.float64)
    joint["mixed"] = step(plain, x, None, factors_of(x))
    for index, (per_sample, of_parameters, buffers) in joint.items():
        parts = [result[index] for result in ranks]
        assert parts[0][0][0].shape[0] == 1 and parts[1][0][0].shape[0] == 2
        torch.testing.assert_close([torch.cat(pair) for pair in zip(parts[0][0], parts[1][0])], per_sample)
        torch.testing.assert_close([a + b for a, b in zip(parts[0][1], parts[1][1])], of_parameters)
        for part in parts:
            torch.testing.assert_close(part[2], buffers)
    torch.testing.assert_close(ranks[0]["eval"], plain.eval()(x)[0].detach())
    untracked = MaskedBatchNorm2d(4, track_running_stats=False, dtype=torch.float64).eval()
    torch.testing.assert_close(ranks[0]["untracked"], untracked(x)[0].detach())
