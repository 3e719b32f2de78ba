"""Live fractions of (tile × tap) pairs by how rows are ordered: tables of docs/performance-log.md, counted.

python benchmarks/row_orders.py
"""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from maskconv_ext.bench.live import BLOCK_M, KEY_BITS, row_keys, tap_bitsets, visited  # noqa: E402
from maskconv_ext.bench.masks import make_mask, parse_mask  # noqa: E402
from maskconv_ext.bench.report import table  # noqa: E402
from maskconv_ext.bench.suite import SUITE, Layer  # noqa: E402

MOST_ROWS = 1_000_000  # of fewer images than the suite has, where these are large
SEGMENTS = (2048, 8192, 32768)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # a multiplier that mixes the bits of a word
Bits = NDArray[np.uint64]
# Layer of the suite (its kernel changed where one is given), mask and rule.
SHORT = tuple(
    (id, (3, 3), mask, update)
    for id, mask in (("r50_56", "spark"), ("r50_56", "rectangles"), ("sic_1", "lidar"))
    for update in ("any", "center")
)
LONG = (
    ("convnext_dw", None, "spark", "center"), ("pconv_enc1", None, "strokes50", "any"),
    ("sic_1", None, "lidar", "any"), ("asr_dw87", None, "lengths", "any"),
)  # fmt: skip


def rows_of(id: str, kernel: tuple[int, ...] | None, mask: str, update: str) -> tuple[Layer, Bits]:
    """The taps of every output; none of those that are not valid."""
    layer = next(layer for layer in SUITE if layer.id == id)
    images = min(layer.batch, max(MOST_ROWS // math.prod(layer.output_size), 1))
    layer = dataclasses.replace(layer, batch=images, kernel=kernel or layer.kernel)
    bits, valid = tap_bitsets(make_mask(parse_mask(mask), layer.batch, 1, layer.size, seed=0)[:, 0], layer, update)
    bits[~valid] = 0
    return layer, bits


def ideal(bits: Bits, taps: int) -> float:
    """As if each row were a tile."""
    return visited(bits, 1) / (len(bits) * taps)


def live(bits: Bits, taps: int) -> float:
    return visited(bits, BLOCK_M) / (-(-len(bits) // BLOCK_M) * taps)


def sorted_by(bits: Bits, keys: NDArray[np.unsignedinteger], segment: int | None = None) -> Bits:
    """Descending; within so many rows of each other, or all."""
    of_row = np.arange(len(bits)) // (segment or len(bits))
    return bits[np.lexsort((~keys, of_row))]


def by_whole_bitset(bits: Bits) -> Bits:
    """Descending; its last taps decide most."""
    return bits[np.lexsort([~word for word in bits.T])]


def hashes(bits: Bits) -> NDArray[np.unsignedinteger]:
    mixed = np.zeros(len(bits), np.uint64)
    for word in bits.T:
        mixed = (mixed ^ word) * GOLDEN
        mixed ^= mixed >> np.uint64(KEY_BITS)
    return mixed >> np.uint64(KEY_BITS)


def main() -> None:
    rows = []
    for id, kernel, mask, update in SHORT:
        layer, bits = rows_of(id, kernel, mask, update)
        keys = row_keys(bits, layer.taps)
        orders = [bits, *(sorted_by(bits, keys, segment) for segment in (*SEGMENTS, None))]
        found = [ideal(bits, layer.taps), *(live(order, layer.taps) for order in orders)]
        rows.append((f"{id} {kernel}, {mask}, {update}", *(f"{value:.3f}" for value in found)))
    print("\n".join(table(("3 x 3", "ideal", "raster", *map(str, SEGMENTS), "all rows"), rows)), end="\n\n")
    rows = []
    for id, kernel, mask, update in LONG:
        layer, bits = rows_of(id, kernel, mask, update)
        coarse = sorted_by(bits, row_keys(bits, layer.taps))
        orders = [bits, by_whole_bitset(bits), sorted_by(bits, hashes(bits)), coarse]
        found = [ideal(bits, layer.taps), *(live(order, layer.taps) for order in orders)]
        rows.append((f"{layer.id}, {mask}, {update}", *(f"{value:.3f}" for value in found)))
    print("\n".join(table(("longer windows", "ideal", "raster", "whole bitset", "hash", "coarse"), rows)))


if __name__ == "__main__":
    main()
