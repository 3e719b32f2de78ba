"""torchvision beside any build of torch: the models of it need none of its compiled operators."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def declare_missing_operators() -> torch.library.Library | None:
    """Declare the operators that torchvision asks for when it is imported, if its own library is of another build.

    They are declared only: calling one is an error. Keep what is returned; None: nothing was declared.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(library)
            return None
        except OSError:
            continue  # built for another torch, or for CUDA
    declared = torch.library.Library("torchvision", "DEF")
    for schema in OPERATORS:
        declared.define(schema)
    return declared
