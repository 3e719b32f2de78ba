"""check_mask: what every layer asks of its mask."""

from __future__ import annotations

import pytest
import torch
from layer_checks import assert_raises_first

from maskconv_ext.nn._checks import check_mask

X = torch.zeros(2, 4, 6, 5)


@pytest.mark.parametrize("batch", (1, 2))
def test_masks_that_fit(batch):
    check_mask("Layer", X, None)
    for dtype in (torch.bool, torch.uint8, torch.float16, torch.float32, torch.float64):
        for channels in (1, 4):
            check_mask("Layer", X, torch.ones(batch, channels, 6, 5, dtype=dtype))
    for channels in (1, 3):
        check_mask("Layer", X, torch.ones(batch, channels, 6, 5), parts=3)
    check_mask("Layer", torch.zeros(2, 4), torch.ones(2, 1))


NEEDS = "for input (2, 4, 6, 5), needs (1 or 2, 1 or 4, 6, 5)"


@pytest.mark.parametrize(
    ("x", "mask", "parts", "error", "message"),
    [
        (None, None, None, TypeError, "input: got NoneType, needs a Tensor"),
        (X[0, 0, 0], None, None, ValueError, "input: got shape (5,), needs 2 or more dimensions (N, C, *S)"),
        (X, 1.0, None, TypeError, "mask: got float, needs a Tensor or None"),
        (X, X.to_sparse(), None, TypeError,
         "mask: got layout torch.sparse_coo, needs torch.strided; write mask.to_dense()"),
        (X, X.int(), None, TypeError, "mask: got torch.int32, needs bool, uint8 or a floating dtype; write mask != 0 "
         "for a mask of 0 and 1, mask.float() for a soft mask"),
        (X, X.to("meta"), None, ValueError, "mask: got device meta, needs cpu, the device of input"),
        (X, X[:, :, 0], None, ValueError, f"mask: got shape (2, 4, 5) {NEEDS}"),
        (X, X[:, :2], None, ValueError, f"mask: got shape (2, 2, 6, 5) {NEEDS}"),
        (X, X[:0], None, ValueError, f"mask: got shape (0, 4, 6, 5) {NEEDS}"),
        (X, X[:, :, 1:], None, ValueError, f"mask: got shape (2, 4, 5, 5) {NEEDS}"),
        (X, X, 3, ValueError, "mask: got shape (2, 4, 6, 5) for input (2, 4, 6, 5), needs (1 or 2, 1 or 3, 6, 5)"),
    ],
)  # fmt: skip
def test_masks_that_do_not_fit(x, mask, parts, error, message):
    assert_raises_first(lambda: check_mask("Layer", x, mask, parts=parts), error, f"Layer: {message}")
