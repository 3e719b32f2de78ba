"""Estimates the suite's forward passes on an H200 from what the emulated kernels count: no measurement.

One tile of rows of every layer is emulated with all taps live, and once with none. That gives what a tile costs, and
what each of its live taps adds; the masks give the live (tile x tap) pairs of the whole layer, in raster order and in
the order of a plan. Each resource then takes the time that its peak allows, and the slowest decides.

    python benchmarks/roofline.py            prints the table, writes benchmarks/results/roofline.json
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconv_ext.bench.live import live_fraction
from maskconv_ext.bench.problem import case_mask
from maskconv_ext.bench.suite import BYTES, SUITE, Case, Layer, plan

RESULT = Path(__file__).resolve().parent / "results" / "roofline.json"
SEED = 0
MMA_MACS = 16 * 8 * 16
SECTOR_BYTES = 32
SHARED_BYTES_PER_CYCLE = 128  # of one multiprocessor
LDMATRIX_BYTES = 512
ALIGNMENT = 256
SPECIAL = ("depthwise", "few_channels")  # kernels without a choice of tiles
SPECIAL_ROWS = 128
# Output rows of a tile, as an image of that many rows and columns.
TILE = {128: (8, 16), 64: (8, 8), 256: (16, 16)}
NUMPY = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}


@dataclass(frozen=True)
class Device:
    """An H200's peaks."""

    name: str = "H200"
    multiprocessors: int = 132
    clock_ghz: float = 1.98
    mma_macs_per_cycle: float = 1400.0  # mma.sync: two thirds of the peak
    l2_bytes_per_cycle: float = 26.0  # of one multiprocessor when all ask
    memory_gb_per_s: float = 4300.0
    launch_us: float = 3.0

    def microseconds(self, cycles: float) -> float:
        """Of cycles that all multiprocessors share."""
        return cycles / (self.multiprocessors * self.clock_ghz * 1e3)


def array(shape: tuple[int, ...], dtype: Any, value: int = 0) -> NDArray[Any]:
    """Aligned as device allocators do: counts of sectors depend on it."""
    count = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = np.zeros(count + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    view = buffer[start : start + count].view(dtype).reshape(shape)
    view[...] = value
    return view


def rows_of_tile(config: str) -> int:
    return SPECIAL_ROWS if config in SPECIAL else int(config.split("_")[1].split("x")[0])


def run_kernel(
    direction: str, config: str, problem: dict[str, Any], dtype: str, arrays: dict[str, Any]
) -> dict[str, int]:
    """Counters of the emulated kernel of that name."""
    from maskconv_ext import _emulation  # type: ignore[attr-defined]

    if config in SPECIAL:
        done = getattr(_emulation, f"{config}_{direction}")(problem, dtype, arrays)
    else:
        done = getattr(_emulation, direction)(problem, dtype, arrays, config=config)
    return {name: int(count) for name, count in done["counters"].items()}


def tile_problem(layer: Layer, rows: int) -> tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]:
    """One image whose outputs are so many rows, for the emulation; its size, and that of its output."""
    tile = TILE[rows]
    output = {1: (rows,), 2: tile, 3: (2, tile[0] // 2, tile[1])}[layer.rank]
    size = tuple((o - 1) * layer.stride + k for o, k in zip(output, layer.kernel))
    return _problem(layer, 1, size, output, (0,) * layer.rank), size, output


def whole_problem(layer: Layer) -> dict[str, Any]:
    return _problem(layer, layer.batch, layer.size, layer.output_size, layer.padding)


def _problem(
    layer: Layer, batch: int, size: tuple[int, ...], output: tuple[int, ...], padding: tuple[int, ...]
) -> dict[str, Any]:
    lead = 3 - layer.rank
    return {
        "batch": batch, "channels": layer.channels, "filters": layer.filters, "groups": layer.groups,
        "input": (1,) * lead + size, "output": (1,) * lead + output, "kernel": (1,) * lead + layer.kernel,
        "stride": (1,) * lead + (layer.stride,) * layer.rank, "padding": (0,) * lead + padding,
        "dilation": (1, 1, 1), "mask_batch": batch, "pad_is_valid": False, "allow_tf32": False,
        "normalization": "ratio", "mask_update": "any", "threshold": 0.0, "fill": 0.0, "fill_with_bias": False,
    }  # fmt: skip


def sample(layer: Layer, dtype: str, config: str, live: bool) -> dict[str, int]:
    """Counters of one tile of rows, its taps all live or none."""
    problem, size, output = tile_problem(layer, rows_of_tile(config))
    element = NUMPY[dtype]
    arrays = {
        "input": array((1, *size, layer.channels), element),
        "mask": array((1, *size), np.uint8, int(live)),
        "weight": array((layer.filters, *layer.kernel, layer.channels // layer.groups), element),
        "bias": array((layer.filters,), element),
        "output": array((1, *output, layer.filters), element),
        "out_mask": array((1, *output), np.uint8),
        "window_sum": array((1, *output), np.int32),
    }
    return run_kernel("forward", config, problem, dtype, arrays)


def chosen_candidate(layer: Layer, dtype: str, direction: str = "forward") -> dict[str, Any]:
    """The planner's choice among the library's own kernels for the whole layer."""
    from maskconv_ext import _emulation  # type: ignore[attr-defined]

    candidates = _emulation.candidates(direction, whole_problem(layer), dtype)
    own = [c for c in candidates if not c["why_not"] and c["name"] != "composite"]
    return dict(min(own, key=lambda c: c["microseconds"]))


@dataclass(frozen=True)
class Tile:
    """What all blocks of one tile of rows do: at all, and for each of its taps that is live."""

    fixed: dict[str, int]
    per_tap: dict[str, float]

    def total(self, name: str, tiles: int, live_pairs: float) -> float:
        return tiles * self.fixed[name] + live_pairs * self.per_tap[name]


def measure_tile(layer: Layer, dtype: str, config: str) -> Tile:
    fixed, full = (sample(layer, dtype, config, live) for live in (False, True))
    return Tile(fixed, {name: (full[name] - fixed[name]) / layer.taps for name in full})


def estimate(case: Case, candidate: dict[str, Any], tile: Tile, live: float, device: Device) -> dict[str, float]:
    """Microseconds of each resource; `time` is the slowest and a launch."""
    layer, config = case.layer, str(candidate["name"])
    rows = layer.batch * math.prod(layer.output_size)
    tiles = -(-rows // rows_of_tile(config))
    pairs = live * tiles * layer.taps

    def total(*names: str) -> float:
        return sum(tile.total(name, tiles, pairs) for name in names)

    if config.startswith("mma"):
        arithmetic = device.microseconds(total("mma") * MMA_MACS / device.mma_macs_per_cycle)
    else:  # the ordinary cores' work is not counted: the planner's estimate
        arithmetic = live * candidate["arithmetic"]
    l2 = total("cp_async_sectors", "global_load_sectors", "global_store_sectors") * SECTOR_BYTES
    shared = total("cp_async_bytes", "shared_load_bytes", "shared_store_bytes")
    shared += total("ldmatrix") * LDMATRIX_BYTES
    share_of_input = min(1.0, live * layer.taps)
    bytes_moved = layer.bytes(case.dtype) - (1 - share_of_input) * (
        layer.batch * math.prod(layer.size) * layer.channels * BYTES[case.dtype]
    )
    times = {
        "arithmetic": arithmetic,
        "l2": device.microseconds(l2 / device.l2_bytes_per_cycle),
        "shared": device.microseconds(shared / SHARED_BYTES_PER_CYCLE),
        "memory": bytes_moved / device.memory_gb_per_s / 1e3,
    }
    return {**times, "time": max(times.values()) + device.launch_us}


def rows_of(cases: list[Case], device: Device) -> list[dict[str, Any]]:
    tiles: dict[str, tuple[dict[str, Any], Tile]] = {}
    rows = []
    for case in cases:
        layer = case.layer
        if layer.id not in tiles:
            candidate = chosen_candidate(layer, case.dtype)
            tiles[layer.id] = candidate, measure_tile(layer, case.dtype, candidate["name"])
        candidate, tile = tiles[layer.id]
        config = candidate["name"]
        live = live_fraction(case_mask(case, SEED), layer, case.mask_update, rows_of_tile(config))
        rows.append(
            {
                "case": case.name,
                "kernel": config,
                "live_raster": live.raster,
                "live_sorted": live.sorted,
                "raster": estimate(case, candidate, tile, live.raster, device),
                "sorted": estimate(case, candidate, tile, live.sorted, device),
                "tflop": layer.flops() / 1e12,
            }
        )
        print(line(rows[-1]), flush=True)
    return rows


def bound(times: dict[str, float]) -> str:
    return max((name for name in times if name != "time"), key=times.__getitem__)


def line(row: dict[str, Any]) -> str:
    raster, by_plan = row["raster"], row["sorted"]
    return (
        f"{row['case']:24}{row['kernel']:20}{row['live_raster']:8.3f}{row['live_sorted']:8.3f}"
        f"{raster['time']:10.1f} {bound(raster):11}{by_plan['time']:9.1f} {bound(by_plan):11}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--suite", nargs="+", default=["*"], metavar="PATTERN", help="layers or cases")
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE")
    arguments = parser.parse_args()
    device = Device()
    print(f"estimates for {device.name}, us; nothing here is measured")
    print(f"{'case':24}{'kernel':20}{'raster':>8}{'sorted':>8}{'raster us':>10} {'bound':11}{'sorted us':>9} bound")
    # A sum of weights is not the kernels': such layers run elsewhere.
    cases = [case for case in plan(SUITE, arguments.suite) if case.normalization != "weight"]
    rows = rows_of(cases, device)
    record = {"what": "estimates from emulated counters", "device": vars(device), "seed": SEED, "cases": rows}
    arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
