"""Batches of samples of unequal sizes: padding with masks, and sampling by size so that little is padded."""

from .collate import PadCollate, pad_collate
from .sampling import BucketBatchSampler, padded_fraction

__all__ = ["BucketBatchSampler", "PadCollate", "pad_collate", "padded_fraction"]
