"""Runs a mutant of the grad_input kernels over a fixed set of cases: `python mutant_grad_input_cases.py LIBRARY
[tf32]`.

Prints one line, `passed`, or what the first failure is: the kind of an emulator's error, `wrong` or `counters`.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from forward_case import Case, decode, encode, line
from forward_case import expected_mma as forward_mma
from grad_input_case import answer, check, expected_mma, make_data, run
from mutant_library import KernelError, MutantLibrary, variant
from row_order_case import grad_input_order

BLOCK = 64  # both tiles are 64 x 64

BASE = Case(channels=8, filters=8, valid_fraction=0.7)
MMA_CASES = [
    Case(channels=64, filters=64, size=(1, 8, 16), valid_fraction=0.9),  # whole tiles: conflicts would show
    Case(channels=72, filters=40, size=(1, 8, 16), batch=2),  # tails of both, several steps of each tap
    replace(line(BASE, 70), channels=64),
    replace(BASE, groups=2, channels=16, filters=16, batch=2, mask_batch=1, size=(1, 5, 7)),
    replace(BASE, dilation=(1, 2, 3), stride=(1, 2, 2), padding=((0, 0), (2, 0), (3, 4)), batch=2),
    replace(BASE, dilation=(1, 1, 4), stride=(1, 3, 3), size=(1, 10, 11), kernel=(1, 2, 3)),
    replace(line(BASE, 70, kernel=40), valid_fraction=0.1),
]
SIMT_CASES = [
    Case(dtype="float32", channels=70, filters=3, batch=2, size=(1, 6, 7)),
    Case(dtype="float32", groups=2, channels=6, filters=20, stride=(1, 1, 2)),
]
COUNTED = [
    Case(size=(1, 18, 16), valid_fraction=0.05),
    Case(channels=8, filters=8, size=(1, 24, 24), stride=(1, 2, 2), valid_fraction=0.9),
]
ORDERED = [
    Case(channels=8, filters=8, size=(1, 18, 19), batch=2, valid_fraction=0.3),
    replace(BASE, dilation=(1, 2, 3), stride=(1, 2, 2), padding=((0, 0), (2, 0), (3, 4)), batch=2),
    replace(line(BASE, 70, kernel=40), stride=(1, 1, 3), valid_fraction=0.3),
    Case(dtype="float32", channels=70, filters=3, batch=2, size=(1, 6, 7), mask_batch=1),
]


def outcome(path: str, tf32: bool) -> str:
    mutant, of = MutantLibrary(path), variant(tf32)
    try:
        for case in map(of, MMA_CASES if tf32 else MMA_CASES + SIMT_CASES):
            counters = check(mutant, case).counters
            if counters["bank_conflicts"]:
                return f"counters: {counters['bank_conflicts']} bank conflicts in {case}"
        check(mutant, of(replace(BASE, groups=2, channels=16, filters=16, batch=2)), windows=2)
        for case in map(of, COUNTED):
            mma = check(mutant, case).counters["mma"]
            wanted = expected_mma(case, answer(case, make_data(case)).live, BLOCK, BLOCK, 16 if tf32 else 32)
            if mma != wanted:
                return f"counters: {mma} mma, expected {wanted} in {case}"
        for case in [] if tf32 else ORDERED:
            data = make_data(case)
            order = grad_input_order(mutant, case, data)
            mma = check(mutant, case, row_order=order).counters["mma"]
            live = answer(case, data).live.reshape(case.taps, -1)
            # Columns and reduction change places.
            wanted = forward_mma(
                replace(case, channels=case.filters, filters=case.channels), live[:, order], BLOCK, BLOCK
            )
            if mma != wanted and case.dtype == "bfloat16":
                return f"counters: {mma} mma, expected {wanted} in {case} with an order"
        case = of(BASE)
        data = make_data(case)
        data.weight[...] = encode(np.array(np.inf), case.dtype)
        holes = decode(run(mutant, case, data).grad_input, case.dtype)[data.mask == 0]
        assert not holes.any(), "infinite weights reach a hole"
    except KernelError as error:
        return str(error)
    except AssertionError as error:
        return "wrong: " + " ".join(str(error).split())[:300]
    return "passed"


if __name__ == "__main__":
    print(outcome(sys.argv[1], "tf32" in sys.argv[2:]))
