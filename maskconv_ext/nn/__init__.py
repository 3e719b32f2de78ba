"""Layers through which a mask travels beside the input: `layer(x, mask=None) -> (y, mask)`.

They are those of torch.nn, with the same arguments and state_dict. A mask is (N or 1, M, *S) with M = 1, shared by all
channels, or C; bool or uint8 (hard), or floating (soft). None: nothing is missing.
"""

from .containers import (
    MaskedAdd,
    MaskedCat,
    MaskedSequential,
    is_mask_aware,
    mask_channels_of,
    register_elementwise,
)
from .conv import (
    LazyMaskedConv1d,
    LazyMaskedConv2d,
    LazyMaskedConv3d,
    MaskedConv1d,
    MaskedConv2d,
    MaskedConv3d,
)
from .conv_transpose import (
    MaskedConvTranspose1d,
    MaskedConvTranspose2d,
    MaskedConvTranspose3d,
    masked_conv_transpose,
)
from .elementwise import Masked, MaskedDropout
from .layer_norms import (
    MaskedGroupNorm,
    MaskedInstanceNorm1d,
    MaskedInstanceNorm2d,
    MaskedInstanceNorm3d,
    MaskedLayerNorm,
)
from .learned import LearnedFill, LearnedMask
from .linear import MaskedLinear
from .norm import MaskedBatchNorm1d, MaskedBatchNorm2d, MaskedBatchNorm3d, convert_sync_batchnorm
from .padding import confine
from .pooling import masked_adaptive_avg_pool, masked_adaptive_max_pool, masked_avg_pool, masked_max_pool
from .pooling_layers import (
    MaskedAdaptiveAvgPool1d,
    MaskedAdaptiveAvgPool2d,
    MaskedAdaptiveAvgPool3d,
    MaskedAdaptiveMaxPool1d,
    MaskedAdaptiveMaxPool2d,
    MaskedAdaptiveMaxPool3d,
    MaskedAvgPool1d,
    MaskedAvgPool2d,
    MaskedAvgPool3d,
    MaskedMaxPool1d,
    MaskedMaxPool2d,
    MaskedMaxPool3d,
)
from .product import MaskedMul
from .report import MaskReport, mask_report
from .upsampling import MaskedUpsample, masked_upsample

__all__ = [
    "LazyMaskedConv1d",
    "LazyMaskedConv2d",
    "LazyMaskedConv3d",
    "LearnedFill",
    "LearnedMask",
    "MaskReport",
    "Masked",
    "MaskedAdaptiveAvgPool1d",
    "MaskedAdaptiveAvgPool2d",
    "MaskedAdaptiveAvgPool3d",
    "MaskedAdaptiveMaxPool1d",
    "MaskedAdaptiveMaxPool2d",
    "MaskedAdaptiveMaxPool3d",
    "MaskedAdd",
    "MaskedAvgPool1d",
    "MaskedAvgPool2d",
    "MaskedAvgPool3d",
    "MaskedBatchNorm1d",
    "MaskedBatchNorm2d",
    "MaskedBatchNorm3d",
    "MaskedCat",
    "MaskedConv1d",
    "MaskedConv2d",
    "MaskedConv3d",
    "MaskedConvTranspose1d",
    "MaskedConvTranspose2d",
    "MaskedConvTranspose3d",
    "MaskedDropout",
    "MaskedGroupNorm",
    "MaskedInstanceNorm1d",
    "MaskedInstanceNorm2d",
    "MaskedInstanceNorm3d",
    "MaskedLayerNorm",
    "MaskedLinear",
    "MaskedMaxPool1d",
    "MaskedMaxPool2d",
    "MaskedMaxPool3d",
    "MaskedMul",
    "MaskedSequential",
    "MaskedUpsample",
    "confine",
    "convert_sync_batchnorm",
    "is_mask_aware",
    "mask_channels_of",
    "mask_report",
    "masked_adaptive_avg_pool",
    "masked_adaptive_max_pool",
    "masked_avg_pool",
    "masked_conv_transpose",
    "masked_max_pool",
    "masked_upsample",
    "register_elementwise",
]
