"""The cases that a mutant of the forward kernels runs over (mutant_library.py)."""

from __future__ import annotations

import numpy as np
from forward_case import Case, answer, check, expected_mma, line, make_data, run
from masks_case import check_given_windows, per_channel
from mutant_library import MutantLibrary, check_no_conflicts, check_products, main, variant
from row_order_case import forward_live, forward_order, with_numbers_of_no_row

BLOCK = 64  # both tiles are 64 x 64

HALF = np.ones((1, 1, 18, 16), np.uint8)
HALF[:, :, 9:] = 0  # below it no tap is live, and on its border the lowest row of taps is live in few rows


SPREAD = Case(channels=40, filters=72, size=(1, 8, 16), batch=2)
MMA_CASES = [
    Case(channels=64, filters=64, size=(1, 8, 16), valid_fraction=0.9),  # whole tiles: conflicts would show
    SPREAD,  # tails of channels and filters, several steps of each tap
    line(Case(channels=8, filters=5), 70),  # a row tail, and scalar stores
    Case(groups=2, channels=16, filters=16, batch=2, mask_batch=1, size=(1, 5, 7)),
    Case(channels=8, filters=8, dilation=(1, 2, 3), stride=(1, 2, 1), padding=((0, 0), (2, 0), (3, 4))),
    Case(channels=8, filters=8, pad_is_valid=True, mask_update="all", fill=2.0, valid_fraction=0.9),
    Case(channels=8, filters=8, mask_update="threshold", threshold=0.0, valid_fraction=0.05),
    Case(channels=8, filters=8, mask_update="center", pad_is_valid=True, padding=((0, 0), (3, 0), (0, 3))),
    line(Case(channels=8, filters=8, valid_fraction=0.1), 70, kernel=40),
    line(Case(channels=8, filters=5, normalization="weight", fill=2.0), 70),
    Case(groups=2, channels=16, filters=16, batch=2, mask_batch=1, weight_sum=True, fill_with_bias=True),
    Case(channels=8, filters=72, batch=2, normalization="weight", size=(1, 5, 7), mask_update="center"),
]
SIMT_CASES = [
    Case(dtype="float32", channels=3, filters=70, batch=2, size=(1, 6, 7)),
    Case(dtype="float32", groups=2, channels=20, filters=6),
]
ORDERED = [
    Case(channels=8, filters=8, size=(1, 18, 19), batch=2, valid_fraction=0.1),  # several blocks of keys
    Case(channels=8, filters=8, size=(1, 14, 15), mask_update="center", valid_fraction=0.3),
    line(Case(channels=8, filters=8, valid_fraction=0.03), 70, kernel=40),
    Case(dtype="float32", channels=3, filters=5, size=(1, 9, 10), batch=2, mask_batch=1, mask_update="all"),
]


def products(case: Case, order: np.ndarray | slice = slice(None)) -> int:
    """Of valid rows alone."""
    live, valid = forward_live(case, answer(case, make_data(case)))
    return expected_mma(case, (live & valid)[:, order], BLOCK, BLOCK) if case.dtype == "bfloat16" else 0


def check_all(mutant: MutantLibrary, tf32: bool) -> None:
    of = variant(tf32)
    for case in map(of, MMA_CASES if tf32 else MMA_CASES + SIMT_CASES):
        check_no_conflicts(check(mutant, case).counters, case)
    if not tf32:
        for mask_batch in (1, 2):
            given = per_channel(16, groups=2, batch=2, mask_batch=mask_batch, valid_fraction=0.1)
            check_given_windows(mutant, given)
    half = of(Case(size=(1, 18, 16)))
    wanted = expected_mma(half, answer(half, make_data(half, HALF)).live, BLOCK, BLOCK, 16 if tf32 else 32)
    check_products(check(mutant, half, mask=HALF).counters, wanted, half)
    for case in [] if tf32 else ORDERED:
        order = forward_order(mutant, case, make_data(case))
        check_products(check(mutant, case).counters, products(case), case)
        check_products(check(mutant, case, row_order=order).counters, products(case, order), case)
        run(mutant, case, make_data(case), row_order=with_numbers_of_no_row(order)[0])


if __name__ == "__main__":
    main(check_all)
