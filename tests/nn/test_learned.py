"""LearnedFill and LearnedMask: their values, and that they learn."""

from __future__ import annotations

import pytest
import torch
from layer_checks import (
    MASK_KINDS,
    assert_gradients_are_clean,
    assert_holes_hold,
    assert_raises_first,
    assert_survives_copies,
    image_with_holes,
)

import maskconv_ext.nn as mnn

SIZE = {1: (7,), 2: (5, 4), 3: (3, 4, 2)}


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("channels", (1, 3))
def test_fill(rank, kind, channels):
    fill = mnn.LearnedFill(3, dtype=torch.float64)
    x, mask = image_with_holes((2, 3, *SIZE[rank]), channels, kind, batch=2)
    output, out_mask = fill(x, mask)
    assert out_mask is None
    for i in torch.cartesian_prod(*(torch.arange(n) for n in x.shape)).tolist():
        i = tuple(i)
        m = mask.expand(x.shape)[i].item()
        m = m if mask.is_floating_point() else float(m != 0)
        wanted = (m * x[i] if m else 0.0) + (1 - m) * fill.embedding[i[1]]
        torch.testing.assert_close(output[i], wanted)
    assert_gradients_are_clean(fill, x, mask)
    assert (fill.embedding.grad is not None) and fill.embedding.grad.isfinite().all()


def test_fill_keeps_the_mask_and_needs_none():
    x, mask = image_with_holes((2, 3, 5, 4))
    assert mnn.LearnedFill(3, keep_mask=True)(x, mask)[1] is mask
    clean = torch.rand(2, 3, 4)
    assert mnn.LearnedFill(3)(clean)[0] is clean and mnn.LearnedFill(3)(clean)[1] is None
    assert repr(mnn.LearnedFill(3, True)) == "LearnedFill(3, keep_mask=True)"
    half = mnn.LearnedFill(3)(x.half(), mask)[0]
    assert half.dtype == torch.float16 and half.isfinite().all()


def test_fill_learns_what_is_missing():
    fill = mnn.LearnedFill(1)
    optimiser = torch.optim.SGD(fill.parameters(), lr=0.5)
    x, mask = image_with_holes((4, 1, 6, 6), dtype=torch.float32)
    for _ in range(60):
        optimiser.zero_grad()
        (fill(x, mask)[0][~mask] - 3.0).square().mean().backward()
        optimiser.step()
    torch.testing.assert_close(fill.embedding.detach(), torch.tensor([3.0]))


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("kind", (None, *MASK_KINDS))
@pytest.mark.parametrize("per_channel", (False, True))
def test_mask(rank, kind, per_channel):
    learned = mnn.LearnedMask(3, 4, rank=rank, per_channel=per_channel, dtype=torch.float64)
    x, mask = image_with_holes((2, 3, *SIZE[rank]), kind=kind or "bool")
    if kind is None:
        x, mask = torch.randn_like(x), None
    output, soft = learned(x, mask)
    assert soft.shape == (2, 3 if per_channel else 1, *SIZE[rank]) and soft.dtype == torch.float64
    assert (soft >= 0).all() and (soft <= 1).all() and soft.mean() > (0.5 if kind is None else 0.1)
    if kind is None:
        assert output is x
        return
    assert_holes_hold(output, mask)
    assert_holes_hold(soft, mask)
    assert torch.equal(soft, learned(torch.where(mask != 0, x, 5.0), mask)[1]), "a hole was read"
    assert_gradients_are_clean(learned, x, mask)


def test_mask_is_a_sigmoid_of_two_masked_convolutions():
    learned = mnn.LearnedMask(3).double()
    x, mask = image_with_holes((2, 3, 6, 6), kind="float64")
    hidden, hidden_mask = learned.hidden(x, mask)
    gate, _ = learned.gate(hidden.clamp_min(0), hidden_mask)
    assert torch.equal(learned(x, mask)[1], gate.sigmoid() * mask)
    assert learned.gate.bias.item() == 2.0


def test_mask_learns_to_distrust_noise():
    """A channel says where the other one is noise; only the gradient of the convolution's mask can tell."""
    learned, conv = mnn.LearnedMask(2, 8, kernel_size=1), mnn.MaskedConv2d(2, 1, 3, padding=1, bias=False)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[:, 0] = 1 / 9
    optimiser = torch.optim.Adam(learned.parameters(), lr=0.05)
    noisy = torch.rand(4, 1, 8, 8) < 0.4
    x = torch.cat([torch.where(noisy, 10 * torch.randn(4, 1, 8, 8), 1.0), noisy.float()], 1)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (conv(*learned(x))[0] - 1.0).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    soft = learned(x)[1].detach()
    assert losses[-1] < 0.2 * losses[0] and soft[noisy].mean() < 0.3 * soft[~noisy].mean()


@pytest.mark.parametrize("module", (mnn.LearnedFill(3), mnn.LearnedMask(3)), ids=repr)
def test_copies_and_compilation(module):
    x, mask = image_with_holes((2, 3, 6, 6), dtype=torch.float32)
    assert_survives_copies(module, x, mask)


def test_masks_stay_in_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert mnn.LearnedMask(3)(torch.rand(1, 3, 4, 4))[1].dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mnn.LearnedFill(0), ValueError, "LearnedFill: channels: got 0, needs an int >= 1"),
        (lambda: mnn.LearnedMask(3, rank=4), ValueError, "LearnedMask: rank: got 4, needs 1, 2 or 3"),
        (lambda: mnn.LearnedMask(3, kernel_size=2), ValueError,
         "LearnedMask: kernel_size: got 2, needs an odd int >= 1"),
    ],
)  # fmt: skip
def test_wrong_modules(call, error, message):
    assert_raises_first(call, error, message)


def test_wrong_calls():
    x, mask = torch.zeros(2, 4, 6), torch.ones(2, 1, 6, dtype=torch.bool)
    fill, learned = mnn.LearnedFill(3), mnn.LearnedMask(4)
    message = "LearnedFill: input: got shape (2, 4, 6), needs 3 channels in dimension 1"
    assert_raises_first(lambda: fill(x, mask), ValueError, message)
    message = "LearnedMask: input: got shape (2, 4, 6), needs 4 dimensions (N, C, H, W)"
    assert_raises_first(lambda: learned(x, mask), ValueError, message)
    message = "LearnedFill: mask: got shape (2, 2, 6) for input (2, 3, 6), needs (1 or 2, 1 or 3, 6)"
    x, mask = x[:, :3], mask.expand(2, 2, 6)
    assert_raises_first(lambda: fill(x, mask), ValueError, message)
