"""Instructions of small layers on the CPU engine, counted by valgrind's callgrind.

Valgrind shows every program the same CPU, with AVX2 and without AVX-512, whatever the host has: libraries and our own
clones that choose by CPUID choose alike everywhere. The variables in ENVIRONMENT say so to those that look elsewhere.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKER = Path(__file__).with_name("callgrind_worker.py")
LIBRARY = ROOT / "maskconv_ext" / "_native.so"
HEADER = "#include <valgrind/callgrind.h>\n"
# Instrumentation starts and stops here, so that importing torch is emulated, but not counted.
SWITCHES = (
    HEADER
    + """
extern "C" void start_counting() { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
extern "C" void stop_counting(const char* name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
"""
)
ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # What Python hashes, and so how it walks its tables, is the same in every run.
    "PYTHONHASHSEED": "0",
}
LIMIT_SECONDS = 900


class CannotCount(RuntimeError):
    """Why there are no counts on this machine."""


def compiler() -> str:
    found = shutil.which(os.environ.get("CXX") or "g++")
    if found is None:
        raise CannotCount("g++ is not installed, which compiles the switches of callgrind")
    return found


def versions() -> dict[str, str]:
    """What counts depend on besides the sources. Raises CannotCount."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CannotCount("valgrind is not installed")
    if not LIBRARY.exists():
        raise CannotCount("the native library is not built: run `make build`")

    def first_line(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]

    return {
        "machine": platform.machine(),
        "valgrind": first_line(valgrind, "--version"),
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "compiler": first_line(compiler(), "--version"),
    }


def count() -> dict[str, dict[str, int]]:
    """By layer: instructions of one call within the library, and of the whole call, Python and torch included."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        switches = folder / "switches.so"
        built = subprocess.run(
            [compiler(), "-O1", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(switches)],
            input=SWITCHES, capture_output=True, text=True,
        )  # fmt: skip
        if built.returncode != 0:
            raise CannotCount("valgrind/callgrind.h does not compile: install valgrind's development headers")
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder / 'counts'}"]
        done = subprocess.run(
            [*command, sys.executable, str(WORKER), str(switches)],
            cwd=ROOT, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, timeout=LIMIT_SECONDS,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"the layers failed under valgrind:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        layers: list[str] = json.loads(done.stdout.splitlines()[-1])
        return {name: dumped(folder, name) for name in layers}


def dumped(folder: Path, layer: str) -> dict[str, int]:
    """Of the dump that stop_counting(layer) wrote."""
    for path in folder.glob("counts.*"):
        text = path.read_text()
        if f"desc: Trigger: Client Request: {layer}\n" in text:
            objects = by_object(text)
            own = sum(count for name, count in objects.items() if Path(name).name == LIBRARY.name)
            return {"library": own, "call": sum(objects.values())}
    raise RuntimeError(f"callgrind wrote nothing for {layer}")


def by_object(dump: str) -> Counter[str]:
    """Instructions executed in each shared object, callees elsewhere not included."""
    names: dict[str, str] = {}
    counts: Counter[str] = Counter()
    current, is_call = "", False
    for line in dump.splitlines():
        if match := re.match(r"(c?)ob=\((\d+)\)(?: (.*))?", line):
            called, number, name = match.groups()
            if name is not None:
                names[number] = name
            if not called:
                current = names[number]
        elif line.startswith("calls="):
            is_call = True  # the next line is what the callee took
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            if not is_call:
                counts[current] += int(line.split()[1])
            is_call = False
    return counts
