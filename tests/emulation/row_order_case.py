"""The order of the rows of a `forward_case.Case`, from the keys that the emulated kernel writes, and those keys."""

from __future__ import annotations

import math
from typing import Any

import forward_case
import grad_input_case
import numpy as np
from forward_case import Case, guarded, poisoned


def forward_order(emulation: Any, case: Case, data: forward_case.Data, **options: Any) -> np.ndarray:
    """Positions of the output as tiles take them; the keys are compared with the definition."""
    live, used = forward_live(case, forward_case.answer(case, data))
    arrays = {"mask": data.mask}
    return _order(emulation.forward_row_keys, case, arrays, expected_keys(live & used, 1), options)


def grad_input_order(emulation: Any, case: Case, data: grad_input_case.Data, **options: Any) -> np.ndarray:
    """The same of positions of the input."""
    live = grad_input_case.answer(case, data).live.reshape(case.taps, -1)
    keys = expected_keys(live, math.prod(case.stride), classes_of(case))
    return _order(emulation.grad_input_row_keys, case, {"mask": data.mask, "valid": data.valid}, keys, options)


def with_numbers_of_no_row(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order, some places of which hold numbers that are no row's, and the rows that are left."""
    places = np.arange(1, len(order), 3)
    broken = order.copy()
    broken[places] = np.resize(np.array([len(order), len(order) + 1, 2**31, 2**32 - 1], np.uint32), len(places))
    return broken, np.delete(order, places)


def forward_live(case: Case, answer: forward_case.Answer) -> tuple[np.ndarray, np.ndarray]:
    """(taps, rows): the tap is live, whatever becomes of the row; and (rows): the output is valid."""
    valid = answer.window_sum > 0 if case.mask_update == "fraction" else answer.out_mask != 0
    return answer.live, np.broadcast_to(valid, (case.batch, *case.output_size)).ravel()


def classes_of(case: Case) -> np.ndarray:
    """(rows of the input): positions a stride apart on every axis are of one class."""
    rests = [(np.arange(n) + before) % stride for n, stride, (before, _) in zip(case.size, case.stride, case.padding)]
    _, h, w = case.stride
    one_image = (rests[0][:, None, None] * h + rests[1][None, :, None]) * w + rests[2][None, None, :]
    return np.broadcast_to(one_image, (case.batch, *case.size)).ravel()


def expected_keys(live: np.ndarray, classes: int, row_class: np.ndarray | int = 0) -> np.ndarray:
    """The class above a bit for each 1, 2, 4, ... neighbouring taps: as few as 32 bits hold; 0 without a live tap."""
    taps = len(live)
    class_bits = (classes - 1).bit_length()
    taps_per_bit = 1
    while -(-taps // taps_per_bit) > 32 - class_bits:
        taps_per_bit *= 2
    keys = np.zeros(live.shape[1], np.uint64)
    for tap, of_rows in enumerate(live):
        keys |= of_rows.astype(np.uint64) << np.uint64(tap // taps_per_bit)
    tap_bits = -(-taps // taps_per_bit)
    above = np.asarray(row_class, np.uint64) << np.uint64(tap_bits)
    return np.where(keys != 0, keys | above, 0).astype(np.uint32)


def _order(kernel: Any, case: Case, arrays: dict[str, Any], expected: np.ndarray, options: dict[str, Any]) -> Any:
    rows = len(expected)
    arrays = {name: None if array is None else guarded(array) for name, array in arrays.items()}
    arrays |= {"keys": poisoned((rows,), np.uint32), "numbers": poisoned((rows,), np.uint32)}
    done = kernel(case.problem(), arrays, **options)
    np.testing.assert_array_equal(arrays["keys"], expected)
    np.testing.assert_array_equal(arrays["numbers"], np.arange(rows))
    # The sort looks at no more bits.
    assert int(expected.max(initial=0)) < 2 ** done["bits"] <= 2**32
    return arrays["numbers"][np.argsort(~arrays["keys"], kind="stable")]
