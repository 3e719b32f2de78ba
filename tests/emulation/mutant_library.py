"""A library of mutant_*.cpp with the interface of the emulation module, as far as the cases need it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from forward_case import Case

NORMALIZATIONS = ("ratio", "mean", "sqrt", "weight", "none")
MASK_UPDATES = ("any", "all", "center", "threshold", "fraction")
AXES = ("input", "output", "kernel", "stride", "padding", "dilation")
ARRAYS = {
    "forward": (
        "input",
        "mask",
        "weight",
        "bias",
        "given_sum",
        "given_valid",
        "output",
        "out_mask",
        "window_sum",
        "row_order",
        "weight_sum",
    ),
    "grad_input": ("grad", "valid", "mask", "weight", "grad_input", "row_order"),
    "forward_row_keys": ("mask", "keys", "numbers"),
    "grad_input_row_keys": ("mask", "valid", "keys", "numbers"),
}


def variant(tf32: bool) -> Callable[[Case], Case]:
    """The case as it is, or for the TF32 kernel that mutant_*.cpp then has."""
    return lambda case: replace(case, dtype="float32", allow_tf32=True, config="tf32_64x64x16_s4") if tf32 else case


class KernelError(Exception):
    """The message begins with the kind of the emulator's error."""


class MutantLibrary:
    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)

    def forward(self, problem: dict[str, Any], dtype: str, arrays: dict[str, Any], **options: Any) -> dict[str, Any]:
        windows = arrays.get("given", {"sum": None, "valid": None, "channels": 0, "size": 0, "soft": False})
        given = {"given_sum": windows["sum"], "given_valid": windows["valid"]}
        more = (windows["channels"], windows["size"], windows["soft"])
        return self._run("forward", problem, dtype, {**arrays, **given}, more, **options)

    def grad_input(self, problem: dict[str, Any], dtype: str, arrays: dict[str, Any], **options: Any) -> dict[str, Any]:
        return self._run("grad_input", problem, dtype, arrays, **options)

    def forward_row_keys(self, problem: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
        return self._row_keys("forward_row_keys", problem, arrays)

    def grad_input_row_keys(self, problem: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
        return self._row_keys("grad_input_row_keys", problem, arrays)

    def _row_keys(self, name: str, problem: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
        given = [arrays[key] for key in ARRAYS[name]]
        numbers = (ctypes.c_double(problem["threshold"]),)
        counted = self._call(name, problem_integers(problem), numbers, given, seed=0)
        return {"bits": counted[0]}

    def _run(
        self,
        name: str,
        problem: dict[str, Any],
        dtype: str,
        arrays: dict[str, Any],
        more: Sequence[int] = (),
        *,
        config: str,
        seed: int,
        preempt: bool,
    ) -> dict[str, Any]:
        given = [arrays.get(key) for key in ARRAYS[name]]
        numbers = (
            ctypes.c_double(problem["threshold"]),
            ctypes.c_double(problem["fill"]),
            ctypes.c_int64(dtype == "bfloat16"),
        )
        counted = self._call(name, [*problem_integers(problem), *more], numbers, given, seed)
        return {"config": config, "counters": {"mma": counted[0], "bank_conflicts": counted[1]}}

    def _call(
        self, name: str, integers: Sequence[int], numbers: tuple[Any, ...], given: list[Any], seed: int
    ) -> Sequence[int]:
        counted = (ctypes.c_int64 * 2)()
        message = ctypes.create_string_buffer(4096)
        failed = getattr(self._library, f"run_{name}")(
            (ctypes.c_int64 * len(integers))(*map(int, integers)),
            *numbers,
            (ctypes.c_void_p * len(given))(*(None if a is None else a.ctypes.data for a in given)),
            (ctypes.c_int64 * len(given))(*(0 if a is None else a.nbytes for a in given)),
            ctypes.c_uint64(seed),
            counted,
            message,
            ctypes.c_int64(len(message)),
        )
        if failed:
            raise KernelError(message.value.decode())
        return list(counted)


def problem_integers(problem: dict[str, Any]) -> Sequence[int]:
    """As mutant_library.h reads them."""
    integers = [problem[key] for key in ("batch", "channels", "filters", "groups")]
    integers += [value for key in AXES for value in problem[key]]
    integers += [problem["mask_batch"], problem["pad_is_valid"]]
    integers += [NORMALIZATIONS.index(problem["normalization"]), MASK_UPDATES.index(problem["mask_update"])]
    return [*integers, problem["fill_with_bias"]]
