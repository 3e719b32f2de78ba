"""Either layout of a tensor, on the CPU: what is read as channels last and given back as planes, and the reverse."""

from __future__ import annotations

import pytest
import torch
from native_library import require_native

from maskconv_ext import masked_conv2d


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(2, 70, 9, 15), (1, 64, 16, 16), (3, 1, 5, 5), (2, 3, 17, 1)])
def test_transposed_values(shape, dtype, threads):
    """A convolution that gives back its input, of sizes below, at and between whole squares of cache lines."""
    require_native()
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        channels = shape[1]
        x = torch.randn(shape).to(dtype)
        mask = torch.rand(shape) < 0.5  # one a channel, which lies in planes, too
        identity = torch.eye(channels, dtype=dtype).reshape(channels, channels, 1, 1)
        expected = x.where(mask, 0)
        for memory_format in (torch.contiguous_format, torch.channels_last):
            given = x.masked_fill(~mask, torch.nan).to(memory_format=memory_format)
            output, _ = masked_conv2d(given, mask, identity, normalization="none")
            assert output.is_contiguous(memory_format=memory_format)
            assert torch.equal(output, expected)
    finally:
        torch.set_num_threads(before)
