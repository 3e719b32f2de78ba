"""The cases that a mutant of the depthwise kernels runs over (mutant_library.py)."""

from __future__ import annotations

from dataclasses import replace

import forward_case
import grad_input_case
import grad_weight_case
from depthwise_case import depthwise, in_line, wide
from mutant_library import MutantLibrary, check_no_conflicts, main

WHOLE = wide(depthwise(1, size=(1, 4, 14), batch=2, valid_fraction=0.9), 32)  # conflicts would show
CASES = [
    WHOLE,
    depthwise(37, dtype="float32", size=(1, 3, 9)),
    wide(depthwise(1, size=(1, 2, 9), batch=2, mask_batch=1), 33),  # two blocks of channels, the last with a tail
    in_line(4, 300, 3),  # more runs than a block's
    in_line(4, 20, 87, valid_fraction=0.8),  # more strips than a stage's
    depthwise(4, size=(1, 9, 40), kernel=(1, 2, 9), dilation=(1, 3, 4), stride=(1, 2, 6), batch=2, valid_fraction=0.8),
    depthwise(4, size=(5, 6, 7), kernel=(2, 3, 4), padding=((1, 0), (0, 2), (3, 1)), batch=2, pad_is_valid=True),
    replace(in_line(4, 30, 33), stride=(1, 1, 2), mask_update="center", valid_fraction=0.7, fill=2.0),
    depthwise(4, size=(1, 2, 2), padding=((0, 0), (4, 4), (4, 4)), mask_update="threshold", pad_is_valid=True),
    depthwise(8, batch=2, normalization="weight", fill=2.0),
    depthwise(5, dtype="float32", batch=2, mask_batch=1, weight_sum=True, fill_with_bias=True),
]


def check_all(mutant: MutantLibrary, tf32: bool) -> None:
    for case in CASES:
        runs = [
            forward_case.check(mutant, case),
            grad_input_case.check(mutant, case),
            *(grad_weight_case.check(mutant, case, splits=splits) for splits in (1, 3)),
        ]
        if case is WHOLE:
            for done in runs:
                check_no_conflicts(done.counters, case)
    for case in (depthwise(8, batch=2), depthwise(6, dtype="float32", normalization="none")):
        grad_input_case.check(mutant, case, windows=case.channels)
        grad_weight_case.check(mutant, case, splits=1, windows=case.channels)
    grad_input_case.check_holes_stay_empty(mutant, depthwise(4))


if __name__ == "__main__":
    main(check_all)
