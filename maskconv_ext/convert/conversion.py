"""`convert` and `unconvert`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..arguments import NORMALIZATIONS, check_choice, check_pad_is_valid, parse_fill, parse_mask_update
from .layers import Options, elementwise, rule_of
from .lowering import Lowering
from .model import Block, MaskedModel, Program, take_over
from .report import ConversionError, ConversionReport
from .structure import Skeleton, copy_tree, rebuild
from .tracing import Tracer, reason, required_inputs, trace


def convert(
    model: nn.Module,
    *,
    normalization: str = "ratio",
    mask_update: str | float = "any",
    pad_is_valid: bool = False,
    fill: float | str = 0.0,
    residual: str = "any",
    strict: bool = True,
) -> MaskedModel:
    op = "convert"
    if not isinstance(model, nn.Module):
        raise TypeError(f"{op}: model: got {type(model).__name__}, needs an nn.Module")
    if isinstance(model, MaskedModel):
        raise TypeError(f"{op}: model: got a converted model, needs one that is not; unconvert it first")
    check_choice(op, "normalization", normalization, NORMALIZATIONS)
    if mask_update != "inside":
        parse_mask_update(op, mask_update)
    check_pad_is_valid(op, pad_is_valid)
    parse_fill(op, fill, torch.float32)
    check_choice(op, "residual", residual, ("any", "all"))
    options = Options(normalization, mask_update, pad_is_valid, fill, residual)
    return _convert(model, options, strict)


def _convert(model: nn.Module, options: Options, strict: bool) -> MaskedModel:
    name = type(model).__name__
    report = ConversionReport()
    tree = copy_tree(model)
    if not required_inputs(tree):
        raise ValueError(f"convert: model: got {name}, whose forward needs no input, needs one with an image first")
    layers: dict[nn.Module, nn.Module] = {}
    operations: dict[str, nn.Module] = {}
    inplace: set[nn.Module] = set()
    traced: set[nn.Module] = set()
    programs: dict[bool, Program] = {}
    for training in (True, False):
        tracer = Tracer(lambda module: rule_of(module) is not None or elementwise(module) is not None)
        tree.train(training)
        try:
            graph = trace(tracer, tree)
        except Exception as error:
            raise ConversionError(
                f"convert: model: the forward of {name} cannot be traced: {reason(error)}", report
            ) from error
        lowered = Lowering(tree, tracer, options, report, layers, operations, inplace).run(graph)
        programs[training] = Program.of(lowered)
        traced |= {tree.get_submodule(path) for path in tracer.traced}
    if programs[True] == programs[False]:
        programs[True] = programs[False]
    if strict and report.problems:
        problems = "".join(f"\n  {problem}" for problem in report.problems)
        raise ConversionError(
            f"convert: {len(report.problems)} of the layers of {name} have no masked form:{problems}\n"
            f"With strict=False they stay plain: they see 0 in the holes, and the mask goes past them.",
            report,
        )
    for module, original in zip(tree.modules(), model.modules()):
        module.training = original.training
    for module in inplace:
        module.inplace = False  # type: ignore[assignment]
    return _assemble(model, tree, programs, report, layers, operations, traced)


def _assemble(
    model: nn.Module,
    tree: nn.Module,
    programs: dict[bool, Program],
    report: ConversionReport,
    layers: dict[nn.Module, nn.Module],
    operations: dict[str, nn.Module],
    traced: set[nn.Module],
) -> MaskedModel:
    converted = MaskedModel(type(model).__name__, programs, report)
    take_over(converted, tree)
    replaced: dict[nn.Module, Any] = {tree: converted, **layers}
    for module in traced:
        replaced[module] = Block(type(module).__name__)
        take_over(replaced[module], module)
    for module, layer in layers.items():
        layer.training = module.training
    rebuild(tree, replaced)
    for name in [name for name in vars(converted) if name.startswith("_tensor_constant")]:
        # Made by torch.fx of a tensor in a forward.
        converted.register_buffer(name, vars(converted).pop(name), persistent=False)
    converted.skeleton = Skeleton(model, converted)
    for path, module in operations.items():
        parent, _, name = path.rpartition(".")
        converted.get_submodule(parent).add_module(name, module.train(converted.training))
    return converted


def unconvert(model: nn.Module) -> nn.Module:
    if not isinstance(model, MaskedModel):
        raise TypeError(f"unconvert: model: got {type(model).__name__}, needs a model made by convert")
    assert model.skeleton is not None
    return model.skeleton.restore(model)
