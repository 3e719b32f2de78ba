"""Fused convolution over the valid pixels of a tensor."""

from .explain import explain
from .functional import masked_conv1d, masked_conv2d, masked_conv3d, set_mask_checking
from .mask_plan import MaskPlan, share_plans

__all__ = [
    "MaskPlan", "explain", "masked_conv1d", "masked_conv2d", "masked_conv3d", "set_mask_checking", "share_plans"
]  # fmt: skip
__version__ = "0.1.0"
