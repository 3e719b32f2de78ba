"""Existing networks with masks."""

from .conversion import convert, unconvert
from .model import MaskedModel
from .report import Conversion, ConversionError, ConversionReport, Problem

__all__ = ["Conversion", "ConversionError", "ConversionReport", "MaskedModel", "Problem", "convert", "unconvert"]
