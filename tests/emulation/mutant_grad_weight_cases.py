"""Runs a mutant of the grad_weight kernels over a fixed set of cases: `python mutant_grad_weight_cases.py LIBRARY
[tf32]`.

Prints one line, `passed`, or what the first failure is: the kind of an emulator's error, `wrong` or `counters`.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import replace
from typing import Any

from forward_case import Case, line
from grad_weight_case import answer, check, check_scaled_input, expected_mma, make_data
from mutant_library import KernelError, problem_integers, variant

BLOCK = 64  # both tiles are 64 x 64
ARRAYS = ("grad", "valid", "scale", "input", "mask", "grad_weight")


class MutantLibrary:
    """What grad_weight_case needs of the emulation module."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)

    def grad_weight(
        self,
        problem: dict[str, Any],
        dtype: str,
        arrays: dict[str, Any],
        config: str,
        splits: int,
        seed: int,
        preempt: bool,
    ) -> dict[str, Any]:
        given = [arrays[key] for key in ARRAYS]
        counted = (ctypes.c_int64 * 2)()
        message = ctypes.create_string_buffer(4096)
        integers = [*problem_integers(problem), arrays["window_channels"]]
        failed = self._library.run_grad_weight(
            (ctypes.c_int64 * len(integers))(*map(int, integers)),
            ctypes.c_int64(dtype == "bfloat16"),
            (ctypes.c_void_p * len(given))(*(None if a is None else a.ctypes.data for a in given)),
            (ctypes.c_int64 * len(given))(*(0 if a is None else a.nbytes for a in given)),
            ctypes.c_int64(splits),
            ctypes.c_uint64(seed),
            counted,
            message,
            ctypes.c_int64(len(message)),
        )
        if failed:
            raise KernelError(message.value.decode())
        counters = {"mma": counted[0], "bank_conflicts": counted[1]}
        return {"config": config, "splits": splits, "counters": counters, "reduction": {}}


POINT: dict[str, Any] = {"kernel": (1, 1, 1), "padding": ((0, 0),) * 3}
BASE = Case(channels=8, filters=8, valid_fraction=0.8)
# Whole tiles without a hole, of which no bank conflict may be heard: lanes that idle could hide one.
DENSE = Case(channels=64, filters=64, size=(1, 1, 160), mask_batch=0, **POINT)
# More live rows than the list takes at once: 563, or 847, which is no whole number of steps, of 948.
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


def outcome(path: str, tf32: bool) -> str:
    mutant, of = MutantLibrary(path), variant(tf32)
    try:
        for splits in (1, 2):
            conflicts = check(mutant, of(DENSE), has_valid=False, splits=splits).counters["bank_conflicts"]
            if conflicts:
                return f"counters: {conflicts} bank conflicts in {DENSE}"
        if not tf32:
            check_scaled_input(mutant, replace(DENSE, size=(1, 1, 1), mask_batch=1))
        for case, splits in MMA_CASES if tf32 else MMA_CASES + SIMT_CASES:
            check(mutant, of(case), splits=splits)
        check(mutant, of(replace(BASE, groups=2, channels=16, filters=16, batch=2)), splits=1, windows=2)
        for case, splits in COUNTED:
            case = of(case)
            mma = check(mutant, case, splits=splits).counters["mma"]
            wanted = expected_mma(case, answer(case, make_data(case)).live, BLOCK, BLOCK, splits, 16 if tf32 else 32)
            if mma != wanted:
                return f"counters: {mma} mma, expected {wanted} in {case}"
    except KernelError as error:
        return str(error)
    except AssertionError as error:
        return "wrong: " + " ".join(str(error).split())[:300]
    return "passed"


if __name__ == "__main__":
    print(outcome(sys.argv[1], "tf32" in sys.argv[2:]))
