"""The machine: what it is, what it could do at best, and what it measurably does."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .. import native
from . import BenchError
from .measure import error_text, race

VERSIONS = ("torch", "numpy", "triton", "spconv", "astropy", "maskconv_ext")
CEILING_SECONDS = 2.0
# Sides of the matrix product and bytes of the copy: large enough for the full rate.
CEILING_SIDE = {"cpu": 1536, "cuda": 8192}
CEILING_COPY_BYTES = {"cpu": 2**28, "cuda": 2**31}


@dataclass(frozen=True)
class Peaks:
    """FLOP/s by dtype, and bytes/s."""

    flops: dict[str, float]
    bandwidth: float

    def floor_us(self, flops: float, bytes_moved: float, dtype: str) -> tuple[float, str] | None:
        """No run is faster, and why: "mma" or "mem"."""
        if dtype not in self.flops:
            return None
        compute, memory = 1e6 * flops / self.flops[dtype], 1e6 * bytes_moved / self.bandwidth
        return (compute, "mma") if compute >= memory else (memory, "mem")


# Reached by the best matrix products and copies, not the data sheet's; by a part of the device's name.
PEAKS = {
    "H200": Peaks({"bfloat16": 790e12, "float16": 790e12, "float32": 67e12, "float64": 67e12}, 4.3e12),
}


def device_name(device: str) -> str:
    if device == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    if device == "cuda":
        return "no CUDA device"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def known_peaks(name: str) -> Peaks | None:
    return next((peaks for part, peaks in PEAKS.items() if part in name), None)


def named_peaks(name: str) -> Peaks:
    if name not in PEAKS:
        raise BenchError(f"--peaks {name}: needs one of {', '.join(PEAKS)}")
    return PEAKS[name]


def measure_ceilings(device: str, dtypes: list[str]) -> dict[str, Any]:
    """A matrix product in each dtype and a copy: flops and bytes a second, or the error."""
    side, copied = CEILING_SIDE[device], CEILING_COPY_BYTES[device]
    found: dict[str, Any] = {"flops": {}, "bandwidth": None, "errors": {}}
    for dtype in dtypes:
        try:
            a, b = (torch.randn(side, side, device=device).to(getattr(torch, dtype)) for _ in range(2))
            seconds = _fastest_typical(lambda a=a, b=b: a @ b, device)
            found["flops"][dtype] = 2 * side**3 / seconds
        except Exception as error:
            found["errors"][dtype] = error_text(error, device)
    try:
        source = torch.randn(copied // 4, device=device)
        target = torch.empty_like(source)
        found["bandwidth"] = 2 * copied / _fastest_typical(lambda: target.copy_(source), device)
    except Exception as error:
        found["errors"]["copy"] = error_text(error, device)
    return found


def _fastest_typical(run: Any, device: str) -> float:
    timing = race({"ceiling": run}, device, CEILING_SECONDS)["ceiling"]
    if timing.error:
        raise RuntimeError(timing.error)
    return timing.quartiles()[1] * 1e-6


def ceilings_as_peaks(found: dict[str, Any]) -> Peaks | None:
    return Peaks(found["flops"], found["bandwidth"]) if found["flops"] and found["bandwidth"] else None


def environment(device: str) -> dict[str, Any]:
    """What the figures depend on besides the sources."""
    cuda = device == "cuda" and torch.cuda.is_available()
    return {
        "device": device,
        "device_name": device_name(device),
        "capability": list(torch.cuda.get_device_capability()) if cuda else None,
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory if cuda else None,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "engine": "native" if native.is_loaded else "reference",
        "engine_has_cuda": native.has_cuda,
        "build": native.build_info(),
        "versions": {"python": platform.python_version(), **{name: package_version(name) for name in VERSIONS}},
        **commit(),
    }


def commit() -> dict[str, Any]:
    """Of the checkout this package lies in; None where it lies in none."""
    here = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top = git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != here:
        return {"commit": None, "uncommitted_changes": None}
    return {"commit": git("rev-parse", "HEAD"), "uncommitted_changes": bool(git("status", "--porcelain"))}


def package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
