"""One product summed over channels for the emulated kernel: random data full of traps, and a float64 answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from forward_case import ACCUMULATOR_ROUNDING, decode, encode, guarded, poisoned
from masks_case import Case, make_mask, mask_argument, of_channels


def check(emulation: Any, case: Case, seed: int = 0, preempt: bool = False) -> dict[str, Any]:
    """Runs the case (its batch, size, channels and mask) and compares all it wrote; returns what the emulation said."""
    rng = np.random.default_rng(case.seed + 1)
    mask = make_mask(case)
    assert mask is not None
    shape = (case.batch, *case.size, case.channels)
    counts = np.broadcast_to(of_channels(case, mask) != 0, shape)
    traps = encode(np.array([np.nan, np.inf, -np.inf]), case.dtype)
    arrays = {}
    for name in ("a", "b"):
        values = encode(rng.standard_normal(shape), case.dtype)
        values[~counts] = rng.choice(traps, int((~counts).sum()))
        arrays[name] = guarded(values, case.offset)
    parts = case.parts or (case.channels,)
    arrays["dots"] = poisoned((case.batch, *case.size, len(parts)), case.wide)
    done = emulation.channel_dot(
        case.problem(), case.dtype, mask_argument(case, mask), arrays, seed=seed, preempt=preempt
    )

    factors = [np.where(counts, decode(arrays[name], case.dtype), 0.0) for name in ("a", "b")]
    terms = np.split(factors[0] * factors[1], np.cumsum(parts)[:-1], axis=-1)
    total = np.stack([part.sum(-1) for part in terms], -1)
    magnitude = np.stack([np.abs(part).sum(-1) for part in terms], -1)
    bound = (max(parts) + 1) * ACCUMULATOR_ROUNDING[case.dtype] * magnitude
    wrong = ~(np.abs(arrays["dots"] - total) <= bound)  # NaN too
    assert not wrong.any(), f"{wrong.sum()} of {wrong.size} sums are wrong, the first at {np.argwhere(wrong)[0]}"
    return {**done, "dots": arrays["dots"]}
