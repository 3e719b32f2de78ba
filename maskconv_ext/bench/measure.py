"""Times and memory, candidates taking turns so that whatever else the machine does falls on all alike."""

from __future__ import annotations

import importlib
import importlib.util
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

ROUNDS = 5
MAX_SAMPLES, MIN_SAMPLES = 100, 3
# A block on the CPU is repeated until the clock's grain no longer shows.
CPU_BLOCK_SECONDS = 1e-3
# A longer run streams more than a cache holds: whose data was last there makes no difference.
WARM_BELOW_SECONDS = 0.1
ESTIMATES = 3
# Larger than any second-level cache, so that writing it evicts the inputs.
FLUSH_BYTES = 256 * 2**20
FLUSH_MILLISECONDS = 0.1  # about

Run = Callable[[], Any]


class DeviceLost(RuntimeError):
    """The device answers no more, as after an illegal access: this process can measure nothing else."""


@dataclass
class Timing:
    samples_us: list[float] = field(default_factory=list)
    error: str = ""

    def quartiles(self) -> tuple[float, float, float]:
        ordered = self.samples_us
        if len(ordered) < 2:
            return (ordered[0],) * 3
        low, middle, high = statistics.quantiles(ordered, n=4, method="inclusive")
        return low, middle, high


def error_text(error: BaseException, device: str) -> str:
    """One line of it; raises DeviceLost where the device went with it."""
    lines = str(error).strip().splitlines() or [""]
    text = f"{type(error).__name__}: {lines[0][:300]}"
    if device == "cuda":
        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except RuntimeError:
            raise DeviceLost(text) from error
    return text


def race(runs: dict[str, Run], device: str, seconds: float, max_samples: int = MAX_SAMPLES) -> dict[str, Timing]:
    """Samples of each, in rounds, within about `seconds` altogether; one that raises is out, with its error."""
    timings = {name: Timing() for name in runs}
    sample = _cuda_sampler() if device == "cuda" else _cpu_samples
    estimates: dict[str, float] = {}

    def guarded(name: str, step: Callable[[], None]) -> None:
        try:
            step()
        except DeviceLost:
            raise
        except Exception as error:
            timings[name].error = error_text(error, device)

    def estimate(name: str) -> None:
        estimates[name] = _estimate(runs[name], device)

    def one_round(name: str, count: int) -> None:
        timings[name].samples_us += [1e6 * taken for taken in sample(runs[name], count, estimates[name])]

    for name in runs:
        guarded(name, lambda name=name: estimate(name))  # type: ignore[misc]
    for turn in range(ROUNDS):
        for name in runs:
            if timings[name].error:
                continue
            wanted = seconds / len(runs) / max(estimates[name], 1e-9)
            count = int(min(max(wanted, MIN_SAMPLES), max_samples))
            # Few samples are spread over the first rounds.
            share = count // ROUNDS + (turn < count % ROUNDS)
            if share:
                guarded(name, lambda name=name, share=share: one_round(name, share))  # type: ignore[misc]
    return timings


def peak_bytes(run: Run, device: str) -> int | None:
    """Device memory allocated while it runs, above what was there before and what it returns; None on the CPU."""
    if device != "cuda":
        return None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = run()
    torch.cuda.synchronize()
    peak, after = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
    del result
    return peak - max(before, after)


def _estimate(run: Run, device: str) -> float:
    """Seconds of a run, after one to warm up."""
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    start, runs = time.perf_counter(), 0
    while runs < ESTIMATES and (runs == 0 or time.perf_counter() - start < 1.0):
        run()
        runs += 1
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / runs


def _cpu_samples(run: Run, count: int, estimate: float) -> list[float]:
    """Blocked timing, as torch.utils.benchmark's; the first run brings the candidate's data back."""
    number = max(math.ceil(CPU_BLOCK_SECONDS / estimate), 1)
    if estimate < WARM_BELOW_SECONDS:
        run()
    samples = []
    for _ in range(count):
        start = time.perf_counter()
        for _ in range(number):
            run()
        samples.append((time.perf_counter() - start) / number)
    return samples


def _cuda_sampler() -> Callable[[Run, int, float], list[float]]:
    return _triton_samples if importlib.util.find_spec("triton") is not None else _event_samples


def _triton_samples(run: Run, count: int, estimate: float) -> list[float]:
    do_bench: Any = importlib.import_module("triton.testing").do_bench
    # It takes times, not counts, and flushes the cache before every run.
    milliseconds = 1e3 * estimate + FLUSH_MILLISECONDS
    try:
        times = do_bench(run, warmup=milliseconds, rep=count * milliseconds, return_mode="all")
    except (TypeError, ValueError, AssertionError, AttributeError):  # versions that return summaries only
        return _event_samples(run, count, estimate)
    # By its own estimate it may repeat more often.
    return [1e-3 * float(taken) for taken in times[: 2 * count]]


def _event_samples(run: Run, count: int, estimate: float) -> list[float]:
    """CUDA events around each run, the second-level cache flushed in between."""
    flush = torch.empty(FLUSH_BYTES // 4, dtype=torch.int32, device="cuda")
    pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(count)]
    for start, end in pairs:
        flush.zero_()
        start.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return [1e-3 * start.elapsed_time(end) for start, end in pairs]


def sampler_name(device: str) -> str:
    """For the record."""
    if device != "cuda":
        return "blocks on the CPU"
    return "triton.testing.do_bench" if importlib.util.find_spec("triton") is not None else "CUDA events"
