"""Existing networks with masks.

The way of a model: `conversion.py` copies its tree (`structure.py`), has torch.fx trace it (`tracing.py`), and
`lowering.py` writes the graph anew in values (`values.py`), which are x and its mask. What becomes of a layer stands in
`layers.py`; of a function or method in `functions.py`, with those of maps in `maps.py` and those that move elements in
`moving.py`. The new graph calls the layers of maskconv_ext.nn and `operations.py`; `model.py` holds it as source, and
`report.py` what became of each part.
"""

from .conversion import convert, unconvert
from .model import MaskedModel
from .report import Conversion, ConversionError, ConversionReport, Problem

__all__ = ["Conversion", "ConversionError", "ConversionReport", "MaskedModel", "Problem", "convert", "unconvert"]
