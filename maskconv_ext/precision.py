"""Which precision torch allows float32 convolutions."""

from __future__ import annotations

import torch


@torch.compiler.assume_constant_result
def conv_allows_tf32() -> bool:
    """Whether tensor cores may round the factors of float32 products to TF32, as in torch's own convolutions.

    `torch.backends.cudnn.conv.fp32_precision` is what they ask: the older `torch.backends.cudnn.allow_tf32` sets it,
    and it falls back on `torch.backends.cudnn.fp32_precision` and `torch.backends.fp32_precision`. Read at every call,
    backward passes included; a compiled function keeps what held when it was traced.
    """
    return bool(torch.backends.cudnn.conv.fp32_precision == "tf32")  # type: ignore[attr-defined]
