"""The cases that a mutant of the few-channels kernels runs over (mutant_library.py)."""

from __future__ import annotations

from dataclasses import replace

import forward_case
import grad_input_case
import grad_weight_case
from forward_case import Case, line
from mutant_library import MutantLibrary, check_no_conflicts, main

# Whole tiles: conflicts would show.
WHOLE = Case(channels=3, filters=64, size=(1, 8, 16), kernel=(1, 3, 7), padding=((0, 0), (1, 1), (3, 3)))
NARROW = replace(WHOLE, filters=32)  # of the forward
CASES = [
    WHOLE,
    NARROW,
    Case(channels=3, filters=5, size=(1, 12, 13)),
    Case(channels=67, filters=3, size=(1, 4, 5)),
    Case(channels=6, filters=4, groups=2, batch=2, mask_batch=1, size=(1, 5, 7)),
    replace(line(Case(channels=1, filters=66), 40, kernel=40), valid_fraction=0.3),
    Case(dtype="float32", channels=1, filters=16, size=(1, 6, 7), kernel=(1, 5, 5)),
]


def check_all(mutant: MutantLibrary, tf32: bool) -> None:
    for case in CASES:
        runs = [forward_case.check(mutant, case), grad_input_case.check(mutant, case)]
        if case.dtype == "bfloat16":
            runs += [grad_weight_case.check(mutant, case, splits=splits) for splits in (1, 2)]
        for done in runs if case is WHOLE else runs[:1] if case is NARROW else []:
            check_no_conflicts(done.counters, case)


if __name__ == "__main__":
    main(check_all)
