"""What a network can learn about missing values: what to put there, and how much to trust each position."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import is_soft
from ._checks import Pair, check_input, compute_dtype, mask_parts, mask_values, per_channel, select
from .conv import MaskedConv1d, MaskedConv2d, MaskedConv3d

CONVOLUTIONS = {1: MaskedConv1d, 2: MaskedConv2d, 3: MaskedConv3d}
# Standard deviation of a new embedding, as BERT and MAE draw their mask token.
EMBEDDING_STD = 0.02
# sigmoid(2) = 0.88: at first nearly every position counts, yet the sigmoid is not saturated.
INITIAL_LOGIT = 2.0


class LearnedFill(nn.Module):
    """A learned value for each channel in place of what is missing: `(x, mask=None) -> (y, None)`.

        y = x where mask != 0, else embedding;        soft: y = mask * x + (1 - mask) * embedding

    After it nothing is missing, so the mask that it returns is None, or the given one with `keep_mask`.

    Args:
        channels: C.
        keep_mask: return the mask, for layers that should still know.
        device, dtype: of the parameter `embedding` (C,).

    Shapes:
        x (N, C, *S) with 1 to 3 spatial axes; mask (N or 1, 1 or C, *S), bool, uint8 or floating, or None: y is x.

    Raises:
        TypeError, ValueError: an input or a mask that does not fit.

    Source: the mask token of He et al., "Masked Autoencoders Are Scalable Vision Learners", 2022.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import LearnedFill
        >>> fill = LearnedFill(1)
        >>> _ = torch.nn.init.constant_(fill.embedding, 7.0)
        >>> x = torch.tensor([[[1.0, float("nan")]]])
        >>> y, mask = fill(x, ~x.isnan())
        >>> y.tolist(), mask
        ([[[1.0, 7.0]]], None)
    """

    def __init__(
        self, channels: int, keep_mask: bool = False, device: Any = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ValueError(f"LearnedFill: channels: got {channels!r}, needs an int >= 1")
        self.channels = channels
        self.keep_mask = keep_mask
        self.embedding = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.embedding, std=EMBEDDING_STD)

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Pair:
        check_input("LearnedFill", input)
        if input.shape[1] != self.channels:
            raise ValueError(
                f"LearnedFill: input: got shape {tuple(input.shape)}, needs {self.channels} channels in dimension 1"
            )
        parts = mask_parts("LearnedFill", input, mask, None)
        if mask is None:
            return input, None
        embedding = self.embedding.to(input.dtype).view(-1, *[1] * (input.dim() - 2))
        of_channel = per_channel(mask, parts)
        if is_soft(mask):
            m = of_channel.to(input.dtype)
            output = select(input, of_channel) * m + embedding * (1.0 - m)
        else:
            output = select(input, of_channel, embedding)
        return output, mask if self.keep_mask else None

    def extra_repr(self) -> str:
        return f"{self.channels}{', keep_mask=True' if self.keep_mask else ''}"


class LearnedMask(nn.Module):
    """A soft mask in [0, 1] predicted from the input: `(x, mask=None) -> (x, soft mask)`.

        soft mask = sigmoid(conv(relu(conv(x)))) * mask

    The two convolutions are masked ones, so holes of a given mask are read neither here. It is trained through the
    gradient that the layers after it have for their mask.

    Args:
        channels: C.
        hidden_channels: of the layer between.
        kernel_size: of both convolutions; odd, so that the size is kept.
        rank: spatial axes, 1 to 3.
        per_channel: predict a mask for each channel, instead of one for all.
        device, dtype: of the parameters.

    Shapes:
        x (N, C, *S); mask (N or 1, 1 or C, *S), bool, uint8 or floating, or None. Soft mask (N, 1 or C, *S), float32,
        or float64 for float64; it has C channels if `per_channel` or if the given mask has. Holes of the returned x are
        0.

    Raises:
        TypeError, ValueError: an option, an input or a mask that does not fit.

    Source: the gate of Yu et al., "Free-Form Image Inpainting with Gated Convolution", 2019, applied to the mask.

    Example:
        >>> import torch
        >>> from maskconv_ext.nn import LearnedMask, MaskedConv2d
        >>> learned, conv = LearnedMask(3), MaskedConv2d(3, 8, 3, padding=1)
        >>> y, _ = conv(*learned(torch.rand(1, 3, 8, 8)))
        >>> y.mean().backward()
        >>> learned.gate.weight.grad.abs().sum().item() > 0
        True
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int = 16,
        kernel_size: int = 3,
        rank: int = 2,
        per_channel: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if rank not in CONVOLUTIONS:
            raise ValueError(f"LearnedMask: rank: got {rank!r}, needs 1, 2 or 3")
        if isinstance(kernel_size, bool) or not isinstance(kernel_size, int) or kernel_size % 2 != 1 or kernel_size < 1:
            raise ValueError(f"LearnedMask: kernel_size: got {kernel_size!r}, needs an odd int >= 1")
        convolution = CONVOLUTIONS[rank]
        factory = {"device": device, "dtype": dtype}
        same = kernel_size // 2
        self.rank = rank
        self.hidden = convolution(channels, hidden_channels, kernel_size, padding=same, **factory)
        self.gate = convolution(hidden_channels, channels if per_channel else 1, kernel_size, padding=same, **factory)
        assert self.gate.bias is not None
        nn.init.constant_(self.gate.bias, INITIAL_LOGIT)

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_input("LearnedMask", input, self.rank)
        parts = mask_parts("LearnedMask", input, mask, None)
        hidden, hidden_mask = self.hidden(input, mask)
        gate, _ = self.gate(hidden.relu(), hidden_mask)
        soft = gate.to(compute_dtype(input)).sigmoid()
        if mask is None:
            return input, soft
        return select(input, per_channel(mask, parts)), soft * mask_values(mask, soft.dtype)
