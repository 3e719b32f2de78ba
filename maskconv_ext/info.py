"""What `maskconv-ext info` prints: versions, the compiled library, devices, and which engine runs what."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path
from typing import Any

import torch

from . import __version__, native
from .bench.device import commit, device_name, package_version
from .bench.report import table
from .explain import explain

PACKAGES = ("torch", "numpy", "triton")
DTYPES = ("float16", "bfloat16", "float32", "float64")
# What decides between kernels, or is asked for when a machine is slower than another.
INSTRUCTION_SETS = (
    "avx2", "fma", "f16c", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "sve",
)  # fmt: skip
CHANNELS, SIDE, KERNEL = 32, 8, 3  # of the layer that engines are asked about


def collect() -> dict[str, Any]:
    """Everything, as `--json` writes it."""
    return {
        "versions": {
            "maskconv_ext": __version__,
            "python": platform.python_version(),
            **{name: package_version(name) for name in PACKAGES},
        },
        "cuda_of_torch": torch.version.cuda,
        **commit(),
        "library": library(),
        "emulation": importlib.util.find_spec("maskconv_ext._emulation") is not None,
        "cpu": cpu(),
        "gpus": gpus(),
        "engines": engines(),
    }


def library() -> dict[str, Any]:
    if not native.is_loaded:
        return {"loaded": False, "path": None, "why_not": native.why_not_loaded, "cuda": False, "build": None}
    path, build = str(native.LIBRARY), native.build_info()
    return {"loaded": True, "path": path, "why_not": "", "cuda": native.has_cuda, "build": build}


def cpu() -> dict[str, Any]:
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        words = set()
    return {
        "model": device_name("cpu"),
        "cores": torch.multiprocessing.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in words],
    }


def gpus() -> list[dict[str, Any]]:
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append({
            "device": f"cuda:{index}",
            "name": properties.name,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "memory_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
        })  # fmt: skip
    return found


def engines() -> list[dict[str, str]]:
    """Asked of `explain`, call by call, on every device that is here."""
    devices = ["cpu", *(gpu["device"] for gpu in gpus())]
    found = []
    for device in devices:
        for what, (mask_shape, mask_dtype, options) in _CALLS.items():
            for dtype in DTYPES:
                x = torch.zeros(1, CHANNELS, SIDE, SIDE, dtype=getattr(torch, dtype), device=device)
                weight = x.new_zeros(CHANNELS, CHANNELS, KERNEL, KERNEL)
                mask = None if mask_shape is None else torch.ones(mask_shape, dtype=mask_dtype, device=device)
                explained = explain(x, mask, weight, padding=KERNEL // 2, **options)
                found.append({
                    "device": device, "call": what, "dtype": dtype, "engine": explained.engine,
                    "reason": explained.reason if explained.engine == "reference" else "",
                })  # fmt: skip
    return found


_SHARED, _PER_CHANNEL = (1, 1, SIDE, SIDE), (1, CHANNELS, SIDE, SIDE)
_CALLS: dict[str, tuple[tuple[int, ...] | None, torch.dtype | None, dict[str, Any]]] = {
    "no mask": (None, None, {}),
    "hard mask": (_SHARED, torch.bool, {}),
    "hard mask per channel": (_PER_CHANNEL, torch.bool, {}),
    "soft mask": (_SHARED, torch.float32, {}),
    "soft mask per channel": (_PER_CHANNEL, torch.float32, {}),
    'normalization="weight"': (_SHARED, torch.bool, {"normalization": "weight"}),
    'mask_update="confidence"': (_SHARED, torch.bool, {"normalization": "weight", "mask_update": "confidence"}),
}


def lines(found: dict[str, Any]) -> list[str]:
    versions = dict(found["versions"])
    changed = ", with uncommitted changes" if found["uncommitted_changes"] else ""
    of_commit = f", commit {found['commit'][:12]}{changed}" if found["commit"] else ""
    others = ", ".join(f"{name} {version}" for name, version in versions.items() if version and name != "maskconv_ext")
    rows = [
        ("maskconv_ext", f"{versions['maskconv_ext']}{of_commit}"),
        ("with", f"{others}, CUDA of torch: {found['cuda_of_torch'] or 'none'}"),
        *_library_rows(found["library"]),
        ("emulation", "compiled" if found["emulation"] else "not compiled: for developing; `make build` makes it"),
    ]
    cpu = found["cpu"]
    rows.append(("CPU", f"{cpu['model']}, {cpu['cores']} cores, torch uses {cpu['threads']} threads"))
    rows.append(("", f"torch's code for {cpu['torch_capability']}; {' '.join(cpu['instruction_sets'])}"))
    for gpu in found["gpus"]:
        text = f"{gpu['name']}, compute capability {gpu['compute_capability']}, "
        text += f"{gpu['memory_bytes'] / 2**30:.1f} GiB, {gpu['multiprocessors']} multiprocessors"
        rows.append((gpu["device"], text))
    if not found["gpus"]:
        rows.append(("GPU", "none that torch sees"))
    width = max(len(name) for name, _ in rows)
    return [*(f"{name:{width}}  {value}" for name, value in rows), "", *_engine_lines(found["engines"])]


def _library_rows(library: dict[str, Any]) -> list[tuple[str, str]]:
    if not library["loaded"]:
        return [("library", f"none: {library['why_not']}")]
    build = library["build"]
    cuda = f"CUDA for {', '.join(build['cuda_architectures'])}" if library["cuda"] else "no CUDA"
    toolkit = f", CUDA {build['cuda_toolkit']}" if build["cuda_toolkit"] else ""
    return [
        ("library", f"CPU engine, {cuda}: {library['path']}"),
        ("built by", f"{build['compiler']}{toolkit}, for headers of torch {build['torch']}"),
        ("", " ".join(build["flags"])),
    ]


def _engine_lines(found: list[dict[str, str]]) -> list[str]:
    """A row a call, a column a dtype; the reasons below."""
    engine: dict[tuple[str, str], dict[str, str]] = {}
    for entry in found:
        engine.setdefault((entry["device"], entry["call"]), {})[entry["dtype"]] = entry["engine"]
    text = [f"Engine of the forward of a {KERNEL}x{KERNEL} layer of {CHANNELS} channels:"]
    rows = [
        (f"{device}, {call}", *(of_dtype[dtype] for dtype in DTYPES)) for (device, call), of_dtype in engine.items()
    ]
    text += table(("", *DTYPES), rows)
    reasons: dict[str, dict[str, None]] = {}
    for entry in found:
        if entry["reason"]:
            reasons.setdefault(entry["reason"], {})[f"{entry['device']}, {entry['call']}"] = None
    return text + [f"reference {reason}: {'; '.join(calls)}" for reason, calls in reasons.items()]
