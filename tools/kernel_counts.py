"""What emulated CUDA kernels count for one tile of layers of the benchmark's suite."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.roofline import NUMPY, array, chosen_candidate, rows_of_tile, run_kernel, tile_problem  # noqa: E402
from maskconv_ext.bench.suite import SUITE, Layer  # noqa: E402

# Tensor cores with and without stride, pointwise, a sequence and a volume; few channels, float32, depthwise.
LAYERS = ("r50_56", "r50_28s2", "r50_1x1", "asr_pw", "vol_96", "pconv_enc1", "sic_2", "convnext_dw")
PASSES = ("forward", "grad_input", "grad_weight")
# All valid; and valid at one edge alone, so that half of the taps meet nothing.
MASKS = ("full", "edge")
GRAD_WEIGHT_ROWS = 128
COUNTERS = (
    "mma", "cp_async_sectors", "global_load_sectors", "global_store_sectors", "cp_async_bytes", "shared_load_bytes",
    "shared_store_bytes", "ldmatrix_bank_conflicts", "cp_async_bank_conflicts", "shared_load_bank_conflicts",
    "shared_store_bank_conflicts", "barriers",
)  # fmt: skip


def chosen() -> list[str]:
    """LAYER/PASS/TILE/MASK, the tile being the planner's choice among this library's kernels."""
    names = []
    for id in LAYERS:
        layer = _layer(id)
        for direction in PASSES:
            tile = chosen_candidate(layer, layer.dtype, direction)["name"]
            names += [f"{id}/{direction}/{tile}/{mask}" for mask in MASKS]
    return names


def count(names: list[str]) -> dict[str, dict[str, int]]:
    return {name: _count(*name.split("/")) for name in names}


def _layer(id: str) -> Layer:
    return next(layer for layer in SUITE if layer.id == id)


def _count(id: str, direction: str, tile: str, mask: str) -> dict[str, int]:
    layer = _layer(id)
    rows = GRAD_WEIGHT_ROWS if direction == "grad_weight" else rows_of_tile(tile)
    problem, size, output = tile_problem(layer, rows)
    element = NUMPY[layer.dtype]
    # The same for inputs and outputs: without padding, an output at the edge has inputs there under its first taps.
    reach = max(layer.kernel[-1] // 2, 1) if mask == "edge" else None
    at_inputs, at_outputs = (np.zeros((1, *shape), np.uint8) for shape in (size, output))
    at_inputs[..., :reach], at_outputs[..., :reach] = 1, 1
    weight = (layer.filters, *layer.kernel, layer.channels // layer.groups)
    arrays: dict[str, Any] = {"mask": _aligned(at_inputs)}
    if direction == "forward":
        arrays["input"], arrays["weight"] = array((1, *size, layer.channels), element), array(weight, element)
        arrays["bias"], arrays["output"] = array((layer.filters,), element), array((1, *output, layer.filters), element)
        arrays["out_mask"], arrays["window_sum"] = array((1, *output), np.uint8), array((1, *output), np.int32)
    else:
        arrays["grad"], arrays["valid"] = array((1, *output, layer.filters), element), _aligned(at_outputs)
        arrays["scale"] = _aligned(2 * at_outputs.astype(np.float64 if layer.dtype == "float64" else np.float32))
        given, result = ("weight", "grad_input") if direction == "grad_input" else ("input", "grad_weight")
        shapes = {"weight": weight, "grad_weight": weight, "input": (1, *size, layer.channels)}
        shapes["grad_input"] = shapes["input"]
        arrays[given], arrays[result] = array(shapes[given], element), array(shapes[result], element)
    counters = run_kernel(direction, tile, problem, layer.dtype, arrays)
    return {counter: counters[counter] for counter in COUNTERS}


def _aligned(values: np.ndarray) -> np.ndarray:
    copy = array(values.shape, values.dtype)
    copy[...] = values
    return copy
