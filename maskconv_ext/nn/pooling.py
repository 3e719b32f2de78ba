"""Pooling over valid positions. Whatever is pooled, the output mask is the mask pooled by its maximum.

So of a hard mask an output is valid where any position in its window is; of a soft one it is as valid as the best of
them. (With the rule "inside" it is pooled by its minimum, over the window less the padding.) Channels may have masks of
their own, or share them by `mask_channels`. Where a window has no valid position the output is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import is_soft
from ..geometry import per_axis
from ._checks import Pair, check_input, compute_dtype, mask_parts, mask_values, per_channel, select, weigh
from ._inside import inside_mask

Functions = dict[int, Callable[..., Tensor]]
MAX: Functions = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG: Functions = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE_MAX: Functions = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
ADAPTIVE_AVG: Functions = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
Pool = Callable[[Tensor], Tensor]
Rule = Callable[[Tensor, Tensor], Tensor]


def masked_max_pool(
    input: Tensor,
    mask: Tensor | None,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    *,
    mask_update: str = "any",
    mask_channels: Sequence[int] | None = None,
) -> Pair:
    """Maximum over the positions of each window where `mask` is not 0.

    Equivalent to `F.max_pool*d(where(mask != 0, input, -inf))`, with 0 where nothing in the window is valid.

    Args:
        input: (N, C, *S) with 1 to 3 spatial axes; floating.
        mask: (N or 1, M, *S) with M = 1, C or `len(mask_channels)`; bool, uint8 or floating. None: plain pooling.
        kernel_size, stride, padding, dilation, ceil_mode: as `F.max_pool2d`.
        mask_update: which outputs are valid: `"any"`, those with a valid position in their window; `"inside"`, for
            padded batches, those whose window, less the padding, is valid: what each image has alone.
        mask_channels: input channels covered by each mask channel; they add up to C.

    Returns:
        `(output, out_mask)`: (N, C, *O) in `input`'s dtype, and the max-pooled mask (N or 1, M, *O) in the mask's
        dtype, or None for None.

    Raises:
        TypeError, ValueError: an input or a mask that does not fit; and what torch's own pooling raises.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import masked_max_pool
        >>> x = torch.tensor([[[-3.0, float("nan"), -1.0, -2.0]]])
        >>> masked_max_pool(x, ~x.isnan(), 2)
        (tensor([[[-3., -1.]]]), tensor([[[True, True]]]))
    """

    def pool(tensor: Tensor) -> Tensor:
        return MAX[tensor.dim() - 2](tensor, kernel_size, stride, padding, dilation, ceil_mode)

    rule = _rule("masked_max_pool", input, mask_update, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("masked_max_pool", input, mask, mask_channels, pool, rule)


def masked_avg_pool(
    input: Tensor,
    mask: Tensor | None,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    divisor_override: int | None = None,
    *,
    mask_update: str = "any",
    mask_channels: Sequence[int] | None = None,
) -> Pair:
    """Mean over the valid positions of each window, weighted by a soft mask: sum of input * mask / sum of mask.

    Args:
        input: (N, C, *S) with 1 to 3 spatial axes; floating.
        mask: (N or 1, M, *S) with M = 1, C or `len(mask_channels)`; bool, uint8, or floating (soft, gets a gradient).
            None: plain pooling.
        kernel_size, stride, padding, ceil_mode: as `F.avg_pool2d`.
        count_include_pad: count the padding as valid zeros, as `F.avg_pool2d` does by default; here it is False.
        divisor_override: divide by this number instead, as `F.avg_pool2d`; it has none for 1 spatial axis.
        mask_update: as `masked_max_pool`.
        mask_channels: input channels covered by each mask channel; they add up to C.

    Returns and raises as `masked_max_pool`. Sums are in float32, in float64 for float64.

    Source: Uhrig et al., "Sparsity Invariant CNNs", 2017, whose average over valid pixels this is.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import masked_avg_pool
        >>> x = torch.tensor([[[3.0, float("nan"), 1.0, 2.0]]])
        >>> masked_avg_pool(x, ~x.isnan(), 2)
        (tensor([[[3.0000, 1.5000]]]), tensor([[[True, True]]]))
    """
    check_input("masked_avg_pool", input)
    rank = input.dim() - 2
    extra: tuple[Any, ...] = ()
    if divisor_override is not None:
        if rank == 1:
            raise ValueError(
                f"masked_avg_pool: divisor_override: got {divisor_override!r}, needs None for 1 spatial axis"
            )
        extra = (divisor_override,)

    def pool(tensor: Tensor) -> Tensor:
        return AVG[rank](tensor, kernel_size, stride, padding, ceil_mode, count_include_pad, *extra)

    def share(m: Tensor) -> Tensor:
        """The valid positions of each window, over the number that `pool` divides by."""
        if divisor_override is not None:
            return m.new_ones((1,) * m.dim())
        if not count_include_pad:
            return pool(m)
        # pool counts the padding in the divisor only: what is missing from 1 for an all-ones mask is its share.
        return pool(m) + (1.0 - pool(m.new_ones((1, 1, *m.shape[2:]))))

    def pool_mask(m: Tensor) -> Tensor:
        return MAX[rank](m, kernel_size, stride, padding, 1, ceil_mode)

    rule = _rule("masked_avg_pool", input, mask_update, kernel_size, stride, padding, 1, ceil_mode)
    return _avg_pool("masked_avg_pool", input, mask, mask_channels, pool, share, pool_mask, rule)


def masked_adaptive_max_pool(
    input: Tensor,
    mask: Tensor | None,
    output_size: int | Sequence[int | None],
    *,
    mask_channels: Sequence[int] | None = None,
) -> Pair:
    """`masked_max_pool` over the windows of `F.adaptive_max_pool*d`; `output_size` 1 pools globally.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import masked_adaptive_max_pool
        >>> x = torch.tensor([[[-3.0, float("nan"), -1.0]]])
        >>> masked_adaptive_max_pool(x, ~x.isnan(), 1)
        (tensor([[[-1.]]]), tensor([[[True]]]))
    """

    def pool(tensor: Tensor) -> Tensor:
        return ADAPTIVE_MAX[tensor.dim() - 2](tensor, output_size)

    return _max_pool("masked_adaptive_max_pool", input, mask, mask_channels, pool)


def masked_adaptive_avg_pool(
    input: Tensor,
    mask: Tensor | None,
    output_size: int | Sequence[int | None],
    *,
    mask_channels: Sequence[int] | None = None,
) -> Pair:
    """`masked_avg_pool` over the windows of `F.adaptive_avg_pool*d`; `output_size` 1 is the mean of all that is valid.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import masked_adaptive_avg_pool
        >>> x = torch.tensor([[[3.0, float("nan"), 1.0]]])
        >>> masked_adaptive_avg_pool(x, ~x.isnan(), 1)
        (tensor([[[2.]]]), tensor([[[True]]]))
    """

    def pool(tensor: Tensor) -> Tensor:
        return ADAPTIVE_AVG[tensor.dim() - 2](tensor, output_size)

    def pool_mask(m: Tensor) -> Tensor:
        return ADAPTIVE_MAX[m.dim() - 2](m, output_size)

    return _avg_pool("masked_adaptive_avg_pool", input, mask, mask_channels, pool, pool, pool_mask)


def _rule(
    op: str, input: Tensor, mask_update: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Rule | None:
    """What makes the output mask, of the mask and the output; None for the maximum."""
    if mask_update == "any":
        return None
    if mask_update != "inside":
        raise ValueError(f"{op}: mask_update: got {mask_update!r}, needs 'any' or 'inside'")
    check_input(op, input)
    rank = input.dim() - 2
    kernels = per_axis(op, "kernel_size", kernel, rank, 1)
    strides = per_axis(op, "stride", kernel if stride is None or stride == () else stride, rank, 1)
    paddings = per_axis(op, "padding", padding, rank, 0)
    dilations = per_axis(op, "dilation", dilation, rank, 1)
    return lambda mask, output: inside_mask(mask, kernels, strides, paddings, dilations, output.shape[2:], ceil_mode)


def _max_pool(
    op: str,
    input: Tensor,
    mask: Tensor | None,
    mask_channels: Sequence[int] | None,
    pool: Pool,
    rule: Rule | None = None,
) -> Pair:
    check_input(op, input)
    parts = mask_parts(op, input, mask, mask_channels)
    if mask is None:
        return pool(input), None
    output = pool(select(input, per_channel(mask, parts), -torch.inf))
    pooled_mask = _pooled_mask(mask, input, pool) if rule is None else rule(mask, output)
    return select(output, per_channel(pooled_mask, parts)), pooled_mask.to(mask.dtype)


def _avg_pool(
    op: str,
    input: Tensor,
    mask: Tensor | None,
    mask_channels: Sequence[int] | None,
    pool: Pool,
    share: Pool,
    pool_mask: Pool,
    rule: Rule | None = None,
) -> Pair:
    """`pool` divides by what an all-ones mask would count, and so does `share`: it cancels."""
    check_input(op, input)
    parts = mask_parts(op, input, mask, mask_channels)
    if mask is None:
        return pool(input), None
    compute = compute_dtype(input)
    total, counted = pool(weigh(input.to(compute), mask, parts)), share(mask_values(mask, compute))
    pooled_mask = _pooled_mask(mask, input, pool_mask) if rule is None else rule(mask, total)
    # Also where counted underflows, so that the output is never NaN.
    output = total / per_channel(torch.where(counted != 0, counted, 1.0), parts)
    return select(output, per_channel(pooled_mask, parts)).to(input.dtype), pooled_mask.to(mask.dtype)


def _pooled_mask(mask: Tensor, input: Tensor, pool_mask: Pool) -> Tensor:
    """The largest value in each window, 0 for a window outside the image."""
    pooled = pool_mask(mask_values(mask, mask.dtype if is_soft(mask) else compute_dtype(input)))
    return pooled.clamp_min(0.0)
