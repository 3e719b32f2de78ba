"""Runs a mutant of the kernels for masks of any kind over a fixed set of cases: `python mutant_masks_cases.py LIBRARY`.

Prints one line, `passed`, or what the first failure is: the kind of an emulator's error, `wrong` or `counters`.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from masks_case import Case, check_finish, check_select, check_window, per_channel
from mutant_library import KernelError, problem_integers

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


class MutantLibrary:
    """The interface of the emulation module, as far as the cases need it."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)

    def window(self, problem: dict[str, Any], _: str, mask: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
        given = [mask["data"], *(arrays[name] for name in ("channel_sums", "window_sum", "valid", "fraction"))]
        return self._run("window", problem, mask["soft"], mask["parts"], given)

    def select(
        self, problem: dict[str, Any], _: str, mask: dict[str, Any], arrays: dict[str, Any], channels_last: bool
    ) -> dict[str, Any]:
        given = [mask["data"], arrays["x"], arrays["selected"]]
        return self._run("select", {**problem, "fill": channels_last}, mask["soft"], mask["parts"], given)

    def finish(
        self, problem: dict[str, Any], _: str, windows: dict[str, Any], arrays: dict[str, Any]
    ) -> dict[str, Any]:
        given = [windows["sum"], windows["valid"], arrays["bias"], arrays.get("weight_sum"), arrays["y"]]
        return self._run("finish", problem, windows["soft"], [windows["channels"], windows["size"]], given)

    def _run(
        self, name: str, problem: dict[str, Any], soft: bool, parts: list[int], arrays: list[Any]
    ) -> dict[str, Any]:
        counted = (ctypes.c_int64 * 2)()
        message = ctypes.create_string_buffer(4096)
        integers = [*map(int, problem_integers(problem)), int(soft), len(parts), *parts]
        failed = getattr(self._library, f"run_{name}")(
            (ctypes.c_int64 * len(integers))(*integers),
            ctypes.c_double(problem["threshold"]),
            ctypes.c_double(problem["fill"]),
            (ctypes.c_void_p * len(arrays))(*(None if a is None else a.ctypes.data for a in arrays)),
            (ctypes.c_int64 * len(arrays))(*(0 if a is None else a.nbytes for a in arrays)),
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
        for case in WINDOW_CASES:
            check_window(mutant, case)
        for case, layout in SELECT_CASES:
            conflicts = check_select(mutant, case, layout)["counters"]["bank_conflicts"]
            if conflicts:
                return f"counters: {conflicts} bank conflicts in {case}"
        for case in FINISH_CASES:
            check_finish(mutant, case)
    except KernelError as error:
        return str(error)
    except AssertionError as error:
        return "wrong: " + " ".join(str(error).split())[:300]
    return "passed"


if __name__ == "__main__":
    print(outcome(sys.argv[1]))
