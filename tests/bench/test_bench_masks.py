"""The benchmark: seeded masks are what they promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from maskconv_ext.bench.masks import KINDS, make_mask, parse_mask


@pytest.mark.parametrize(
    ("name", "size", "valid", "tolerance"),
    [
        ("ones", (9, 9), 1.0, 0), ("zeros", (9, 9), 0.0, 0), ("strokes25", (128, 128), 0.75, 0.03),
        ("strokes50", (128, 128), 0.5, 0.04), ("spark", (56, 56), 20 / 49, 0), ("spark@0.25", (14, 14), 12 / 49, 0),
        ("rectangles", (64, 64), 0.49, 0.2), ("lengths", (1000,), 0.7, 0.15), ("lidar", (352, 1216), 0.05, 0.002),
        ("lidar@0.5", (352, 1216), 0.5, 0.01), ("after_sic_1", (352, 1216), 0.95, 0.05),
        ("blob", (24, 24, 24), 0.3, 0.01),
    ],
)  # fmt: skip
def test_masks_have_the_valid_fraction_they_promise(name: str, size: Any, valid: float, tolerance: float) -> None:
    batch = 2 if len(size) > 1 and size[0] > 100 else 16
    mask = make_mask(parse_mask(name), batch, 1, size, seed=0)
    assert mask.shape == (batch, 1, *size) and mask.dtype == bool
    assert mask.mean() == pytest.approx(valid, abs=tolerance + 1e-12)
    assert np.array_equal(mask, make_mask(parse_mask(name), batch, 1, size, seed=0))
    if name not in ("ones", "zeros"):
        assert not np.array_equal(mask, make_mask(parse_mask(name), batch, 1, size, seed=1))
        assert any(not np.array_equal(mask[0], other) for other in mask[1:])


def test_spark_hides_whole_blocks() -> None:
    mask = make_mask(parse_mask("spark"), 4, 1, (56, 56), seed=0)[:, 0]
    blocks = mask.reshape(4, 7, 8, 7, 8)
    assert np.array_equal(blocks.all(axis=(2, 4)), blocks.any(axis=(2, 4)))


def test_after_sic_1_is_what_the_op_makes_of_the_lidar_mask() -> None:
    from maskconv_ext import masked_conv2d

    size = (40, 60)
    after = KINDS["after_sic_1"][0](size, 0.05, np.random.default_rng(3))
    before = torch.from_numpy(KINDS["lidar"][0](size, 0.05, np.random.default_rng(3)))[None, None]
    _, grown = masked_conv2d(torch.zeros(1, 1, *size), before, torch.zeros(1, 1, 11, 11), padding=5)
    assert np.array_equal(grown[0, 0].numpy(), after)
