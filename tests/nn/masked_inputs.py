"""Inputs and masks of the layers' tests."""

from __future__ import annotations

import math

import numpy as np
import torch

SIZES = {0: (), 1: (7,), 2: (5, 6), 3: (3, 4, 2)}
GARBAGE = (math.nan, math.inf, -math.inf, 1e300)
# (form, channels of the mask: shared or one each, its batch)
MASKS = [
    ("bool", "shared", 3),
    ("bool", "channels", 3),
    ("uint8", "shared", 1),
    ("soft", "shared", 3),
    ("soft", "channels", 1),
]


def make(rank: int, form: str, channels: str, batch: int, c: int = 4, garbage: bool = True, device: str = "cpu"):
    """Input (3, c, *S) in float64, far from 0, with rubbish in the holes; and a mask."""
    rng = np.random.default_rng(rank + 10 * batch)
    x = rng.standard_normal((3, c, *SIZES[rank])) * 2 + 5
    shape = (batch, c if channels == "channels" else 1, *SIZES[rank])
    valid = rng.random(shape) < (0.6 if rank else 0.9)
    values = {"bool": valid, "uint8": valid.astype(np.uint8) * 255, "soft": valid * rng.uniform(0.1, 1.0, shape)}
    mask = torch.from_numpy(np.asarray(values[form])).to(device)
    if garbage:
        x = np.where(valid, x, rng.choice(GARBAGE, x.shape))
    return torch.from_numpy(x).to(device), mask


def weights(mask: torch.Tensor, like: torch.Tensor) -> np.ndarray:
    """m of each element."""
    m = mask if mask.is_floating_point() else mask != 0
    return np.broadcast_to(m.detach().cpu().double().numpy(), like.shape)


def standardise(values: np.ndarray, m: np.ndarray, eps: float):
    """Normalised values (0 where m is 0), mean, variance and number of valid ones, from the list of valid ones."""
    valid = m > 0
    output = np.zeros_like(values)
    if not valid.any():
        return output, 0.0, 0.0, 0
    mean = np.average(values[valid], weights=m[valid])
    variance = np.average((values[valid] - mean) ** 2, weights=m[valid])
    output[valid] = (values[valid] - mean) / math.sqrt(variance + eps)
    return output, mean, variance, int(valid.sum())


def randomise(module: torch.nn.Module) -> torch.nn.Module:
    """Parameters that are neither 0 nor 1."""
    rng = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        parameter.data.copy_(torch.rand(parameter.shape, generator=rng) + 0.5)
    return module


def grads_of(module: torch.nn.Module, x: torch.Tensor, mask: torch.Tensor | None):
    """Output, and gradients of a loss that tells all elements apart, for x, the parameters and a soft mask."""
    leaves = [x.detach().clone().requires_grad_()]
    if mask is not None and mask.is_floating_point():
        mask = mask.detach().clone().requires_grad_()
        leaves.append(mask)
    output = module(leaves[0], mask)[0]
    factors = torch.linspace(0.5, 1.5, output.numel(), device=x.device, dtype=x.dtype).view(output.shape)
    leaves += module.parameters()
    return output, torch.autograd.grad((output * factors).sum(), leaves, allow_unused=True, materialize_grads=True)
