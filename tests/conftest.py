"""Devices, engines and seeds that all tests share."""

from __future__ import annotations

import random

import hypothesis
import pytest
import torch
from native_library import require_native
from torchvision_operators import declare_missing_operators

from maskconv_ext import native
from maskconv_ext.arguments import Options

# Examples differ from run to run; a failure prints its blob, and the summary the seed that repeats the whole run.
hypothesis.settings.register_profile(
    "maskconv",
    deadline=None,
    print_blob=True,
    # The engine fixture stays the same for all examples of a test.
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("maskconv")


TORCHVISION = declare_missing_operators()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(random.SystemRandom().randrange(2**32))
    # Error bounds are those of the dtype, so float32 is float32.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    # Nor may the reference's convolutions spread rounding errors over a tile (Winograd, FFT) or add by atomics.
    torch.backends.cudnn.enabled = False


def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.write_line(f"repeat the random examples with --hypothesis-seed={config.option.hypothesis_seed}")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device: torch.cuda.is_available() is False")
    return request.param


def may_decline(input: torch.Tensor, options: Options) -> bool:
    """What the native engine is documented to leave to the reference."""
    if input.device.type not in ("cpu", "cuda") or native.is_transformed():
        return True
    parts = options.mask_channels
    many_parts = len(parts) > native.CUDA_MAX_MASK_PARTS and len(set(parts)) > 1
    empty_or_huge = input.shape[0] == 0 or options.geometry.taps > native.CUDA_MAX_TAPS
    return input.device.type == "cuda" and (many_parts or empty_or_huge)


@pytest.fixture(params=["native", "reference"])
def engine(request, monkeypatch) -> str:
    """Runs the test through one engine; the native one may decline only what is documented."""
    if request.param == "reference":
        monkeypatch.setattr(native, "can_run", lambda *args, **kwargs: False)
        return request.param
    require_native()
    can_run = native.can_run

    def checked_can_run(input, mask, weight, options):
        runs = can_run(input, mask, weight, options)
        assert runs or may_decline(input, options), f"the native engine declined {options}"
        return runs

    monkeypatch.setattr(native, "can_run", checked_can_run)
    return request.param


@pytest.fixture(autouse=True)
def layers_on_one_thread(request):
    """Layers, models, examples: the same numbers every time, and no threads, which wait for each other."""
    if request.path.parent.name not in ("nn", "convert", "examples"):
        yield
        return
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
