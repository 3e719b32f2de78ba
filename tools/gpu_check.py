"""Everything a machine with a GPU can verify, in under eight minutes and offline, as one JSON.

Builds the library, sees that its kernels are launched, runs the whole test suite, and a small subset under
compute-sanitizer. Exit status: 0 all passed, 1 something failed, 3 no GPU is at hand (nothing was checked).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from build_config import find_nvcc, inspect_toolkit
from gpu_suite import run_suite
from native_build import NATIVE, ROOT
from subprocess_limit import run_limited

NO_GPU = 3
# Of the whole, and of each step, in seconds, so that a hung step leaves time to the others. The suite gets
# what is left before the sanitizers' share.
TOTAL_LIMIT = 470.0
BUILD_LIMIT = 200.0
KERNELS_LIMIT = 60.0
SANITIZER_LIMIT = 75.0
SANITIZER_TOOLS = ("memcheck", "racecheck")
# compute-sanitizer's exit status where it found an error; any that the subset itself does not use.
SANITIZER_FOUND = 9
SUBSET = ROOT / "tools" / "sanitizer_subset.py"

Step = dict[str, Any]


def gpu_at_hand() -> bool:
    import torch

    return torch.cuda.is_available()


def command_output(*command: str) -> str | None:
    """First line a command prints; None where it is missing or fails."""
    try:
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = result.stdout.strip().splitlines()
    return lines[0] if result.returncode == 0 and lines else None


def versions() -> dict[str, Any]:
    import torch

    capability = torch.cuda.get_device_capability()
    nvcc = find_nvcc(os.environ)
    commit = command_output("git", "rev-parse", "HEAD")
    return {
        "gpu": torch.cuda.get_device_name(),
        "compute_capability": f"{capability[0]}.{capability[1]}",
        "driver": command_output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "nvcc": inspect_toolkit(nvcc).version if nvcc else None,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "commit": commit,
        "uncommitted_changes": command_output("git", "status", "--porcelain") is not None if commit else None,
    }


def command_step(command: list[str], limit: float, env: dict[str, str] | None = None) -> Step:
    status, output, seconds = run_limited(command, limit, ROOT, {**os.environ, **(env or {})})
    outcome = "timed out" if status is None else "passed" if status == 0 else "failed"
    step: Step = {"outcome": outcome, "seconds": round(seconds, 1), "exit_status": status}
    if outcome != "passed":
        step["limit_s"] = round(limit, 1)
        step["output_tail"] = output[-4000:]
    step["output"] = output
    return step


def build_step(limit: float) -> Step:
    if find_nvcc(os.environ) is None and (ROOT / "maskconv_ext" / NATIVE).exists():
        return {
            "outcome": "passed",
            "seconds": 0.0,
            "note": "no nvcc here: the library built elsewhere is used",
        }
    env = {"MASKCONV_NATIVE": "1", "MASKCONV_CUDA": "1"}
    return command_step([sys.executable, "tools/native_build.py"], limit, env)


def kernels_step(limit: float) -> Step:
    """The op launches the package's own kernels, not a composition of the framework's."""
    step = command_step([sys.executable, str(SUBSET), "--list-kernels"], limit, {"PYTHONPATH": str(ROOT)})
    step["kernels"] = [line for line in step["output"].splitlines() if "maskconv" in line and "subset" not in line]
    return step


def find_sanitizer() -> str | None:
    nvcc = find_nvcc(os.environ)
    beside_nvcc = str(inspect_toolkit(nvcc).include.parent / "bin") if nvcc else None
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=beside_nvcc)


def sanitizer_step(tool: str, limit: float) -> Step:
    sanitizer = find_sanitizer()
    if sanitizer is None:
        return {"outcome": "not run: compute-sanitizer not found"}
    command = [sanitizer, "--tool", tool, "--error-exitcode", str(SANITIZER_FOUND)]
    # The framework probes the driver for functions it may lack: calls that fail on purpose.
    command += ["--report-api-errors", "no"]
    # Only the package's kernels: instrumenting the framework's own takes minutes.
    command += ["--kernel-name", "kernel_substring=maskconv", sys.executable, str(SUBSET)]
    # Uncached, so that every tensor is an allocation of its own, whose bounds memcheck knows.
    step = command_step(command, limit, {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "PYTHONPATH": str(ROOT)})
    summary = re.search(r"SUMMARY: (.*)", step["output"])
    step["summary"] = summary[1] if summary else None
    if summary is None and step["outcome"] == "passed":
        step |= {"outcome": "failed", "output_tail": "no summary was printed\n" + step["output"][-4000:]}
    return step


def show(name: str, step: Step) -> None:
    seconds = f" in {step['seconds']} s" if "seconds" in step else ""
    print(f"gpu-check: {name}: {step['outcome']}{seconds}", flush=True)
    for line in step.get("output_tail", "").splitlines()[-30:]:
        print(f"    {line}")
    for failure in step.get("failures", []):
        print(f"    {failure['test']}: {failure['message'].splitlines()[0] if failure['message'] else ''}")


def check() -> dict[str, Any]:
    start = time.monotonic()

    def left(reserve: float = 0.0) -> float:
        return max(1.0, TOTAL_LIMIT - (time.monotonic() - start) - reserve)

    report: dict[str, Any] = {"time": datetime.now(timezone.utc).isoformat(timespec="seconds"), **versions()}
    steps: dict[str, Step] = {}
    report["steps"] = steps

    def record(name: str, step: Step) -> None:
        step.pop("output", None)
        steps[name] = step
        show(name, step)

    record("build", build_step(min(BUILD_LIMIT, left())))
    if steps["build"]["outcome"] == "passed":
        record("kernels", kernels_step(min(KERNELS_LIMIT, left())))
        record("tests", run_suite(left(reserve=SANITIZER_LIMIT * len(SANITIZER_TOOLS))))
        for tool in SANITIZER_TOOLS:
            record(tool, sanitizer_step(tool, min(SANITIZER_LIMIT, left())))
    report["seconds"] = round(time.monotonic() - start, 1)
    # A sanitizer that the machine lacks is recorded, not a failure: the rest was checked.
    report["passed"] = all(s["outcome"] == "passed" or s["outcome"].startswith("not run") for s in steps.values())
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/gpu-check.json")
    out = parser.parse_args().out
    if not gpu_at_hand():
        print(
            "gpu-check: no GPU is at hand (torch.cuda.is_available() is False): nothing was checked",
            file=sys.stderr,
        )
        return NO_GPU
    report = check()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"gpu-check: {'passed' if report['passed'] else 'FAILED'} in {report['seconds']} s; written to {out}")
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
