"""A library of mutant_*.cpp with the interface of the emulation module, as far as the cases need it, and the frame of
the programs that run a mutant over its cases: `python mutant_*_cases.py LIBRARY [tf32]`.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from forward_case import Case

NORMALIZATIONS = ("ratio", "mean", "sqrt", "weight", "none")
MASK_UPDATES = ("any", "all", "center", "threshold", "fraction")
AXES = ("input", "output", "kernel", "stride", "padding", "dilation")
GRAD_BIAS = ("batch", "positions", "filters", "window_batch", "window_channels")
# The arrays of each function, in its order.
FORWARD = (
    "input", "mask", "weight", "bias", "given_sum", "given_valid", "output", "out_mask", "window_sum", "row_order",
    "weight_sum",
)  # fmt: skip
ARRAYS = {
    "forward": FORWARD,
    "grad_input": ("grad", "valid", "scale", "mask", "weight", "grad_input", "row_order"),
    "grad_weight": ("grad", "valid", "scale", "input", "mask", "grad_weight"),
    "grad_bias": ("grad", "valid", "grad_bias", "partial_sums"),
    "forward_row_keys": ("mask", "keys", "numbers"),
    "grad_input_row_keys": ("mask", "valid", "keys", "numbers"),
    "window": ("mask", "channel_sums", "window_sum", "valid", "fraction"),
    "select": ("mask", "x", "selected"),
    "channel_dot": ("mask", "a", "b", "dots"),
    "finish": ("window_sum", "valid", "bias", "weight_sum", "y"),
}

Numbers = dict[str, Any]

# Bytes before and behind each array, so that an access past its end is out of bounds wherever the host's allocator
# put the others.
MARGIN = 1 << 16


def variant(tf32: bool) -> Callable[[Case], Case]:
    """The case as it is, or for the TF32 kernel that mutant_*.cpp then has."""
    return lambda case: replace(case, dtype="float32", allow_tf32=True, config="tf32_64x64x16_s4") if tf32 else case


class KernelError(Exception):
    """The message begins with the kind of the emulator's error, or with `counters`."""


class Call(ctypes.Structure):
    """MutantCall of mutant_library.h."""

    _fields_ = [
        ("is_bfloat16", ctypes.c_int64),
        ("integers", ctypes.POINTER(ctypes.c_int64)),
        ("threshold", ctypes.c_double),
        ("fill", ctypes.c_double),
        ("arrays", ctypes.POINTER(ctypes.c_void_p)),
        ("bytes", ctypes.POINTER(ctypes.c_int64)),
        ("seed", ctypes.c_uint64),
        ("counted", ctypes.POINTER(ctypes.c_int64)),
        ("message", ctypes.c_char_p),
        ("message_bytes", ctypes.c_int64),
    ]


class MutantLibrary:
    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)

    def forward(self, problem: Numbers, dtype: str, arrays: Numbers, *, config: str, **options: Any) -> Numbers:
        windows = arrays.get("given", {"sum": None, "valid": None, "channels": 0, "size": 0, "soft": False})
        arrays = {**arrays, "given_sum": windows["sum"], "given_valid": windows["valid"]}
        more = (windows["channels"], windows["size"], windows["soft"])
        return {"config": config, **self._convolve("forward", problem, dtype, arrays, more, **options)}

    def grad_input(self, problem: Numbers, dtype: str, arrays: Numbers, *, config: str, **options: Any) -> Numbers:
        return {
            "config": config,
            **self._convolve("grad_input", problem, dtype, arrays, (arrays["window_channels"],), **options),
        }

    def grad_weight(
        self, problem: Numbers, dtype: str, arrays: Numbers, *, config: str, splits: int, **options: Any
    ) -> Numbers:
        done = self._convolve("grad_weight", problem, dtype, arrays, (arrays["window_channels"], splits), **options)
        return {"config": config, "splits": splits, "reduction": {}, **done}

    def forward_row_keys(self, problem: Numbers, arrays: Numbers) -> Numbers:
        return {"bits": self._convolve("forward_row_keys", problem, "bfloat16", arrays)["counters"]["mma"]}

    def grad_input_row_keys(self, problem: Numbers, arrays: Numbers) -> Numbers:
        return {"bits": self._convolve("grad_input_row_keys", problem, "bfloat16", arrays)["counters"]["mma"]}

    def grad_bias(self, problem: Numbers, dtype: str, arrays: Numbers, seed: int, preempt: bool) -> Numbers:
        return self._call("grad_bias", [problem[name] for name in GRAD_BIAS], dtype, arrays, seed=seed)

    def window(self, problem: Numbers, dtype: str, mask: Numbers, arrays: Numbers) -> Numbers:
        return self._of_mask("window", problem, dtype, mask["soft"], mask["parts"], {**arrays, "mask": mask["data"]})

    def select(self, problem: Numbers, dtype: str, mask: Numbers, arrays: Numbers, channels_last: bool) -> Numbers:
        arrays = {**arrays, "mask": mask["data"]}
        return self._of_mask("select", problem, dtype, mask["soft"], mask["parts"], arrays, channels_last)

    def channel_dot(
        self, problem: Numbers, dtype: str, mask: Numbers, arrays: Numbers, seed: int, preempt: bool
    ) -> Numbers:
        return self._of_mask(
            "channel_dot", problem, dtype, mask["soft"], mask["parts"], {**arrays, "mask": mask["data"]}
        )

    def finish(self, problem: Numbers, dtype: str, windows: Numbers, arrays: Numbers) -> Numbers:
        arrays = {**arrays, "window_sum": windows["sum"], "valid": windows["valid"]}
        window = [windows["channels"], windows["size"]]
        return self._of_mask("finish", problem, dtype, windows["soft"], window, arrays)

    def _of_mask(
        self, name: str, problem: Numbers, dtype: str, soft: bool, parts: Sequence[int], arrays: Numbers, *more: int
    ) -> Numbers:
        return self._convolve(name, problem, dtype, arrays, (soft, len(parts), *parts, *more))

    def _convolve(
        self,
        name: str,
        problem: Numbers,
        dtype: str,
        arrays: Numbers,
        more: Sequence[int] = (),
        seed: int = 0,
        preempt: bool = False,
    ) -> Numbers:
        integers = [*problem_integers(problem), *more]
        return self._call(name, integers, dtype, arrays, problem["threshold"], problem["fill"], seed)

    def _call(
        self,
        name: str,
        integers: Sequence[int],
        dtype: str,
        arrays: Numbers,
        threshold: float = 0.0,
        fill: float = 0.0,
        seed: int = 0,
    ) -> Numbers:
        given = [arrays.get(key) for key in ARRAYS[name]]
        apart = [None if array is None else within_margins(array) for array in given]
        counted = (ctypes.c_int64 * 2)()
        message = ctypes.create_string_buffer(4096)
        call = Call(
            dtype == "bfloat16",
            (ctypes.c_int64 * len(integers))(*map(int, integers)),
            threshold,
            fill,
            (ctypes.c_void_p * len(given))(*(None if a is None else a.ctypes.data for a in apart)),
            (ctypes.c_int64 * len(given))(*(0 if a is None else a.nbytes for a in apart)),
            seed,
            counted,
            ctypes.cast(message, ctypes.c_char_p),
            len(message),
        )
        if getattr(self._library, f"run_{name}")(ctypes.byref(call)):
            raise KernelError(message.value.decode())
        for array, copy in zip(given, apart):
            if array is not None and array.flags.writeable:
                array[...] = copy
        return {"counters": {"mma": counted[0], "bank_conflicts": counted[1]}}


def within_margins(array: np.ndarray) -> np.ndarray:
    """A copy with MARGIN bytes of its own allocation on either side, as aligned as the array."""
    memory = np.empty(array.nbytes + 3 * MARGIN, np.uint8)
    begin = MARGIN + (array.ctypes.data - memory.ctypes.data) % MARGIN
    copy = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def problem_integers(problem: Numbers) -> Sequence[int]:
    """As mutant_library.h reads them."""
    integers = [problem[key] for key in ("batch", "channels", "filters", "groups")]
    integers += [value for key in AXES for value in problem[key]]
    integers += [problem["mask_batch"], problem["pad_is_valid"]]
    integers += [NORMALIZATIONS.index(problem["normalization"]), MASK_UPDATES.index(problem["mask_update"])]
    return [*integers, problem["fill_with_bias"]]


def check_products(counters: Numbers, wanted: int, what: object) -> None:
    if counters["mma"] != wanted:
        raise KernelError(f"counters: {counters['mma']} mma, expected {wanted} in {what}")


def check_no_conflicts(counters: Numbers, what: object) -> None:
    if counters["bank_conflicts"]:
        raise KernelError(f"counters: {counters['bank_conflicts']} bank conflicts in {what}")


def main(check: Callable[[MutantLibrary, bool], None]) -> None:
    """Runs `check(mutant, tf32)` and prints one line: `passed`, or what the first failure is: the kind of an emulator's
    error, `wrong` or `counters`.
    """
    try:
        check(MutantLibrary(sys.argv[1]), "tf32" in sys.argv[2:])
        print("passed")
    except KernelError as error:
        print(error)
    except AssertionError as error:
        print("wrong: " + " ".join(str(error).split())[:300])
