"""Runs a mutant of the depthwise kernels over a fixed set of cases: `python mutant_depthwise_cases.py LIBRARY`.

Prints one line, `passed`, or what the first failure is: the kind of an emulator's error, `wrong` or `counters`.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import forward_case
import grad_input_case
import grad_weight_case
import mutant_grad_weight_cases
import numpy as np
from depthwise_case import depthwise, in_line, wide
from forward_case import decode, encode
from mutant_library import KernelError, MutantLibrary

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


def outcome(path: str) -> str:
    mutant, weight_mutant = MutantLibrary(path), mutant_grad_weight_cases.MutantLibrary(path)
    try:
        for case in CASES:
            counters = [
                forward_case.check(mutant, case).counters,
                grad_input_case.check(mutant, case).counters,
                *(grad_weight_case.check(weight_mutant, case, splits=splits).counters for splits in (1, 3)),
            ]
            if case is WHOLE and any(one["bank_conflicts"] for one in counters):
                return f"counters: bank conflicts in {case}"
        case = depthwise(4)
        data = grad_input_case.make_data(case)
        data.weight[...] = encode(np.array(np.inf), case.dtype)
        holes = decode(grad_input_case.run(mutant, case, data).grad_input, case.dtype)[data.mask == 0]
        assert not holes.any(), "infinite weights reach a hole"
    except KernelError as error:
        return str(error)
    except AssertionError as error:
        return "wrong: " + " ".join(str(error).split())[:300]
    return "passed"


if __name__ == "__main__":
    print(outcome(sys.argv[1]))
