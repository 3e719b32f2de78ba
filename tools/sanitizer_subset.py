"""A few small calls of the op on the GPU, against the CPU in float64: a minute's work for compute-sanitizer.

`--list-kernels` runs them under PyTorch's profiler and prints the package's kernels that were launched. It
fails where there was none: a sanitizer that saw no kernel would look like one that found no fault.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from maskconv_ext import MaskPlan, masked_conv1d, masked_conv2d, masked_conv3d

# Every kernel of the package has its namespace in its name.
KERNEL_NAME = "maskconv"
# Relative L2 error: a few roundings of the output dtype; sums are in float32.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}

# Op, input shape, weight shape, options; "mask" is "shared" unless it is said. Sizes are just past a tile in rows and
# filters: tails are guarded.
CASES: list[tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    (masked_conv2d, (2, 32, 9, 17), (40, 32, 3, 3), {"padding": 1}),
    (masked_conv2d, (1, 67, 12, 12), (3, 67, 3, 3), {"padding": 2, "dilation": 2, "normalization": "mean"}),
    (masked_conv2d, (2, 3, 15, 15), (64, 3, 7, 7), {"padding": 3, "stride": 2, "fill": "bias"}),
    (
        masked_conv2d,
        (1, 32, 8, 8),
        (32, 8, 3, 3),
        {"padding": 1, "groups": 4, "mask_update": "all", "pad_is_valid": True},
    ),
    (masked_conv1d, (2, 24, 131), (129, 24, 5), {"padding": 2, "mask_update": 0.5}),
    (masked_conv3d, (1, 16, 5, 6, 7), (16, 16, 3, 3, 3), {"padding": 1, "mask_update": "center"}),
    (masked_conv2d, (2, 16, 9, 16), (40, 16, 3, 3), {"padding": 1, "mask": "soft"}),
    (masked_conv2d, (2, 67, 9, 5), (8, 67, 3, 3), {"padding": 1, "mask": "channels"}),
    (masked_conv2d, (1, 32, 8, 9), (32, 16, 3, 3), {"groups": 2, "mask": "soft channels", "mask_update": "fraction"}),
]


def run_case(
    op: Callable[..., Any],
    shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    options: dict[str, Any],
    dtype: torch.dtype,
) -> Iterator[str]:
    """Yields what differs from the CPU in float64."""
    generator = torch.Generator().manual_seed(1)
    form = options.get("mask", "shared")
    values = torch.rand((shape[0], shape[1] if "channels" in form else 1, *shape[2:]), generator=generator)
    mask = values.mul(values < 0.7) if "soft" in form else values < 0.7
    x = torch.randn(shape, generator=generator).to(dtype).masked_fill(mask == 0, float("nan"))
    weight = torch.randn(weight_shape, generator=generator).to(dtype)
    bias = torch.randn(weight_shape[0], generator=generator).to(dtype)
    tensors: tuple[Tensor, ...] = (x, mask, weight, bias)

    arguments = {name: value for name, value in options.items() if name != "mask"}
    exact, exact_mask = op(x.double(), mask, weight.double(), bias.double(), **arguments)
    # Sorted rows in one of the types: nothing else in them depends on it.
    plans = (None, plan_of(mask, weight, arguments)) if dtype == torch.float16 else (None,)
    for plan in plans:
        output, out_mask = op(*(tensor.cuda() for tensor in tensors), **arguments, plan=plan)
        torch.cuda.synchronize()
        name = f"{op.__name__} {shape} {options} {dtype}" + (" with a plan" if plan else "")
        if not torch.allclose(out_mask.cpu().double(), exact_mask.double(), rtol=1e-6):
            yield f"{name}: another output mask"
        error = ((output.cpu().double() - exact).norm() / exact.norm()).item()
        if not error <= TOLERANCE[dtype]:
            yield f"{name}: relative error {error:.1e} is above {TOLERANCE[dtype]:.1e}"


def plan_of(mask: Tensor, weight: Tensor, arguments: dict[str, Any]) -> MaskPlan:
    own = {name: value for name, value in arguments.items() if name not in ("normalization", "fill", "groups")}
    return MaskPlan(mask.cuda(), weight.shape[2:], **own)


def run_cases() -> list[str]:
    torch.backends.cudnn.allow_tf32 = False
    return [problem for dtype in TOLERANCE for case in CASES for problem in run_case(*case, dtype)]


def launched_kernels() -> list[str]:
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        run_cases()
    return sorted({event.key for event in profile.key_averages() if KERNEL_NAME in event.key})


def main() -> int:
    if not torch.cuda.is_available():
        print("sanitizer_subset: no GPU is at hand")
        return 1
    if sys.argv[1:] == ["--list-kernels"]:
        kernels = launched_kernels()
        print("\n".join(kernels) or "sanitizer_subset: the op launched no kernel of the package")
        return 0 if kernels else 1
    problems = run_cases()
    print("\n".join(problems) or f"sanitizer_subset: {len(CASES) * len(TOLERANCE)} calls agree")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
