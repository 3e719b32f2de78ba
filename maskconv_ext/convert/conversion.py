"""`convert` and `unconvert`."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..arguments import NORMALIZATIONS, check_choice, check_pad_is_valid, parse_mask_update
from .layers import Options, is_layer
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
    residual: str = "any",
    strict: bool = True,
) -> MaskedModel:
    """The masked form of `model`, a CNN: `(x, mask=None) -> y`, each map of y as a pair (y, mask).

    Its forward is traced by torch.fx, in both modes, and each layer and operation replaced by its masked form. The
    result has the names, Parameters, buffers and state_dict of `model`, which stays as it is. Without a mask it
    computes what `model` does, with `pad_is_valid` also under a mask of ones. What is pooled to one vector an image,
    or flattened to one, is a plain tensor from there on.

    Args:
        model: with an image (N, C, *S) as the first argument of its forward. Further arguments without a default follow
            the mask in the converted model, those with one are left at it.
        normalization, pad_is_valid: of the convolutions, as in `masked_conv2d`; their holes hold 0.
        mask_update: of the convolutions, as in `masked_conv2d`; or `"inside"`, of all layers, for padded batches:
            outputs are valid where an image that ends where its mask does would have them. With `normalization="none"`
            each image of a batch gets exactly what `model` gives it alone.
        residual: where sums are valid: `"any"`, where a term is, the sum being that of those that are; or `"all"`,
            which it is under `"inside"`.
        strict: raise where something has no masked form. False: it stays plain. It sees 0 in the holes, and the mask
            goes past it; where it changes the size, calling the model with a mask raises an error that names it.

    Returns:
        A `MaskedModel`, with a `report` of what became of each layer.

    Raises:
        ConversionError: naming all layers that have no masked form, each with the reason; or the model, if its own
            forward cannot be traced.
        TypeError, ValueError: an argument that does not fit.

    Sources: Reed et al., "torch.fx: Practical Program Capture and Transformation for Deep Learning in Python", 2022;
    for the formulas `masked_conv2d`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from maskconv_ext.convert import convert
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        >>> masked = convert(model)
        >>> print(masked.report)
        name  before     after
        ----  ---------  ---------------
        0     Conv2d     MaskedConv2d
        1     ReLU       elementwise
        2     MaxPool2d  MaskedMaxPool2d
        >>> y, mask = masked(torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8) < 0.5)
        >>> y.shape, mask.shape
        (torch.Size([1, 8, 4, 4]), torch.Size([1, 1, 4, 4]))
    """
    op = "convert"
    if not isinstance(model, nn.Module):
        raise TypeError(f"{op}: model: got {type(model).__name__}, needs an nn.Module")
    if isinstance(model, MaskedModel):
        raise TypeError(f"{op}: model: got a converted model, needs one that is not; unconvert it first")
    check_choice(op, "normalization", normalization, NORMALIZATIONS)
    if mask_update != "inside":
        parse_mask_update(op, mask_update)
    check_pad_is_valid(op, pad_is_valid)
    check_choice(op, "residual", residual, ("any", "all"))
    options = Options(normalization, mask_update, pad_is_valid, residual)
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
        tracer = Tracer(is_layer)
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
    """The original of a converted model: its classes, around the Parameters and buffers that `model` has now.

    Modules that were put into `model` after its conversion, such as another head, stay as they are.

    Raises:
        TypeError: `model` was not made by `convert`.

    Example:
        >>> from torch import nn
        >>> from maskconv_ext.convert import convert, unconvert
        >>> unconvert(convert(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())))
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
          (1): ReLU()
        )
    """
    if not isinstance(model, MaskedModel):
        raise TypeError(f"unconvert: model: got {type(model).__name__}, needs a model made by convert")
    assert model.skeleton is not None
    return model.skeleton.restore(model)
