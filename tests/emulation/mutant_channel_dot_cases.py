"""The cases that a mutant of the channel_dot kernel runs over (mutant_library.py)."""

from __future__ import annotations

from channel_dot_case import check
from masks_case import Case, per_channel
from mutant_library import MutantLibrary, main

CASES = [
    Case(channels=64, size=(1, 3, 11)),  # 8 threads a sum, a tail of sums
    Case(channels=520, batch=2, size=(1, 1, 5)),  # several vectors a thread, a tail of these
    Case(channels=24, parts=(8, 16), batch=3, mask_batch=1, size=(1, 1, 7)),
    Case(dtype="float32", channels=12, parts=(5, 7), batch=2, size=(1, 1, 7)),
    per_channel(6, batch=3, mask_batch=1, size=(1, 2, 5)),
]


def check_all(mutant: MutantLibrary, tf32: bool) -> None:
    for case in CASES:
        check(mutant, case)


if __name__ == "__main__":
    main(check_all)
