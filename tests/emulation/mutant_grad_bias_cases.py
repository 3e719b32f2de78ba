"""Runs a mutant of the grad_bias kernels over a fixed set of cases: `python mutant_grad_bias_cases.py LIBRARY`.

Prints one line, `passed`, or what the first failure is: the kind of an emulator's error, `wrong` or `counters`.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from grad_bias_case import Case, check
from mutant_library import KernelError

FIELDS = ("batch", "positions", "filters", "window_batch", "window_channels")
ARRAYS = ("grad", "valid", "grad_bias", "partial_sums")

CASES = [
    Case(filters=64, positions=200),  # several blocks and steps, whole warps
    Case(filters=264, positions=5),  # a column tail of vectors
    Case(filters=67, positions=50, dtype="float32", has_valid=False),
    Case(filters=64, batch=40, window_batch=1, positions=7),
    Case(filters=32, window_channels=4, dtype="float32"),
]


class MutantLibrary:
    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)

    def grad_bias(
        self, problem: dict[str, Any], dtype: str, arrays: dict[str, Any], seed: int, preempt: bool
    ) -> dict[str, Any]:
        integers = [problem[name] for name in FIELDS]
        given = [arrays[name] for name in ARRAYS]
        counted = (ctypes.c_int64 * 2)()
        message = ctypes.create_string_buffer(4096)
        failed = self._library.run_grad_bias(
            (ctypes.c_int64 * len(integers))(*map(int, integers)),
            ctypes.c_int64(dtype == "bfloat16"),
            (ctypes.c_void_p * len(given))(*(None if a is None else a.ctypes.data for a in given)),
            (ctypes.c_int64 * len(given))(*(0 if a is None else a.nbytes for a in given)),
            ctypes.c_uint64(seed),
            counted,
            message,
            ctypes.c_int64(len(message)),
        )
        if failed:
            raise KernelError(message.value.decode())
        return {"counters": {"bank_conflicts": counted[1]}}


def outcome(path: str) -> str:
    mutant = MutantLibrary(path)
    try:
        for case in CASES:
            conflicts = check(mutant, case)["counters"]["bank_conflicts"]
            if conflicts:
                return f"counters: {conflicts} bank conflicts in {case}"
    except KernelError as error:
        return str(error)
    except AssertionError as error:
        return "wrong: " + " ".join(str(error).split())[:300]
    return "passed"


if __name__ == "__main__":
    print(outcome(sys.argv[1]))
