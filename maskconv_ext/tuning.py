"""Calling the compiled operators, and which candidate they compute with.

torch.backends.cudnn.benchmark = True: on CUDA the candidates of a pass, forward or gradient, are timed once a problem,
and the fastest is remembered. The choice, like cuDNN's, depends on shapes, layouts, types and options, not on the
mask's values: it is made on the first mask that comes. Results do not depend on it beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import torch
from torch import Tensor

Timer = Callable[[Callable[[], object]], float]

# An estimate is not off by more: what is expected to take longer than this many times the least is not tried.
WORTH_TRYING = 6.0
REPETITIONS = 3
ALIGNMENT = 16  # bytes that kernels load at once

_fastest: dict[Hashable, str] = {}


def call(name: str, *arguments: Any, candidate: str = "") -> Any:
    """The operator `name` (forward, grad_input or grad_weight) of these arguments.

    Args:
        candidate: how it is computed; "": as is fastest, by timing where that `is_on`, else by the planner's estimate.
    """
    operator = getattr(torch.ops.maskconv_ext, name)
    if not candidate and is_on(arguments[0].device):

        def run(tried: str) -> object:
            with torch.no_grad():
                return operator(*arguments, candidate=tried)

        candidate = fastest((name, *map(_key, arguments)), partial(candidates, name, arguments), run)
    return operator(*arguments, candidate=candidate)


def is_on(device: torch.device) -> bool:
    """Whether to time candidates now. Not while a graph is traced or captured, or calls are watched, which would count
    those that are tried; not where runs must repeat exactly."""
    if torch.compiler.is_compiling():  # which cannot trace what follows
        return False
    return (
        device.type == "cuda"
        and torch.backends.cudnn.benchmark
        and not torch.are_deterministic_algorithms_enabled()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and not torch.cuda.is_current_stream_capturing()
    )


def candidates(name: str, arguments: tuple[Any, ...]) -> str:
    """What could compute the call on its CUDA device, as the operator `candidates` writes it."""
    schema = getattr(torch.ops.maskconv_ext, name).default._schema
    given = dict(zip((argument.name for argument in schema.arguments), arguments, strict=False))
    operands = [given[operand] for operand in ("grad", "input", "weight") if operand in given]
    mask, groups = given["mask"], given["groups"]
    return torch.ops.maskconv_ext.candidates(
        name,
        given.get("input_size") or given["input"].shape,
        given.get("weight_size") or given["weight"].shape,
        given["stride"],
        given["padding"],
        given["dilation"],
        groups,
        0 if mask is None else mask.shape[0],
        groups if len(given["mask_channels"]) > 1 else 1,
        str(operands[0].dtype).removeprefix("torch."),
        given["allow_tf32"],
        [],
        given.get("weight_sum") is not None,
        all(map(_is_aligned, operands)),
    )


def _is_aligned(tensor: Tensor) -> bool:
    """Whether kernels read it from an aligned address: where it lies, or, if the channels are not last, from a copy."""
    return tensor.data_ptr() % ALIGNMENT == 0 or not tensor.movedim(1, -1).is_contiguous()


def _key(argument: Any) -> Hashable:
    if isinstance(argument, Tensor):
        aligned = argument.data_ptr() % ALIGNMENT == 0
        return (argument.shape, argument.stride(), argument.dtype, argument.device, aligned)
    if isinstance(argument, float):
        return str(argument)  # NaN equals no other
    return tuple(argument) if isinstance(argument, list | tuple) else argument


def fastest(key: Hashable, lines: Callable[[], str], run: Callable[[str], object], timer: Timer | None = None) -> str:
    """The candidate that `run` is fastest with, timed when `key` comes for the first time.

    Args:
        lines: lists what there is, as the operator `candidates` does.
        run: computes the pass with the candidate of that name; its result is dropped.
    """
    if key not in _fastest:
        timer = timer or _microseconds
        times = {name: timer(partial(run, name)) for name in worth_trying(lines())}
        _fastest[key] = min(times, key=times.__getitem__)
    return _fastest[key]


def worth_trying(lines: str) -> list[str]:
    """Names of the candidates that run, without those expected to be far behind."""
    found = [line.split("\t")[:2] for line in lines.splitlines()]
    estimates = {name: float(microseconds) for name, microseconds in found if microseconds}
    return [name for name, estimate in estimates.items() if estimate <= WORTH_TRYING * min(estimates.values())]


def forget() -> None:
    """Time everything anew."""
    _fastest.clear()


def _microseconds(run: Callable[[], object]) -> float:
    """The least of a few runs on the current stream, after one that loads the kernel."""
    run()
    times = []
    for _ in range(REPETITIONS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3)
    return min(times)
