"""The cases that a mutant of the scale_grad kernels runs over (mutant_library.py)."""

from __future__ import annotations

from mutant_library import MutantLibrary, check_no_conflicts, main
from scale_grad_case import Case, check

CASES = [
    Case(filters=64, positions=200),  # several blocks and steps, whole warps
    Case(filters=264, positions=5),  # a column tail of vectors
    Case(filters=67, positions=50, dtype="float32", bias_from_all=True),
    Case(filters=64, batch=40, window_batch=1, positions=7),
    Case(filters=32, window_channels=4, window_size=36, soft=True, dtype="float32"),
]


def check_all(mutant: MutantLibrary, tf32: bool) -> None:
    for case in CASES:
        check_no_conflicts(check(mutant, case)["counters"], case)


if __name__ == "__main__":
    main(check_all)
