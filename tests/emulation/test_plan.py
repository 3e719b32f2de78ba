"""The planner: which tile runs, what fits, and the sentences that say why not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from forward_case import Case

from maskconv_ext import _emulation

R50_56 = Case(batch=256, size=(1, 56, 56), channels=64, filters=64)
R50_7 = Case(batch=256, size=(1, 7, 7), channels=512, filters=512)
A100_SHARED = 166912
SMALL_SHARED = 101376  # compute capability 8.6 and 8.9


def choose(case: Case, **options: object) -> str:
    return _emulation.choose_forward(case.problem(), case.dtype, **options)


def test_the_tile_with_the_least_traffic_that_fills_the_device() -> None:
    assert choose(R50_56) == "mma_256x64x32_s4"  # 64 filters: 128 columns would idle half
    assert choose(replace(R50_7, batch=1024)) == "mma_256x128x32_s4"
    assert choose(R50_7) == "mma_128x128x32_s4"  # of 256 x 128 there are 196: two waves
    assert choose(replace(R50_7, batch=8)) == "mma_64x64x32_s4"
    few = _emulation.DeviceProperties(multiprocessors=4)
    assert choose(replace(R50_7, batch=8), device=few) == "mma_256x128x32_s4"


def test_float32_runs_on_tensor_cores_where_tf32_is_allowed() -> None:
    allowed = {"dtype": "float32", "allow_tf32": True}
    assert choose(replace(R50_56, **allowed)) == "tf32_256x64x16_s4"
    assert choose(replace(R50_7, **allowed)) == "tf32_128x128x16_s4"
    assert choose(replace(R50_7, batch=8, **allowed)) == "tf32_64x64x16_s4"
    assert choose(replace(R50_56, channels=4, **allowed)) == "tf32_256x64x16_s4"
    assert choose(replace(R50_56, channels=6, **allowed)) == "simt_64x64x8_s2"
    assert choose(replace(R50_56, **allowed), aligned=False) == "simt_64x64x8_s2"
    old = _emulation.DeviceProperties(compute_capability=75)
    assert choose(replace(R50_56, **allowed), device=old) == "simt_64x64x8_s2"
    assert choose_grad_input(replace(R50_56, **allowed)) == "tf32_256x64x16_s4"
    assert choose_grad_input(replace(R50_56, filters=6, **allowed)) == "simt_64x64x8_s2"
    # Of other types nothing changes.
    assert choose(replace(R50_56, allow_tf32=True)) == "mma_256x64x32_s4"
    assert choose(replace(R50_56, dtype="float64", allow_tf32=True)) == "simt_64x32x8_s2"


def test_what_tensor_cores_cannot_take_goes_to_simt() -> None:
    assert choose(replace(R50_56, dtype="float32")) == "simt_64x64x8_s2"
    assert choose(replace(R50_56, dtype="float64")) == "simt_64x32x8_s2"
    assert choose(replace(R50_56, channels=3)) == "simt_64x64x8_s2"
    assert choose(replace(R50_56, channels=64, groups=16)) == "simt_64x64x8_s2"
    assert choose(R50_56, aligned=False) == "simt_64x64x8_s2"
    assert choose(R50_56, device=_emulation.DeviceProperties(compute_capability=75)) == "simt_64x64x8_s2"


def test_every_tile_fits_the_shared_memory_it_is_offered() -> None:
    most = 992  # with more, the tile of 128 x 128 is passed over where a block gets least
    for config in _emulation.gemm_configs():
        special = {"simt_64x32x8_s2": "float64", "tf32": "float32"}
        dtype = special.get(config) or special.get(config.split("_")[0], "bfloat16")
        offered = A100_SHARED if "_256x" in config else SMALL_SHARED
        assert _emulation.gemm_shared_bytes(config, dtype, 32) <= offered
        if "_256x" not in config:
            assert _emulation.gemm_shared_bytes(config, dtype, most) <= offered
    # What the tile table says of occupancy, for windows of at most 32 taps.
    kept_by_system = 1024
    per_multiprocessor = 233472
    assert 4 * (_emulation.gemm_shared_bytes("mma_128x64x32_s4", "bfloat16", 32) + kept_by_system) <= per_multiprocessor
    assert 2 * (_emulation.gemm_shared_bytes("mma_128x128x32_s4", "bfloat16", 32) + kept_by_system) <= A100_SHARED


def test_a_tile_too_large_for_the_device_is_passed_over() -> None:
    device = _emulation.DeviceProperties(shared_bytes_per_block=64 * 1024)
    assert choose(R50_7, device=device) == "mma_128x64x32_s4"


@pytest.mark.parametrize(
    "case, reason",
    [
        (R50_56, ""),
        (replace(R50_56, dtype="float32", channels=3), ""),
        (
            replace(R50_56, kernel=(11, 11, 11), size=(20, 20, 20)),
            "the kernel has 1331 taps; the CUDA kernel takes at most 1024",
        ),
        (
            replace(R50_56, size=(1, 1, 2**31 - 1), stride=(1, 1, 2), padding=((0, 0), (1, 1), (4, 4))),
            "the windows reach over 2147483655 positions of one axis; the CUDA kernel counts them in 32 bits",
        ),
        (
            replace(R50_56, batch=2**20, size=(1, 512, 512)),
            "the output has 274877906944 positions x 64 filters: more tiles than one launch can carry",
        ),
    ],
    ids=lambda value: value[:30].replace(" ", "_") if isinstance(value, str) else "",
)
def test_what_the_kernel_takes(case: Case, reason: str) -> None:
    assert _emulation.why_not_forward(case.problem(), case.dtype) == reason


def choose_grad_input(case: Case, **options: object) -> str:
    return _emulation.choose_grad_input(case.problem(), case.dtype, **options)


def test_grad_input_counts_its_own_rows_and_columns() -> None:
    assert choose_grad_input(R50_56) == "mma_256x64x32_s4"
    assert choose_grad_input(replace(R50_7, filters=64)) == "mma_128x128x32_s4"  # 512 channels are its columns
    assert choose_grad_input(replace(R50_7, channels=64, batch=512)) == "mma_256x64x32_s4"
    # A stride makes fewer outputs, and leaves as many inputs.
    assert choose_grad_input(replace(R50_7, stride=(1, 7, 7))) == "mma_256x128x32_s4"
    assert choose_grad_input(replace(R50_7, batch=8)) == "mma_64x64x32_s4"


def test_grad_input_on_tensor_cores_needs_aligned_channels_and_filters() -> None:
    assert choose_grad_input(replace(R50_56, channels=3)) == "simt_64x64x8_s2"
    assert choose_grad_input(replace(R50_56, filters=3)) == "simt_64x64x8_s2"
    assert choose_grad_input(replace(R50_56, dtype="float64")) == "simt_64x32x8_s2"
    assert choose_grad_input(R50_56, aligned=False) == "simt_64x64x8_s2"


@pytest.mark.parametrize(
    "case, reason",
    [
        (R50_56, ""),
        (
            replace(R50_56, kernel=(11, 11, 11), size=(20, 20, 20)),
            "the kernel has 1331 taps; the CUDA kernel takes at most 1024",
        ),
        (
            replace(R50_56, size=(1, 1, 2**31 - 1), padding=((0, 0), (1, 1), (9, 0)), stride=(1, 1, 2**20)),
            "the windows reach over 2147483656 positions of one axis; the CUDA kernel counts them in 32 bits",
        ),
        (
            replace(R50_56, batch=2**20, size=(1, 512, 512), stride=(1, 2, 2)),
            "the input has 274877906944 positions x 64 channels: more tiles than one launch can carry",
        ),
    ],
    ids=lambda value: value[:30].replace(" ", "_") if isinstance(value, str) else "",
)
def test_what_the_grad_input_kernel_takes(case: Case, reason: str) -> None:
    assert _emulation.why_not_grad_input(case.problem(), case.dtype) == reason
