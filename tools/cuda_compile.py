"""Compiles the CUDA sources as the library does and reports every kernel: registers, spills, tensor cores.

Fails where a tensor-core kernel spills registers to memory, or where ptxas serialises wgmma: either costs
such a kernel more than any tuning gains. Needs nvcc, no GPU.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from build_config import DEFAULT_ARCH_LIST, BuildError, configure, describe, find_torch
from native_build import build_folder, cuda_traces, native_edges, run_edges, sources

# Any of these in a kernel's PTX makes it a tensor-core kernel.
TENSOR_CORE = re.compile(r"\b(mma\.sync|wgmma\.mma_async|wmma\.mma)")
# ptxas C7510 and its kin.
SERIALISED = re.compile(r"wgmma.*serializ", re.IGNORECASE)


@dataclass(frozen=True)
class Kernel:
    name: str  # mangled
    arch: str
    registers: int
    spill_bytes: int
    tensor_core: bool


def parse_ptxas(log: str) -> list[tuple[str, str, int, int]]:
    """(kernel, architecture, registers, bytes spilled) from the output of ptxas -v."""
    found = []
    for block in log.split("Compiling entry function ")[1:]:
        head = re.match(r"'(\w+)' for '(\w+)'", block)
        registers = re.search(r"Used (\d+) registers", block)
        spill = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", block)
        if not (head and registers and spill):
            raise BuildError(f"the output of ptxas -v is not as expected:\n{block}")
        found.append((head[1], head[2], int(registers[1]), int(spill[1]) + int(spill[2])))
    return found


def tensor_core_kernels(ptx: str) -> set[str]:
    """The kernels of a PTX file that issue tensor-core instructions."""
    bodies = re.split(r"^(?:\.\w+ )*\.entry (\w+)\s*\(", ptx, flags=re.MULTILINE)
    return {name for name, body in zip(bodies[1::2], bodies[2::2]) if TENSOR_CORE.search(body)}


def read_kernels(source: Path, build_dir: Path) -> tuple[list[Kernel], list[str]]:
    """The kernels a source compiled to, and what is wrong with them."""
    keep, log_path = cuda_traces(source, build_dir)
    log = log_path.read_text()
    kernels = []
    for name, arch, registers, spill_bytes in parse_ptxas(log):
        ptx = (keep / f"{source.stem}.compute_{arch.removeprefix('sm_')}.ptx").read_text()
        kernels.append(Kernel(name, arch, registers, spill_bytes, name in tensor_core_kernels(ptx)))
    problems = [f"{source.name}: {line.strip()}" for line in log.splitlines() if SERIALISED.search(line)]
    problems += [
        f"{source.name}: {k.name} spills {k.spill_bytes} bytes on {k.arch}"
        for k in kernels
        if k.tensor_core and k.spill_bytes
    ]
    return kernels, problems


def demangle(names: list[str]) -> dict[str, str]:
    tool = shutil.which("c++filt")
    if tool is None:
        return {name: name for name in names}
    text = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    # The parameter list says nothing that the template arguments don't.
    return dict(zip(names, (re.sub(r"^void |\(.*\)$", "", line) for line in text.splitlines())))


def main() -> int:
    env = {
        **os.environ,
        "MASKCONV_NATIVE": "1",
        "MASKCONV_CUDA": "1",
        "TORCH_CUDA_ARCH_LIST": DEFAULT_ARCH_LIST,
    }
    try:
        config, torch = configure(env, in_place=True), find_torch()
        print(describe(config, torch.version), flush=True)
        build_dir = build_folder(torch)
        # One build.ninja with the whole library, so that `make build` finds these objects done.
        run_edges(native_edges(config, torch, build_dir), build_dir, config.jobs)
        report = [read_kernels(source, build_dir) for source in sources("launch", ".cu")]
    except BuildError as error:
        print(f"cuda-compile: {error}", file=sys.stderr)
        return 1
    kernels = [kernel for found, _ in report for kernel in found]
    problems = [problem for _, found in report for problem in found]
    if not kernels:
        problems.append("csrc/launch/*.cu compiled to no kernel at all")
    names = demangle(sorted({kernel.name for kernel in kernels}))
    print(f"{'arch':8}{'registers':>10}{'spill B':>9}  tensor cores  kernel")
    for kernel in sorted(kernels, key=lambda k: (k.arch, names[k.name])):
        uses = "yes" if kernel.tensor_core else "no"
        print(f"{kernel.arch:8}{kernel.registers:10}{kernel.spill_bytes:9}  {uses:12}  {names[kernel.name]}")
    for problem in problems:
        print(f"cuda-compile: {problem}", file=sys.stderr)
    verdict = "FAILED" if problems else "no spills in tensor-core kernels"
    print(f"cuda-compile: {len(kernels)} kernels, {verdict}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
