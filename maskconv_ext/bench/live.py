"""How much of a layer tiles of rows must visit: a count, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .suite import Layer

BLOCK_M = 128  # rows of a tile, unless told otherwise
WORD = 64
KEY_BITS = 32


@dataclass(frozen=True)
class Live:
    """(tile × tap) pairs with something to add, over those of the dense layer."""

    raster: float  # rows as they lie
    sorted: float  # in the order that a MaskPlan holds
    outputs: float  # outputs that are valid


def live_fraction(mask: NDArray[np.bool_], layer: Layer, mask_update: str | float, block_m: int = BLOCK_M) -> Live:
    """Of a mask (N, M, *S); a pixel counts where any of its M parts is valid (for "all" and thresholds an estimate)."""
    bits, valid = tap_bitsets(np.asarray(mask.any(1)), layer, mask_update)
    tiles = -(-len(bits) // block_m)
    dense = max(tiles * layer.taps, 1)
    bits[~valid] = 0
    order = np.argsort(~row_keys(bits, layer.taps), kind="stable")
    return Live(
        visited(bits, block_m) / dense,
        visited(bits[order], block_m) / dense,
        float(valid.mean()) if len(valid) else 0.0,
    )


def row_keys(bits: NDArray[np.uint64], taps: int) -> NDArray[np.uint32]:
    """What rows are sorted by, descending: their taps, or so many neighbouring ones to a bit that 32 bits hold them."""
    taps_per_bit = 1
    while -(-taps // taps_per_bit) > KEY_BITS:
        taps_per_bit *= 2
    keys = np.zeros(len(bits), np.uint32)
    for tap in range(taps):
        live = bits[:, tap // WORD] >> np.uint64(tap % WORD) & np.uint64(1)
        keys |= live.astype(np.uint32) << np.uint32(tap // taps_per_bit)
    return keys


def tap_bitsets(
    mask: NDArray[np.bool_], layer: Layer, mask_update: str | float
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """A bit per tap of each output, (rows, words), and whether the output is valid; of a mask (N, *S)."""
    padded = np.pad(mask, [(0, 0), *((p, p) for p in layer.padding)])
    out = layer.output_size
    rows = len(mask) * int(np.prod(out))
    bits = np.zeros((rows, -(-layer.taps // WORD)), np.uint64)
    count, centre = np.zeros(rows, np.int32), np.zeros(rows, bool)
    middle = tuple((kernel - 1) // 2 for kernel in layer.kernel)
    for number, tap in enumerate(np.ndindex(*layer.kernel)):
        windows = tuple(slice(t, t + layer.stride * (o - 1) + 1, layer.stride) for t, o in zip(tap, out))
        under = padded[(slice(None),) + windows].reshape(-1)
        bits[:, number // WORD] |= under.astype(np.uint64) << np.uint64(number % WORD)
        count += under
        if tap == middle:
            centre = under
    if mask_update == "center":
        return bits, centre
    if mask_update == "all":
        return bits, count == layer.taps
    if isinstance(mask_update, float):
        return bits, count >= mask_update * layer.taps
    return bits, count > 0


def visited(bits: NDArray[np.uint64], block_m: int) -> int:
    """Taps that some row of a tile has, summed over tiles."""
    tail = -len(bits) % block_m
    tiles = np.pad(bits, [(0, tail), (0, 0)]).reshape(-1, block_m, bits.shape[1])
    of_tile = np.bitwise_or.reduce(tiles, axis=1)
    return int(np.unpackbits(np.ascontiguousarray(of_tile).view(np.uint8)).sum())
