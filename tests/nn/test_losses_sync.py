"""Losses of two processes that share their sums: the loss of one process on the joint batch, and its gradient."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from masked_inputs import MASKS, make

from maskconv_ext import losses

SHARES = (slice(0, 1), slice(1, 3))  # unequal, as are the numbers of valid positions
FORMS = [*MASKS, None, "empty rank"]


def batch(form):
    """Input, target and mask of the joint batch."""
    row = MASKS[0] if form in (None, "empty rank") else form
    x, mask = make(2, *row, garbage=False)
    mask = None if form is None else mask.expand(3, *mask.shape[1:]).clone()
    if form == "empty rank":
        mask[SHARES[0]] = False
    return x, torch.rand(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1)), mask


def of_one_channel(mask):
    return None if mask is None else mask[:, :1]


def labels(target):
    return (target[:, 0] * 4).long()


def dice(x, target, mask, **options):
    return losses.masked_dice(x.softmax(1), labels(target), of_one_channel(mask), **options)


CASES = {
    "mean": lambda x, t, m, **o: losses.masked_mean(x, m, **o),
    "mse": losses.masked_mse,
    "l1": losses.masked_l1,
    "bce": losses.masked_bce_with_logits,
    "huber": lambda x, t, m, **o: losses.masked_loss(F.huber_loss, x, t, m, delta=0.7, **o),
    "module": lambda x, t, m, **o: losses.MaskedLoss(F.smooth_l1_loss, beta=2, **o)(x, t, m),
    "cross entropy": lambda x, t, m, **o: losses.masked_cross_entropy(
        x, labels(t), of_one_channel(m), weight=torch.linspace(1, 2, x.shape[1], dtype=x.dtype), **o
    ),
    "dice": dice,
    "dice of classes": lambda x, t, m, **o: dice(x, t, m, reduction="none", **o).square().sum(),
    "dice per sample": lambda x, t, m, **o: dice(x, t, m, per_sample=True, **o),
}


def step(loss_fn, x, target, mask, **options):
    """The loss, and the gradients of the input and of a soft mask."""
    leaves = [x := x.detach().clone().requires_grad_()]
    if mask is not None and mask.is_floating_point():
        leaves.append(mask := mask.detach().clone().requires_grad_())
    loss = loss_fn(x, target, mask, **options)
    return loss.detach(), list(torch.autograd.grad(loss, leaves))


def work(rank: int, folder: str) -> None:
    limit = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=limit)
    torch.set_num_threads(1)
    results = {}
    for index, form in enumerate(FORMS):
        for name, loss_fn in CASES.items():
            x, target, mask = batch(form)
            share = SHARES[rank]
            of_rank = None if mask is None else mask[share]
            results[index, name] = step(loss_fn, x[share], target[share], of_rank, sync=True)
    results["group"] = losses.masked_mean(torch.tensor([rank, 1.0]), sync=dist.group.WORLD)
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")
def test_two_ranks_equal_the_joint_batch(tmp_path: Path):
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    got, wanted = {}, {}
    for index, form in enumerate(FORMS):
        for name, loss_fn in CASES.items():
            loss, grads = step(loss_fn, *batch(form))
            wanted[form, name] = loss, loss, *grads
            losses_of_ranks, grads_of_ranks = zip(*(result[index, name] for result in ranks))
            # DistributedDataParallel averages over the ranks: half the gradient of each.
            got[form, name] = *losses_of_ranks, *(torch.cat(pair) / 2 for pair in zip(*grads_of_ranks))
    torch.testing.assert_close(got, wanted)
    assert ranks[0]["group"] == ranks[1]["group"] == 0.75


def test_alone_it_changes_nothing():
    for loss_fn in CASES.values():
        x, target, mask = batch(MASKS[0])
        torch.testing.assert_close(step(loss_fn, x, target, mask, sync=True), step(loss_fn, x, target, mask))


def test_wrong_calls():
    x = torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match="masked_mse: sync: got True with reduction 'sum', needs reduction 'mean'"):
        losses.masked_mse(x, x, reduction="sum", sync=True)
    with pytest.raises(TypeError, match="masked_mean: sync: got int, needs a bool, or a process group"):
        losses.masked_mean(x, sync=1)
    with pytest.raises(ValueError, match="masked_dice: sync: got True with reduction 'none'"):
        losses.masked_dice(x, torch.zeros(1, 3).long(), per_sample=True, reduction="none", sync=True)
