"""The benchmark: live (tile x tap) fractions against a count tap by tap."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bench_layers import TINY

from maskconv_ext.bench import suite
from maskconv_ext.bench.live import BLOCK_M, live_fraction
from maskconv_ext.bench.masks import make_mask, parse_mask


@pytest.mark.parametrize("update", ["any", "all", "center", 0.4])
@pytest.mark.parametrize("layer", [*TINY, dataclasses.replace(TINY[1], kernel=(11, 11))], ids=lambda layer: layer.id)
def test_live_fractions_equal_a_count_tap_by_tap(layer: suite.Layer, update: str | float) -> None:
    layer = dataclasses.replace(layer, batch=3)
    mask = np.random.default_rng(1).random((layer.batch, 1, *layer.size)) < 0.3
    live = live_fraction(mask, layer, update)

    rows: list[set[int]] = []
    valid: list[bool] = []
    middle = layer.taps // 2  # of odd kernels
    for image in range(layer.batch):
        for position in np.ndindex(*layer.output_size):
            taps = set()
            for number, tap in enumerate(np.ndindex(*layer.kernel)):
                p = tuple(q * layer.stride + t - pad for q, t, pad in zip(position, tap, layer.padding))
                if all(0 <= at < size for at, size in zip(p, layer.size)) and mask[(image, 0, *p)]:
                    taps.add(number)
            share = len(taps) / layer.taps
            rules = {"any": bool(taps), "all": share == 1, "center": middle in taps}
            rows.append(taps)
            valid.append(rules[update] if isinstance(update, str) else share >= update)

    def visited(order: list[set[int]]) -> int:
        tiles = [order[i : i + BLOCK_M] for i in range(0, len(order), BLOCK_M)]
        return sum(len(set().union(*tile)) for tile in tiles)

    dense = -(-len(rows) // BLOCK_M) * layer.taps
    lying = [taps if ok else set() for taps, ok in zip(rows, valid)]
    taps_per_bit = 1 if layer.taps <= 32 else 4  # of 121

    def key(taps: set[int]) -> int:
        return sum(1 << bit for bit in {tap // taps_per_bit for tap in taps})

    ordered = sorted((taps for taps, ok in zip(rows, valid) if ok), key=key, reverse=True)
    assert live.raster == pytest.approx(visited(lying) / dense)
    assert live.sorted == pytest.approx(visited(ordered) / dense)
    assert live.outputs == pytest.approx(sum(valid) / len(valid))


def test_live_fractions_of_known_masks_are_what_the_masks_allow() -> None:
    """SparK at 60 % holes: sorted rows visit little more than the valid fraction."""
    layer = dataclasses.replace(next(layer for layer in suite.SUITE if layer.id == "r50_56"), batch=64)
    mask = make_mask(parse_mask("spark"), layer.batch, 1, layer.size, seed=0)
    any_, centre = (live_fraction(mask, layer, update) for update in ("any", "center"))
    assert any_.raster > 0.7
    assert 0.36 < any_.sorted <= 0.42 and 0.30 < centre.sorted <= 0.38
    assert centre.outputs == pytest.approx(20 / 49)


def test_live_fractions_of_scattered_points() -> None:
    """LiDAR at 5 %: nearly every tile of raster order visits every tap, and few of sorted rows do."""
    layer = suite.Layer("lidar", 2, 32, 32, suite.KITTI, (3, 3))
    mask = make_mask(parse_mask("lidar"), layer.batch, 1, layer.size, seed=0)
    any_, centre = (live_fraction(mask, layer, update) for update in ("any", "center"))
    assert any_.raster > 0.9
    assert any_.sorted <= 0.06 and centre.sorted <= 0.01


def test_longer_windows_are_sorted_by_which_parts_of_them_are_empty() -> None:
    """121 taps under a few points: hardly two rows have the same taps, and yet sorting spares much of the work."""
    layer = suite.Layer("sic", 1, 1, 16, suite.KITTI, (11, 11))
    mask = make_mask(parse_mask("lidar"), layer.batch, 1, layer.size, seed=0)
    live = live_fraction(mask, layer, "any")
    assert live.sorted <= 0.58 < 0.9 < live.raster
