"""What layers with the same mask and geometry share: the order in which the CUDA kernels take their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from . import native
from .arguments import check_plan_arguments
from .geometry import Geometry, pad_by_modes


class MaskPlan:
    """The plan of masked convolutions with this mask and geometry, made once and given to each as `plan=`.

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
