"""Whether a candidate's answer is right: a wrong answer has no speed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .candidates import Candidate
from .problem import Answer, Problem, Region

# Relative size of one rounding; for float32 with what Winograd's transforms lose, float64 with long sums.
ROUNDING = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-8}
# ‖out − ref‖ / ‖ref‖ in roundings, and the same of the worst element against |ref| + rms(ref).
NORM_ROUNDINGS = 2
ELEMENT_ROUNDINGS = 16
GRADIENT_SLACK = 4  # gradients pass through a rounded scale, and sum over every position


@dataclass(frozen=True)
class Verdict:
    ok: bool
    error: float  # the largest ‖out − ref‖ / ‖ref‖ of the results
    detail: str = ""


def check(candidate: Candidate, problem: Problem, answer: Answer) -> Verdict:
    """The timed call at its full size, compared where the answer is known."""
    pairs: list[tuple[str, Tensor, Tensor]] = []
    if candidate.grad is None:
        output = candidate.as_dense(candidate.run())
    else:
        # Other outputs get no gradient, so that the whole call's gradients are those of the answer.
        assert problem.grad is not None
        selected = torch.zeros_like(candidate.grad)
        for region in answer.outputs:
            _of(selected, region, problem).copy_(_of(candidate.grad, region, problem))
        output, grads = candidate.gradients(selected)
        pairs += [
            (f"grad_input of image {image}", grads[0][image], expected) for image, expected in answer.grad_input.items()
        ]
        for name, got, expected in zip(("grad_weight", "grad_bias"), grads[1:], (answer.grad_weight, answer.grad_bias)):
            assert expected is not None
            pairs.append((name, got, expected))
    pairs += [
        (f"output, image {region.image}, rows {region.first}:{region.last}", _of(output, region, problem), expected)
        for region, expected in answer.outputs.items()
    ]
    verdicts = [compare(name, got.detach(), expected) for name, got, expected in pairs]
    wrong = [verdict for verdict in verdicts if not verdict.ok]
    return Verdict(not wrong, max(v.error for v in verdicts), "; ".join(v.detail for v in wrong))


def compare(name: str, got: Tensor, expected: Tensor) -> Verdict:
    slack = GRADIENT_SLACK if name.startswith("grad") else 1
    rounding = slack * ROUNDING[got.dtype]
    if got.numel() != expected.numel():
        return Verdict(False, float("inf"), f"{name}: shape {tuple(got.shape)}, not {tuple(expected.shape)}")
    difference = got.reshape(expected.shape).double() - expected
    size = float(expected.norm())
    if size == 0:
        largest = float(difference.abs().max()) if difference.numel() else 0.0
        return Verdict(largest == 0, largest, f"{name}: {largest:.3g} where all is 0" if largest != 0 else "")
    error = float(difference.norm()) / size
    rms = size / expected.numel() ** 0.5
    worst = float((difference.abs() / (expected.abs() + rms)).max())
    # Written so that NaN fails.
    ok = error <= NORM_ROUNDINGS * rounding and worst <= ELEMENT_ROUNDINGS * rounding
    allowed = f"allowed {NORM_ROUNDINGS * rounding:.1e}, {ELEMENT_ROUNDINGS * rounding:.1e}"
    text = f"{name}: relative error {error:.3g}, worst element {worst:.3g} ({allowed})"
    return Verdict(ok, error, "" if ok else text)


def _of(output: Tensor, region: Region, problem: Problem) -> Tensor:
    # A sequence may come as an image of one row.
    if output.dim() > problem.layer.rank + 2:
        output = output.squeeze(2)
    return output[region.image : region.image + 1, :, region.first : region.last]
