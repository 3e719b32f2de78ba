"""What tests of the native library do where there is none."""

from __future__ import annotations

import os

import pytest
import torch


def native_is_built() -> bool:
    return hasattr(torch.ops.maskconv_ext, "forward")


def require_native() -> None:
    """Without the library a test of it fails, or says aloud that it was left out."""
    if native_is_built():
        return
    message = "the native library is not built or not loaded: run `make build`"
    if os.environ.get("MASKCONV_NATIVE_OPTIONAL") == "1":
        pytest.skip(f"{message} (skipped because MASKCONV_NATIVE_OPTIONAL=1)")
    pytest.fail(f"{message}; MASKCONV_NATIVE_OPTIONAL=1 skips these tests", pytrace=False)
