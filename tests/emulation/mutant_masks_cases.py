"""The cases that a mutant of the kernels for masks of any kind runs over (mutant_library.py)."""

from __future__ import annotations

from masks_case import Case, check_finish, check_select, check_window, per_channel
from mutant_library import MutantLibrary, check_no_conflicts, main

FRINGE = ((0, 0), (2, 1), (2, 3))
WINDOW_CASES = [
    Case(size=(1, 6, 9), kernel=(1, 2, 3), padding=FRINGE),
    Case(size=(3, 4, 5), kernel=(2, 3, 3), padding=((1, 0), (1, 1), (1, 1)), mask_update="center"),
    per_channel(12, groups=2, batch=2, pad_is_valid=True, mask_update="all", valid_fraction=0.9),
    Case(channels=8, parts=(1, 2, 5), groups=2, mask_update="threshold", threshold=0.5, valid_fraction=0.6),
    per_channel(5, dtype="float32", soft=True, mask_update="fraction", stride=(1, 2, 1), padding=FRINGE),
]
SELECT_CASES = [
    (per_channel(72, batch=2, size=(1, 1, 72)), "planes"),  # vectors on both sides, tails of tiles
    (Case(channels=8, parts=(3, 5), size=(1, 1, 40)), "planes"),
    (Case(channels=12, parts=(4, 4, 4), size=(1, 1, 9)), "rows"),
    (Case(dtype="float32", soft=True, channels=5, batch=2, size=(1, 3, 11)), "planes"),
    (per_channel(24, size=(1, 6, 7)), "rows"),
    (Case(dtype="float32", soft=True, channels=37, batch=3, mask_batch=1, size=(1, 2, 5)), "rows"),
]
FINISH_CASES = [
    Case(filters=40, batch=2, fill=3.0),
    per_channel(6, groups=3, filters=33, fill_with_bias=True, size=(1, 5, 9), valid_fraction=0.05),
    Case(dtype="float32", soft=True, filters=16, batch=3, mask_batch=1, size=(1, 3, 3)),
    Case(filters=40, batch=2, fill_with_bias=True, normalization="weight"),
    Case(filters=33, batch=3, mask_batch=1, weight_sum=True, fill=3.0),
]


def check_all(mutant: MutantLibrary, tf32: bool) -> None:
    for case in WINDOW_CASES:
        check_window(mutant, case)
    for case, layout in SELECT_CASES:
        check_no_conflicts(check_select(mutant, case, layout)["counters"], case)
    for case in FINISH_CASES:
        check_finish(mutant, case)


if __name__ == "__main__":
    main(check_all)
