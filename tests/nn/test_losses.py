"""Losses over valid positions, against torch's own losses of the lists of valid values."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from masked_inputs import MASKS, make

from maskconv_ext import losses

ELEMENTWISE = {
    "mse": (losses.masked_mse, F.mse_loss),
    "l1": (losses.masked_l1, F.l1_loss),
    "bce": (losses.masked_bce_with_logits, F.binary_cross_entropy_with_logits),
    "huber": (lambda *args, **kw: losses.masked_loss(F.huber_loss, *args, delta=0.7, **kw),
              lambda *args, **kw: F.huber_loss(*args, delta=0.7, **kw)),
    "module": (lambda *args, reduction="mean": losses.MaskedLoss(F.smooth_l1_loss, reduction=reduction, beta=2)(*args),
               lambda *args, **kw: F.smooth_l1_loss(*args, beta=2, **kw)),
}  # fmt: skip


def elements(mask, like):
    m = mask if mask.is_floating_point() else (mask != 0).double()
    return m.expand_as(like)


def grads(loss, *leaves):
    return torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("row", MASKS, ids=str)
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", list(ELEMENTWISE))
def test_elementwise(device, name, rank, row):
    masked, plain = ELEMENTWISE[name]
    x, mask = make(rank, *row, device=device)
    target = torch.where(mask != 0, torch.rand_like(x), torch.nan)
    x = (x * 0.3).requires_grad_()
    m = elements(mask, x)
    valid = m > 0
    each = plain(x[valid], target[valid], reduction="none") * m[valid]
    wanted = {"sum": each.sum(), "mean": each.sum() / m.sum(), "none": torch.zeros_like(x).masked_scatter(valid, each)}
    for reduction, value in wanted.items():
        got = masked(x, target, mask, reduction=reduction)
        torch.testing.assert_close(got, value)
        grad, wanted_grad = grads(got.sum(), x)[0], grads(value.sum(), x)[0]
        torch.testing.assert_close(grad[valid], wanted_grad[valid])
        assert (grad[~valid] == 0).all()
    torch.testing.assert_close(
        masked(x.detach().nan_to_num(0, 0, 0), target.nan_to_num()),
        plain(x.detach().nan_to_num(0, 0, 0), target.nan_to_num()),
    )


@pytest.mark.parametrize("row", MASKS, ids=str)
def test_masked_mean(row):
    values, mask = make(2, *row)
    m = elements(mask, values).numpy()
    wanted = np.average(values.numpy()[m > 0], weights=m[m > 0])
    assert losses.masked_mean(values, mask).item() == pytest.approx(wanted, rel=1e-12)
    assert losses.masked_mean(torch.arange(6.0).view(2, 3), torch.tensor([[1.0], [0.0]])) == 1.0
    assert losses.masked_mean(torch.tensor([1.0, 3.0])) == 2.0 and losses.masked_mean(torch.zeros(0)) == 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_sums_in_float32(device, dtype):
    """A sum beyond 65504, and more terms than bfloat16 counts."""
    x = torch.full((2, 1, 4000), 30.0, dtype=dtype, device=device)
    mask = torch.ones(1, 1, 4000, device=device)
    mask[..., 100:] = 0
    mean = losses.masked_mse(x, torch.zeros_like(x), mask)
    assert mean.dtype == torch.float32 and mean == 900.0
    assert losses.masked_mse(x, torch.zeros_like(x), reduction="sum") == 7200000.0
    assert losses.masked_mse(x, torch.zeros_like(x), mask, reduction="none").dtype == dtype


def labels(mask, classes, ignored):
    rng = torch.Generator().manual_seed(1)
    target = torch.randint(0, classes, (3, *mask.shape[2:]), generator=rng)
    target[:, 0] = ignored
    return torch.where(mask.expand(3, *mask.shape[1:]).squeeze(1) != 0, target, 999)  # out of range under holes


@pytest.mark.parametrize("options", [{}, {"weight": [0.5, 2.0, 1.0, 3.0]}, {"label_smoothing": 0.2}], ids=str)
@pytest.mark.parametrize("row", [row for row in MASKS if row[1] == "shared"], ids=str)
@pytest.mark.parametrize(("rank", "ignored"), [(1, -100), (2, 3), (3, -1)])
def test_cross_entropy(device, rank, row, ignored, options):
    logits, mask = make(rank, *row, device=device)
    target = labels(mask.cpu(), 4, ignored).to(device)
    logits.requires_grad_()
    options = {
        k: torch.tensor(v, dtype=torch.float64, device=device) if k == "weight" else v for k, v in options.items()
    }
    m = elements(mask.expand(3, *mask.shape[1:]).squeeze(1), target)
    valid = (m > 0) & (target != ignored)
    rows, chosen, m = logits.movedim(1, -1)[valid], target[valid], m[valid]
    each = F.cross_entropy(rows, chosen, reduction="none", **options) * m
    divisor = (m * options["weight"][chosen] if "weight" in options else m).sum()
    none = torch.zeros(target.shape, dtype=torch.float64, device=device).masked_scatter(valid, each)
    for reduction, value in {"mean": each.sum() / divisor, "sum": each.sum(), "none": none}.items():
        got = losses.masked_cross_entropy(logits, target, mask, ignore_index=ignored, reduction=reduction, **options)
        torch.testing.assert_close(got, value)
        grad, wanted = (grads(v.sum(), logits)[0].movedim(1, -1) for v in (got, value))
        torch.testing.assert_close(grad[valid], wanted[valid])
        assert (grad[~valid] == 0).all()
    safe, target = logits.detach().nan_to_num(0, 0, 0), target.clamp(-100, 3)
    torch.testing.assert_close(
        losses.masked_cross_entropy(safe, target, ignore_index=ignored, **options),
        F.cross_entropy(safe, target, ignore_index=ignored, **options),
    )


def test_cross_entropy_of_bytes_and_of_no_positions_axis():
    logits, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 255, 1], dtype=torch.uint8)
    wanted = F.cross_entropy(logits[:3], target[:3].long())
    got = losses.masked_cross_entropy(logits, target, torch.tensor([[1], [1], [1], [1], [0]]).bool(), ignore_index=255)
    torch.testing.assert_close(got, wanted)
    # -100 is no byte: nothing is ignored, least of all 156, which it would wrap to.
    target = torch.tensor([0, 1, 2, 156, 1], dtype=torch.uint8)
    hole = torch.tensor([[1], [1], [1], [0], [0]]).bool()
    torch.testing.assert_close(losses.masked_cross_entropy(logits, target, hole), wanted)


@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("row", [row for row in MASKS if row[1] == "shared"], ids=str)
@pytest.mark.parametrize("rank", [0, 2])
def test_dice(rank, row, per_sample, smooth):
    x, mask = make(rank, *row)
    p = x.softmax(1).requires_grad_()
    m = (mask if mask.is_floating_point() else (mask != 0).double()).expand(3, *mask.shape[1:]).squeeze(1)
    target = labels(mask, 4, -100) if rank else torch.where(m != 0, torch.tensor([1, 0, 2]), 999)
    valid = (m > 0) & (target != -100)
    pairs = [([n] if per_sample else [0, 1, 2], c) for n in range(3 if per_sample else 1) for c in range(4)]
    wanted, known = [], []
    for samples, c in pairs:
        above = below = 0.0
        for n in samples:
            for q in np.ndindex(*target.shape[1:]):
                if valid[(n, *q)]:
                    t = float(target[(n, *q)] == c)
                    above = above + 2 * m[(n, *q)] * p[(n, c, *q)] * t
                    below = below + m[(n, *q)] * (p[(n, c, *q)] + t)
        wanted.append(torch.as_tensor(1 - (above + smooth) / (below + smooth) if below + smooth else 0.0).double())
        known.append(any(bool(valid[n].any()) for n in samples))
    wanted, known = torch.stack(wanted), torch.tensor(known)
    options = dict(smooth=smooth, per_sample=per_sample)
    torch.testing.assert_close(losses.masked_dice(p, target, mask, **options), wanted[known].mean())
    got = losses.masked_dice(p, target, mask, reduction="none", **options)
    torch.testing.assert_close(got.flatten(), wanted * known)
    assert got.shape == ((3, 4) if per_sample else (4,))
    one_hot = torch.stack([target == c for c in range(4)], 1).double()
    one_hot[(m == 0).unsqueeze(1).expand_as(one_hot)] = torch.nan
    both = mask * valid.unsqueeze(1)
    torch.testing.assert_close(losses.masked_dice(p, one_hot, both, **options), wanted[known].mean())
    assert torch.isfinite(grads(got.sum(), p)[0]).all()


CALLS = {
    "mean": lambda x, mask: losses.masked_mean(x, mask),
    "mse": lambda x, mask: losses.masked_mse(x, torch.full_like(x, torch.nan), mask),
    "bce": lambda x, mask: losses.masked_bce_with_logits(x, torch.full_like(x, torch.inf), mask),
    "log": lambda x, mask: losses.masked_loss(lambda a, b, reduction: (a.log() - b) / b, x, x.detach(), mask),
    "cross entropy": lambda x, mask: losses.masked_cross_entropy(x, torch.full((3, 5, 6), 999), mask),
    "all ignored": lambda x, _: losses.masked_cross_entropy(x, torch.full((3, 5, 6), -100)),
    "dice": lambda x, mask: losses.masked_dice(x, torch.full((3, 5, 6), 999), mask),
    "dice of samples": lambda x, mask: losses.masked_dice(x, torch.zeros(3, 5, 6).long(), mask, per_sample=True),
    "ratio": lambda x, mask: losses.masked_dice(x, torch.zeros(3, 5, 6).long(), mask, smooth=0),
}


@pytest.mark.parametrize("dtype", [torch.bool, torch.float64])
@pytest.mark.parametrize("name", list(CALLS))
def test_without_a_valid_position_loss_and_gradient_are_0(name, dtype):
    x = torch.full((3, 4, 5, 6), torch.nan, dtype=torch.float64, requires_grad=True)
    loss = CALLS[name](x, torch.zeros(1, 1, 5, 6, dtype=dtype))
    assert loss.shape == () and loss == 0 and (grads(loss, x)[0] == 0).all()


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("log", "mse", "bce", "all ignored")])
def test_gradients_of_a_soft_mask(name):
    x, mask = make(2, "soft", "shared", 3, garbage=False)
    x, mask = x.softmax(1)[..., :3, :2].requires_grad_(), (mask[..., :3, :2] + 0.1).requires_grad_()
    target = torch.arange(18).view(3, 3, 2) % 4
    call = {
        "mean": lambda: losses.masked_mean(x, mask),
        "cross entropy": lambda: losses.masked_cross_entropy(x, target, mask),
        "dice": lambda: losses.masked_dice(x, target, mask),
        "dice of samples": lambda: losses.masked_dice(x, target, mask, per_sample=True),
        "ratio": lambda: losses.masked_dice(x, target, mask, smooth=0),
    }[name]
    assert torch.autograd.gradcheck(lambda *_: call(), [x, mask])


@pytest.mark.parametrize("name", ["mse", "cross entropy", "dice"])
def test_compiled_equals_eager(name):
    x, mask = make(2, "bool", "shared", 3, garbage=False)
    target = torch.arange(90).view(3, 5, 6) % 4

    def step(x, mask):
        if name == "mse":
            return losses.masked_mse(x, x.flip(1), mask)
        return (losses.masked_dice if name == "dice" else losses.masked_cross_entropy)(x, target, mask)

    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(step, backend="aot_eager", fullgraph=True)(x, mask), step(x, mask))


def test_modules_of_torch_and_bool_targets():
    x, mask = make(2, "bool", "shared", 3)
    target = torch.zeros_like(x)
    wanted = losses.masked_loss(F.huber_loss, x, target, mask, delta=0.7)
    huber = torch.nn.HuberLoss(reduction="none", delta=0.7)
    assert losses.masked_loss(huber, x, target, mask) == losses.MaskedLoss(huber)(x, target, mask) == wanted
    yes = x > 5
    for loss in (losses.masked_bce_with_logits, losses.masked_dice):
        assert loss(x, yes, mask) == loss(x, yes.double(), mask) and loss(x, yes, mask).isfinite()


def test_module_is_picklable():
    loss = pickle.loads(pickle.dumps(losses.MaskedLoss(F.huber_loss, reduction="sum", delta=2.0)))
    assert repr(loss) == "MaskedLoss(huber_loss, reduction='sum', delta=2.0)"
    assert loss(torch.ones(1, 1, 2), torch.zeros(1, 1, 2)) == 1.0


X, M, T = torch.zeros(2, 4, 6), torch.ones(2, 1, 6, dtype=torch.bool), torch.zeros(2, 6, dtype=torch.long)
CHOICES = "needs one of 'mean', 'sum', 'none'"
ERRORS = [
    (lambda: losses.masked_mean([1.0]), "masked_mean: values: got list, needs a Tensor"),
    (lambda: losses.masked_mean(T),
     "masked_mean: values: got torch.int64, needs float16, bfloat16, float32 or float64"),
    (lambda: losses.masked_mean(X, M[0]),
     "masked_mean: mask: got shape (1, 6) for values (2, 4, 6), needs (1 or 2, 1 or 4, 1 or 6)"),
    (lambda: losses.masked_mse(X, X[:1], M), "masked_mse: target: got shape (1, 4, 6), needs (2, 4, 6), that of input"),
    (lambda: losses.masked_l1(X, 0.0, M), "masked_l1: target: got float, needs a Tensor"),
    (lambda: losses.masked_mse(X, X, M, reduction="avg"), f"masked_mse: reduction: got 'avg', {CHOICES}"),
    (lambda: losses.MaskedLoss(F.l1_loss, reduction=None), f"MaskedLoss: reduction: got None, {CHOICES}"),
    (lambda: losses.masked_bce_with_logits(X, X, M[..., :5]),
     "masked_bce_with_logits: mask: got shape (2, 1, 5) for input (2, 4, 6), needs (1 or 2, 1 or 4, 6)"),
    (lambda: losses.masked_loss(lambda a, b, reduction: (a - b).mean(1), X, X, M),
     "masked_loss: loss_fn: made shape (2, 6) of (2, 4, 6), needs an elementwise loss, without reduction"),
    (lambda: losses.masked_cross_entropy(X, X, M),
     "masked_cross_entropy: target: got torch.float32, needs class numbers of an integer dtype"),
    (lambda: losses.masked_cross_entropy(X, T[:, None], M),
     "masked_cross_entropy: target: got shape (2, 1, 6), needs (2, 6), one class a position"),
    (lambda: losses.masked_cross_entropy(X, T, M.expand(2, 4, 6)),
     "masked_cross_entropy: mask: got shape (2, 4, 6) for input (2, 4, 6), needs (1 or 2, 1, 6)"),
    (lambda: losses.masked_cross_entropy(X, T, M, weight=torch.ones(3)),
     "masked_cross_entropy: weight: got shape (3,), needs (4,), one a class"),
    (lambda: losses.masked_cross_entropy(X, T, M, weight=[1.0] * 4),
     "masked_cross_entropy: weight: got list, needs a Tensor or None"),
    (lambda: losses.masked_cross_entropy(X, T, M, weight=torch.ones(4).double()),
     "masked_cross_entropy: weight: got torch.float64, needs torch.float32, the dtype of input"),
    (lambda: losses.masked_cross_entropy(X, T, M, label_smoothing=2),
     "masked_cross_entropy: label_smoothing: got 2, needs a number in [0, 1]"),
    (lambda: losses.masked_cross_entropy(X, T.to("meta"), M),
     "masked_cross_entropy: target: got device meta, needs cpu, the device of input"),
    (lambda: losses.masked_mse(X, X.to("meta"), M), "masked_mse: target: got device meta, needs cpu, the device of "
                                                    "input"),
    (lambda: losses.masked_loss("mse", X, X, M), "masked_loss: loss_fn: got str, needs a function or a module"),
    (lambda: losses.masked_loss(torch.nn.MSELoss(), X, X, M),
     "masked_loss: loss_fn: made shape () of (2, 4, 6), needs an elementwise loss, without reduction"),
    (lambda: losses.masked_dice(X, T, M, smooth=-1), "masked_dice: smooth: got -1, needs a number >= 0"),
    (lambda: losses.masked_dice(X, X[:, :1], M),
     "masked_dice: target: got shape (2, 1, 6), needs (2, 4, 6), that of input"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[row[1][:45] for row in ERRORS])
def test_wrong_call(call, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value) == message
