"""What other implementations compute, on this operator. `docs/compat.md` has every formula, and what differs.

Where options suffice, `OPTIONS[name]` holds them: `masked_conv2d(x, m, w, b, **OPTIONS["nconv"])`. Where inputs have
to be prepared as well, there is a function; for code that builds layers, classes with the peer's arguments.
"""

from .convolve import astropy_convolve
from .functions import (
    OPTIONS,
    mmcv_masked_conv2d,
    naoto0804_pconv2d,
    nemo_masked_conv1d,
    pconv_keras,
    spark_conv2d,
)
from .partialconv import MMagicPartialConv2d, PartialConv1d, PartialConv2d, PartialConv3d

__all__ = [
    "OPTIONS",
    "MMagicPartialConv2d",
    "PartialConv1d",
    "PartialConv2d",
    "PartialConv3d",
    "astropy_convolve",
    "mmcv_masked_conv2d",
    "naoto0804_pconv2d",
    "nemo_masked_conv1d",
    "pconv_keras",
    "spark_conv2d",
]
