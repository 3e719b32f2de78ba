"""The cases that a mutant of the grad_input kernels runs over (mutant_library.py)."""

from __future__ import annotations

from dataclasses import replace

from forward_case import Case, line
from forward_case import expected_mma as forward_mma
from grad_input_case import answer, check, check_holes_stay_empty, expected_mma, make_data, run
from mutant_library import MutantLibrary, check_no_conflicts, check_products, main, variant
from row_order_case import grad_input_order, with_numbers_of_no_row

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


def check_all(mutant: MutantLibrary, tf32: bool) -> None:
    of = variant(tf32)
    for case in map(of, MMA_CASES if tf32 else MMA_CASES + SIMT_CASES):
        check_no_conflicts(check(mutant, case).counters, case)
    for case in map(of, COUNTED):
        wanted = expected_mma(case, answer(case, make_data(case)).live, BLOCK, BLOCK, 16 if tf32 else 32)
        check_products(check(mutant, case).counters, wanted, case)
    for case in [] if tf32 else ORDERED:
        data = make_data(case)
        order = grad_input_order(mutant, case, data)
        counters = check(mutant, case, row_order=order).counters
        live = answer(case, data).live.reshape(case.taps, -1)
        if case.dtype == "bfloat16":
            # Columns and reduction change places.
            transposed = replace(case, channels=case.filters, filters=case.channels)
            check_products(counters, forward_mma(transposed, live[:, order], BLOCK, BLOCK), f"{case} with an order")
        run(mutant, case, data, row_order=with_numbers_of_no_row(order)[0])
    check_holes_stay_empty(mutant, of(BASE))


if __name__ == "__main__":
    main(check_all)
