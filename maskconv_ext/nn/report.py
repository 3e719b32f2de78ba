"""Where the mask goes in a network: one run with hooks, a table, and a picture of the masks layer by layer."""

from __future__ import annotations

import importlib.util
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import is_soft
from .containers import MaskedAdd, MaskedCat, is_mask_aware

COLUMNS = ("name", "type", "output", "mask", "valid", "kind")
PANELS_PER_ROW = 4
PANEL_INCHES = 2.6
DPI = 100


@dataclass(frozen=True)
class MaskRecord:
    """One call of a layer that returned an output and a mask."""

    name: str
    type: str
    output_shape: tuple[int, ...]
    mask_shape: tuple[int, ...] | None  # None: there was no mask
    valid_fraction: float  # share of the mask that is not 0
    kind: str  # "hard", "soft" or "none"
    lost: bool  # got no mask although what ran before it had returned one
    picture: Tensor | None  # mask of the first image, (H, W): the mean over channels, the middle slice of a volume


@dataclass
class MaskReport:
    """What `mask_report` found: `print` it for the table, `save` it as a picture."""

    records: list[MaskRecord] = field(default_factory=list)

    @property
    def lost(self) -> list[str]:
        """Names of the layers at which the mask was lost: they got None after a mask had been returned."""
        return [record.name for record in self.records if record.lost]

    def __str__(self) -> str:
        rows = [COLUMNS, *(_cells(record) for record in self.records)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        lines += [f"mask lost at {name}: it got None after an earlier layer had returned a mask" for name in self.lost]
        return "\n".join(lines)

    def save(self, path: str | Path) -> None:
        """Write a PNG with the masks of the first image, in the order of the calls; black is 0, white is 1.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: no layer returned a mask.
        """
        if importlib.util.find_spec("matplotlib") is None:
            raise ImportError("MaskReport.save: needs matplotlib: pip install matplotlib")
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        drawn = [(record, record.picture) for record in self.records if record.picture is not None]
        if not drawn:
            raise ValueError("MaskReport.save: got a report without masks, needs a layer that returned one")
        rows = -(-len(drawn) // PANELS_PER_ROW)
        columns = min(len(drawn), PANELS_PER_ROW)
        figure = Figure(figsize=(columns * PANEL_INCHES, rows * PANEL_INCHES), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        for place, (record, picture) in enumerate(drawn):
            axis = figure.add_subplot(rows, columns, place + 1)
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{record.name} ({record.type})\n{100 * record.valid_fraction:.1f} % valid", fontsize=7)
            axis.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if len(record.output_shape) == 3:
                axis.set_aspect("auto")
        figure.savefig(path, format="png")


def mask_report(model: nn.Module, *inputs: Any, strict: bool = False) -> MaskReport:
    """Run `model(*inputs)` once and report the mask that every layer returned.

    A layer is a module that returns (output, mask). The model runs in evaluation mode without gradients, and is left as
    it was; modules called twice are reported twice, containers after their children. The mask is lost at a layer that
    gets None although the layer that ran before it, or the call itself, had a mask.

    Args:
        model: takes `inputs`, with the mask as its second input or not at all.
        inputs: as the model takes them.
        strict: raise at the layer at which the mask is lost, instead of listing it.

    Returns:
        A `MaskReport`: `records`, `lost`, `print(report)`, `report.save("masks.png")`.

    Raises:
        ValueError: with `strict`, where the mask is lost, by the layer's name; the traceback shows the call.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import MaskedConv2d, MaskedSequential, mask_report
        >>> model = MaskedSequential(MaskedConv2d(1, 4, 3, padding=1), MaskedConv2d(4, 1, 3, stride=2))
        >>> mask = torch.zeros(1, 1, 7, 7, dtype=torch.bool)
        >>> mask[..., :3] = True
        >>> print(mask_report(model, torch.rand(1, 1, 7, 7), mask))
        name     type              output        mask          valid   kind
        -------  ----------------  ------------  ------------  ------  ----
        (input)  Tensor            (1, 1, 7, 7)  (1, 1, 7, 7)  42.9 %  hard
        0        MaskedConv2d      (1, 4, 7, 7)  (1, 1, 7, 7)  57.1 %  hard
        1        MaskedConv2d      (1, 1, 3, 3)  (1, 1, 3, 3)  66.7 %  hard
        (model)  MaskedSequential  (1, 1, 3, 3)  (1, 1, 3, 3)  66.7 %  hard
    """
    report = MaskReport()
    lost: set[tuple[nn.Module, int]] = set()  # calls in progress that lost it, by module and depth
    depth = 0
    has_mask = False  # what ran last returned a mask
    if len(inputs) > 1 and _is_pair(inputs[:2]):
        report.records.append(_record("(input)", "Tensor", inputs[0], inputs[1], lost=False))
        has_mask = inputs[1] is not None

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal depth, has_mask
        depth += 1
        if has_mask and is_mask_aware(module) and _got_no_mask(module, args, kwargs):
            if strict:
                raise ValueError(
                    f"mask_report: {names[module]} ({type(module).__name__}): mask: got None after an earlier layer "
                    f"had returned a mask, needs it"
                )
            lost.add((module, depth))
            has_mask = False

    def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        nonlocal depth, has_mask
        call = (module, depth)
        depth -= 1
        if not (isinstance(output, tuple) and _is_pair(output)):
            return
        output, mask = output
        if mask is None and not (is_mask_aware(module) or isinstance(module, MaskedAdd | MaskedCat)):
            return
        report.records.append(_record(names[module], type(module).__name__, output, mask, call in lost))
        lost.discard(call)
        has_mask = mask is not None

    names = {module: name or "(model)" for name, module in model.named_modules()}
    modes = {module: module.training for module in names}
    handles = []
    try:
        for module in names:
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        model.eval()
        with torch.no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return report


def _is_pair(pair: tuple[Any, ...]) -> bool:
    """Whether these are an output and its mask, not two other tensors."""
    if len(pair) != 2 or not isinstance(pair[0], Tensor) or not (pair[1] is None or isinstance(pair[1], Tensor)):
        return False
    x, mask = pair
    return mask is None or (mask.dim() == x.dim() >= 3 and mask.shape[2:] == x.shape[2:])


def _got_no_mask(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return inspect.signature(module.forward).bind(*args, **kwargs).arguments.get("mask") is None


def _record(name: str, kind: str, output: Tensor, mask: Tensor | None, lost: bool) -> MaskRecord:
    shape = tuple(output.shape)
    if mask is None:
        return MaskRecord(name, kind, shape, None, 1.0, "none", lost, None)
    values = (mask.detach() if is_soft(mask) else mask != 0).float().cpu()
    picture = values[0].mean(0) if len(values) else None
    if picture is not None and picture.dim() != 2:
        picture = picture[None] if picture.dim() == 1 else picture[len(picture) // 2]
    valid = (values != 0).float().mean().item() if values.numel() else 1.0
    return MaskRecord(name, kind, shape, tuple(mask.shape), valid, "soft" if is_soft(mask) else "hard", lost, picture)


def _cells(record: MaskRecord) -> tuple[str, ...]:
    valid = f"{100 * record.valid_fraction:.1f} %"
    return record.name, record.type, str(record.output_shape), str(record.mask_shape), valid, record.kind
