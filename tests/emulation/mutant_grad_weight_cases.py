"""The cases that a mutant of the grad_weight kernels runs over (mutant_library.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from forward_case import Case, line
from grad_weight_case import answer, check, expected_mma, make_data
from mutant_library import MutantLibrary, check_no_conflicts, check_products, main, variant

BLOCK = 64  # both tiles are 64 x 64

POINT: dict[str, Any] = {"kernel": (1, 1, 1), "padding": ((0, 0),) * 3}
BASE = Case(channels=8, filters=8, valid_fraction=0.8)
# Whole tiles without a hole, of which no bank conflict may be heard: lanes that idle could hide one.
DENSE = Case(channels=64, filters=64, size=(1, 1, 160), mask_batch=0, **POINT)
# More live rows than the list takes at once: 847, which is no whole number of steps, of 948.
MANY = replace(BASE, size=(1, 1, 1735), **POINT)
MMA_CASES = [
    (BASE, 1),  # all taps in two tiles
    (replace(BASE, channels=40, filters=72, batch=2), 2),  # tails of both
    (replace(BASE, groups=2, channels=16, filters=16, batch=2, mask_batch=1, size=(1, 5, 7)), 3),
    (replace(BASE, dilation=(1, 2, 3), stride=(1, 2, 1), padding=((0, 0), (2, 0), (3, 4)), batch=2), 1),
    (line(BASE, 70, kernel=9), 11),
]
SIMT_CASES = [
    (replace(BASE, dtype="float32", channels=3, filters=70, batch=2, size=(1, 6, 7)), 2),
    (replace(MANY, dtype="float32", channels=3, filters=3), 1),
]
COUNTED = [(MANY, 1), (Case(size=(1, 18, 16), valid_fraction=0.05), 3)]


def check_all(mutant: MutantLibrary, tf32: bool) -> None:
    of = variant(tf32)
    for splits in (1, 2):
        check_no_conflicts(check(mutant, of(DENSE), has_valid=False, splits=splits).counters, DENSE)
    for case, splits in MMA_CASES if tf32 else MMA_CASES + SIMT_CASES:
        check(mutant, of(case), splits=splits)
    for base, splits in COUNTED:
        case = of(base)
        live = answer(case, make_data(case)).live
        wanted = expected_mma(case, live, BLOCK, BLOCK, splits, 16 if tf32 else 32)
        check_products(check(mutant, case, splits=splits).counters, wanted, case)


if __name__ == "__main__":
    main(check_all)
