"""torch.backends.cudnn.benchmark = True: candidates are timed once a problem, and the fastest is remembered.

The choice, like cuDNN's, depends on shapes, types and options, not on the mask's values: it is made on the first mask
that comes. Results do not depend on it beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial

import torch

Timer = Callable[[Callable[[], object]], float]

# An estimate is not off by more: what is expected to take longer than this many times the least is not tried.
WORTH_TRYING = 6.0
REPETITIONS = 3

_fastest: dict[Hashable, str] = {}


def is_on() -> bool:
    """Whether to time candidates now. Not while tracing or capturing a graph; not where runs must repeat exactly."""
    if torch.compiler.is_compiling():  # which cannot trace what follows
        return False
    return (
        torch.backends.cudnn.benchmark
        and not torch.are_deterministic_algorithms_enabled()
        and not torch.cuda.is_current_stream_capturing()
    )


def fastest(key: Hashable, lines: str, run: Callable[[str], object], timer: Timer | None = None) -> str:
    """The candidate that `run` is fastest with, timed when `key` comes for the first time.

    Args:
        lines: as the operator `candidates` returns them, fastest estimate first.
        run: computes the pass with the candidate of that name; its result is dropped.
    """
    if key not in _fastest:
        timer = timer or _microseconds
        times = {name: timer(partial(run, name)) for name in worth_trying(lines)}
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
