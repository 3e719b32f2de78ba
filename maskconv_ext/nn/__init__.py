"""Layers that carry a mask: `forward(x, mask=None) -> (y, mask)`."""

from .elementwise import Masked, MaskedDropout
from .layer_norms import (
    MaskedGroupNorm,
    MaskedInstanceNorm1d,
    MaskedInstanceNorm2d,
    MaskedInstanceNorm3d,
    MaskedLayerNorm,
)
from .norm import MaskedBatchNorm1d, MaskedBatchNorm2d, MaskedBatchNorm3d, convert_sync_batchnorm

__all__ = [
    "Masked",
    "MaskedBatchNorm1d",
    "MaskedBatchNorm2d",
    "MaskedBatchNorm3d",
    "MaskedDropout",
    "MaskedGroupNorm",
    "MaskedInstanceNorm1d",
    "MaskedInstanceNorm2d",
    "MaskedInstanceNorm3d",
    "MaskedLayerNorm",
    "convert_sync_batchnorm",
]
