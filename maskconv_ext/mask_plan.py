"""What layers with the same mask and geometry share: the order in which the CUDA kernels take their rows."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from . import native
from .arguments import Options, check_plan_arguments
from .geometry import Geometry, pad_by_modes


class MaskPlan:
    """The plan of masked convolutions with this mask and geometry, made once and given to each as `plan=`.

    In a network `share_plans` does that for all its layers.

    Where holes are scattered, CUDA kernels save work by computing outputs together whose windows have the same
    valid pixels. A plan holds that order; without one a layer sorts for itself if it is large enough to gain by it
    under any mask. No result depends on a plan: an order is right for every mask, only slower for another than its
    own, so a mask that has changed since needs no new plan to be right. On the CPU, for soft masks and masks of
    several channels, with `mask_update="confidence"` or without compiled kernels a plan is accepted and makes no
    difference.

    All of it is computed here, and nothing waits for the device: a plan can be made, and used, within the capture of
    a CUDA graph. It takes 4 bytes an output position, and as many an input position for the gradient of the input
    unless gradients are disabled (`torch.no_grad`).

    Args:
        mask: (N or 1, M, *S), as given to the layers.
        kernel_size: int, or one an axis.
        stride, padding, dilation: as of the layers.
        batch: images of the layers' input; None: as many as `mask` has.
        mask_update, pad_is_valid, padding_mode: as of the layers.

    Raises:
        TypeError, ValueError: as `masked_conv2d`. A call refuses a plan of another geometry, size or device.

    Example:
        >>> import torch
        >>> from maskconv_ext import MaskPlan, masked_conv2d
        >>> mask = torch.rand(2, 1, 16, 16) < 0.4
        >>> plan = MaskPlan(mask, kernel_size=3, padding=1, mask_update="center")
        >>> x, w1, w2 = torch.rand(2, 8, 16, 16), torch.rand(8, 8, 3, 3), torch.rand(4, 8, 3, 3)
        >>> x, _ = masked_conv2d(x, mask, w1, padding=1, mask_update="center", plan=plan)
        >>> x, _ = masked_conv2d(x, mask, w2, padding=1, mask_update="center", plan=plan)
        >>> x.shape
        torch.Size([2, 4, 16, 16])
    """

    def __init__(
        self,
        mask: Tensor,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] | Sequence[tuple[int, int]] = 0,
        dilation: int | Sequence[int] = 1,
        *,
        batch: int | None = None,
        mask_update: str | float = "any",
        pad_is_valid: bool = False,
        padding_mode: str | Sequence[str] = "zeros",
    ) -> None:
        self.geometry, self.modes, self.batch, rule, threshold = check_plan_arguments(
            "MaskPlan", mask, kernel_size, stride, padding, dilation, batch, mask_update, pad_is_valid, padding_mode
        )
        self.size = tuple(mask.shape[2:])
        self.device = mask.device
        padded, geometry = pad_by_modes(mask, self.geometry, self.modes), self.geometry.after_modes(self.modes)
        # For the forward, and for the gradient of the input.
        self.row_orders = native.row_orders(padded, self.batch, geometry, rule, threshold, pad_is_valid)


def check_plan(op: str, plan: Any, input: Tensor, geometry: Geometry, modes: tuple[str, ...]) -> None:
    """Raises unless the plan is of a call like this one."""
    if not isinstance(plan, MaskPlan):
        raise TypeError(f"{op}: plan: got {type(plan).__name__}, needs a MaskPlan or None")
    for name, got, needed in (
        ("kernel_size", plan.geometry.kernel, geometry.kernel),
        ("stride", plan.geometry.stride, geometry.stride),
        ("padding", plan.geometry.padding, geometry.padding),
        ("dilation", plan.geometry.dilation, geometry.dilation),
        ("padding_mode", plan.modes, modes),
    ):
        if got != needed:
            raise ValueError(f"{op}: plan: got one for {name} {got}, needs {needed}, as of the call")
    if (plan.batch, *plan.size) != (input.shape[0], *input.shape[2:]):
        raise ValueError(
            f"{op}: plan: got one for a batch of {plan.batch} and size {plan.size}, needs {input.shape[0]} and "
            f"{tuple(input.shape[2:])}, as of input"
        )
    if plan.device != input.device:
        raise ValueError(f"{op}: plan: got one on device {plan.device}, needs {input.device}, the device of input")


@dataclasses.dataclass
class _SharedPlans:
    capturing: bool  # whether the context was entered while a CUDA graph was captured
    # A mask's version, and its plans by what else they depend on. They are gone when the mask is.
    of_masks: WeakTensorKeyDictionary = dataclasses.field(default_factory=WeakTensorKeyDictionary)


_shared: ContextVar[_SharedPlans | None] = ContextVar("shared_plans", default=None)


@contextlib.contextmanager
def share_plans() -> Iterator[None]:
    """Within this context masked convolutions with the same mask and geometry share a `MaskPlan`.

    The first of them makes it, for its own use too; the others find it by the mask tensor itself (not by its shape or
    values; after a change in place a new one is made), the geometry, the batch size and the rule. A call given a
    `plan` takes that one. Plans are dropped with their masks, at the latest when the context ends: what the backward
    needs, the forward has saved, so the context goes around the forward alone. It serves as a decorator too. In other
    threads it has no effect, nor where a plan makes no difference (see `MaskPlan`), nor under torch.compile, which
    takes a plan as an argument. Contexts within a context share what that does.

    It pays where layers share masks that have many holes, as all layers of a stage do under `mask_update="center"`:
    those of `maskconv_ext.nn` then return the mask itself. A layer whose mask no other has sorts its rows for itself
    here, though it be small.

    Example:
        >>> import torch
        >>> from maskconv_ext import share_plans
        >>> from maskconv_ext.nn import MaskedConv2d, MaskedSequential
        >>> stage = MaskedSequential(*[MaskedConv2d(8, 8, 3, padding=1, mask_update="center") for _ in range(3)])
        >>> x, visible = torch.rand(1, 8, 16, 16), torch.rand(1, 1, 16, 16) < 0.4
        >>> with share_plans():
        ...     y, mask = stage(x, visible)
        >>> y.sum().backward()
        >>> mask is visible
        True
    """
    # While tracing nothing is shared, which would depend on tensors' identities.
    if torch.compiler.is_compiling() or _shared.get() is not None:
        yield
        return
    token = _shared.set(_SharedPlans(_is_capturing()))
    try:
        yield
    finally:
        _shared.reset(token)


def shared_plan(mask: Tensor | None, batch: int, options: Options, modes: tuple[str, ...]) -> MaskPlan | None:
    """The plan that calls like this one share; None outside `share_plans`, and where a plan makes no difference."""
    if torch.compiler.is_compiling() or mask is None or (shared := _shared.get()) is None:
        return None
    geometry = options.geometry
    if not native.takes_row_orders(mask, batch, geometry, options.mask_update):
        return None
    # Of what a graph records nothing is there before its replay: it shares with nothing outside.
    if _is_capturing() != shared.capturing:
        return None
    version = None if mask.is_inference() else mask._version
    found, plans = shared.of_masks.get(mask, (version, {}))
    if found != version:
        plans = {}
    # On another stream a plan may not be ready yet; without gradients it lacks the order of grad_input.
    stream = torch.cuda.current_stream(mask.device).cuda_stream if mask.device.type == "cuda" else 0
    rule = options.threshold if options.mask_update == "threshold" else options.mask_update
    key = (geometry, modes, batch, rule, options.pad_is_valid, stream, torch.is_grad_enabled())
    if key not in plans:
        plans[key] = MaskPlan(
            mask, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation,
            batch=batch, mask_update=rule, pad_is_valid=options.pad_is_valid, padding_mode=modes,
        )  # fmt: skip
        shared.of_masks[mask] = version, plans
    return plans[key]


def _is_capturing() -> bool:
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()
