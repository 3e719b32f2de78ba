"""The orders of rows that the performance log compares: counted as everywhere else, and bounded by what is ideal."""

from __future__ import annotations

import pytest

from benchmarks import row_orders
from maskconv_ext.bench.live import BLOCK_M, live_fraction, row_keys
from maskconv_ext.bench.masks import make_mask, parse_mask


@pytest.mark.parametrize(("id", "mask", "update"), [("r50_56", "spark", "any"), ("asr_dw33", "lengths", "center")])
def test_orders_are_those_that_are_counted_elsewhere(monkeypatch, id: str, mask: str, update: str) -> None:
    monkeypatch.setattr(row_orders, "MOST_ROWS", 5000)
    layer, bits = row_orders.rows_of(id, None, mask, update)
    known = live_fraction(make_mask(parse_mask(mask), layer.batch, 1, layer.size, seed=0), layer, update)
    keys = row_keys(bits, layer.taps)
    found = {
        segment: row_orders.live(row_orders.sorted_by(bits, keys, segment), layer.taps) for segment in (1, 512, None)
    }
    assert row_orders.live(bits, layer.taps) == pytest.approx(known.raster) == pytest.approx(found[1])
    assert found[None] == pytest.approx(known.sorted) and found[None] <= found[512] <= found[1]
    last_tile = -len(bits) % BLOCK_M  # rows that it lacks, and that a share of whole tiles counts
    ideal = row_orders.ideal(bits, layer.taps) * len(bits) / (len(bits) + last_tile)
    for order in (row_orders.by_whole_bitset(bits), row_orders.sorted_by(bits, row_orders.hashes(bits))):
        assert ideal <= row_orders.live(order, layer.taps) <= 1
