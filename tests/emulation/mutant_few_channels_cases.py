"""Runs a mutant of the few-channels kernels over fixed cases: `python mutant_few_channels_cases.py LIBRARY`.

Prints one line, `passed`, or what the first failure is: the kind of an emulator's error, `wrong` or `counters`.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import forward_case
import grad_input_case
import grad_weight_case
import mutant_grad_weight_cases
from forward_case import Case, line
from mutant_library import KernelError, MutantLibrary

# Whole tiles: conflicts would show.
WHOLE = Case(channels=3, filters=64, size=(1, 8, 16), kernel=(1, 3, 7), padding=((0, 0), (1, 1), (3, 3)))
CASES = [
    WHOLE,
    Case(channels=3, filters=5, size=(1, 12, 13)),
    Case(channels=67, filters=3, size=(1, 4, 5)),
    Case(channels=6, filters=4, groups=2, batch=2, mask_batch=1, size=(1, 5, 7)),
    replace(line(Case(channels=1, filters=66), 40, kernel=40), valid_fraction=0.3),
    Case(dtype="float32", channels=1, filters=16, size=(1, 6, 7), kernel=(1, 5, 5)),
]


def outcome(path: str) -> str:
    mutant, weight_mutant = MutantLibrary(path), mutant_grad_weight_cases.MutantLibrary(path)
    try:
        for case in CASES:
            counters = [forward_case.check(mutant, case).counters, grad_input_case.check(mutant, case).counters]
            if case.dtype == "bfloat16":
                counters += [grad_weight_case.check(weight_mutant, case, splits=n).counters for n in (1, 2)]
            if case is WHOLE and any(one["bank_conflicts"] for one in counters):
                return f"counters: bank conflicts in {case}"
    except KernelError as error:
        return str(error)
    except AssertionError as error:
        return "wrong: " + " ".join(str(error).split())[:300]
    return "passed"


if __name__ == "__main__":
    print(outcome(sys.argv[1]))
