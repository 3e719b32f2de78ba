"""Losses over valid positions.

With m the mask (1 where it is None, its weights where it is soft) and l the loss of each position:

    "mean"   sum of m * l / sum of m, 0 where nothing is valid
    "sum"    sum of m * l
    "none"   m * l, in l's shape

Input and target are selected before anything is computed with them: NaN, Inf and class numbers out of range under a
hole reach neither the loss nor a gradient. Without a valid position loss and gradients are exactly 0. Sums are in
float32 (float64 for float64), and so are their results.
"""

from .elementwise import MaskedLoss, masked_bce_with_logits, masked_l1, masked_loss, masked_mean, masked_mse
from .segmentation import masked_cross_entropy, masked_dice

__all__ = [
    "MaskedLoss",
    "masked_bce_with_logits",
    "masked_cross_entropy",
    "masked_dice",
    "masked_l1",
    "masked_loss",
    "masked_mean",
    "masked_mse",
]
