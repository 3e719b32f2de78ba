"""Drop-in layers for NVIDIA's partialconv (2-D and 3-D), NeMo's PartialConv1d and mmagic's PartialConv2d."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import is_soft
from ..functional import masked_conv1d, masked_conv2d, masked_conv3d

CONVOLUTIONS = {1: masked_conv1d, 2: masked_conv2d, 3: masked_conv3d}


class _PartialConv(nn.modules.conv._ConvNd):
    """The formula, of any rank: with s the sum of the mask over the window, W the window's size, u = clamp(s, 0, 1),

    y = (conv(x * m) * (W / s) * u + b) * u, 0 where s is 0; the output mask is u

    A hard mask has u = 1 wherever s > 0, which is the operator's default.
    """

    def __init__(self, *args: Any, multi_channel: bool = False, return_mask: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.multi_channel = multi_channel
        self.return_mask = return_mask

    def extra_repr(self) -> str:
        flags = [f", {name}=True" for name in ("multi_channel", "return_mask") if getattr(self, name)]
        return super().extra_repr() + "".join(flags)

    def _convolve(self, x: Tensor, mask: Tensor | None, bias: Tensor | None, **options: Any) -> tuple[Tensor, ...]:
        return CONVOLUTIONS[len(self.kernel_size)](
            x, mask, self.weight, bias, self.stride, self.padding, self.dilation, self.groups,
            padding_mode=self.padding_mode, **options,
        )  # fmt: skip

    def _partial_conv(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        self._check_mask(mask)
        if mask is None:
            y, out_mask = self._convolve(x, None, self.bias)
            out_mask = out_mask.to(y.dtype)
        elif is_soft(mask):
            y, out_mask = self._from_sums(x, mask)
        else:
            # A mask that is expanded over the channels is a shared one: s / W is the same.
            shared = mask[:, :1] if mask.stride(1) == 0 else mask
            if shared.shape[1] > 1 and self.groups > 1:
                y, out_mask = self._from_sums(x, mask)
            else:
                y, out_mask = self._convolve(x, shared, self.bias)
        if self.multi_channel:
            out_mask = out_mask.expand(-1, self.out_channels, *out_mask.shape[2:])
        return y, out_mask

    def _from_sums(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The formula itself, for what the operator counts otherwise: soft masks, and one count for all groups."""
        a, _, s = self._convolve(x, mask, None, normalization="none", return_window_sum=True)
        # The mask has no gradient but through x * m, as NVIDIA's.
        s = s.detach().sum(1, keepdim=True).to(torch.promote_types(a.dtype, torch.float32))
        window = self.weight[0, 0].numel() * mask.shape[1]
        u = s.clamp(max=1.0)
        y = a * (window / torch.where(s > 0, s, 1.0) * u)
        if self.bias is not None:
            y = y + self.bias.view(-1, *[1] * (x.dim() - 2))
        return torch.where(s > 0, y * u, 0.0).to(a.dtype), u.to(mask.dtype)

    def _check_mask(self, mask: Tensor | None) -> None:
        if mask is None:
            return
        op, rank, channels = type(self).__name__, len(self.kernel_size), self.in_channels if self.multi_channel else 1
        if not isinstance(mask, Tensor):
            raise TypeError(f"{op}: mask: got {type(mask).__name__}, needs a Tensor or None")
        if mask.dim() != rank + 2 or mask.shape[1] != channels:
            raise ValueError(
                f"{op}: mask: got shape {tuple(mask.shape)}, needs {rank + 2} dimensions (N or 1, {channels}, *S) with "
                f"multi_channel={self.multi_channel}"
            )


class _NvidiaPartialConv(_PartialConv):
    def forward(self, input: Tensor, mask_in: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        y, out_mask = self._partial_conv(input, mask_in)
        return (y, out_mask) if self.return_mask else y


class PartialConv2d(_NvidiaPartialConv, nn.Conv2d):  # type: ignore[misc]
    """NVIDIA's PartialConv2d: same arguments, state_dict and formula, without a cache and without an epsilon.

    A bool or uint8 mask takes the operator's fused path and comes back in its dtype. A floating one is taken as it is,
    fractions included, by the formula with clamp(s, 0, 1); write `mask.bool()` where it is 0 and 1 anyway.

    Args:
        *args, **kwargs: those of nn.Conv2d.
        multi_channel: the mask has one channel an input channel, and s is over all of them.
        return_mask: forward returns (output, mask).

    Shapes: input (N, C, H, W); mask_in (N or 1, 1, H, W), or (N or 1, C, H, W) with multi_channel, or None for all
    valid; output (N, K, P, Q); mask (N or 1, 1, P, Q), K equal channels of it in one memory with multi_channel.

    Raises:
        TypeError, ValueError: as masked_conv2d; a mask whose channels do not fit multi_channel.

    Source: Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions", 2018, and the code published
    with it; what differs from it is in docs/compat.md.

    Example:
        >>> import torch
        >>> from maskconv_ext.compat import PartialConv2d
        >>> layer = PartialConv2d(3, 8, 3, padding=1, return_mask=True)
        >>> image, mask = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16) < 0.5
        >>> output, mask = layer(image, mask)
        >>> output.shape, mask.shape, mask.dtype
        (torch.Size([1, 8, 16, 16]), torch.Size([1, 1, 16, 16]), torch.bool)
    """


class PartialConv3d(_NvidiaPartialConv, nn.Conv3d):  # type: ignore[misc]
    """NVIDIA's PartialConv3d; all else as `PartialConv2d`.

    Example:
        >>> import torch
        >>> from maskconv_ext.compat import PartialConv3d
        >>> PartialConv3d(1, 2, 3)(torch.rand(1, 1, 5, 5, 5)).shape
        torch.Size([1, 2, 3, 3, 3])
    """


class PartialConv1d(_NvidiaPartialConv, nn.Conv1d):
    """NeMo's PartialConv1d; all else as `PartialConv2d`, which also gives it multi_channel and return_mask.

    With the attribute `partial` set to False it is the convolution of x * m, not rescaled, as in NeMo.

    Source: Liu et al. 2018, as in NVIDIA NeMo's speech synthesis.

    Example:
        >>> import torch
        >>> from maskconv_ext.compat import PartialConv1d
        >>> PartialConv1d(4, 8, 3, padding=1)(torch.rand(2, 4, 10)).shape
        torch.Size([2, 8, 10])
    """

    partial: bool = True

    def forward(  # type: ignore[override]
        self, input: Tensor, mask_in: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        if self.partial:
            return super().forward(input, mask_in)
        self._check_mask(mask_in)
        y, out_mask = self._convolve(input, mask_in, self.bias, normalization="none", fill="bias")
        return (y, out_mask) if self.return_mask else y


class MMagicPartialConv2d(_PartialConv, nn.Conv2d):
    """mmagic's PartialConv2d: same arguments and formula; without a mask it is nn.Conv2d.

    Its checkpoints load: their buffer of ones, `weight_mask_updater`, is passed over. `eps` is taken and not used:
    there is no division by a sum of 0 here.

    Args:
        *args, **kwargs: those of nn.Conv2d.
        multi_channel: as in `PartialConv2d`.
        eps: unused.

    forward(input, mask=None, return_mask=True) returns (output, mask), or the output alone where there is no mask or
    `return_mask` is False. Shapes and errors: as `PartialConv2d`.

    Source: Liu et al. 2018, as in OpenMMLab's mmagic.

    Example:
        >>> import torch
        >>> from maskconv_ext.compat import MMagicPartialConv2d
        >>> layer = MMagicPartialConv2d(3, 8, 3)
        >>> layer(torch.rand(1, 3, 16, 16)).shape
        torch.Size([1, 8, 14, 14])
    """

    def __init__(self, *args: Any, multi_channel: bool = False, eps: float = 1e-8, **kwargs: Any) -> None:
        super().__init__(*args, multi_channel=multi_channel, **kwargs)
        self.eps = eps

    def forward(  # type: ignore[override]
        self, input: Tensor, mask: Tensor | None = None, return_mask: bool = True
    ) -> Tensor | tuple[Tensor, Tensor]:
        if mask is None:
            return nn.Conv2d.forward(self, input)
        y, out_mask = self._partial_conv(input, mask)
        return (y, out_mask) if return_mask else y

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.pop(prefix + "weight_mask_updater", None)
        super()._load_from_state_dict(state_dict, prefix, *args)
