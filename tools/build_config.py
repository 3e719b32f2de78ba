"""What a build compiles, decided from the environment alone: pure functions, no setuptools, no torch import.

Environment variables:
    MASKCONV_NATIVE       auto (default: if there is a C++ compiler), 0 (pure Python), 1 (fail without)
    MASKCONV_CUDA         auto (default: if nvcc is found, also where torch is CPU-only), 0, 1 (fail without)
    MASKCONV_EMULATION    auto (default: for in-place builds only), 0, 1
    TORCH_CUDA_ARCH_LIST  as for PyTorch's own extensions: "8.0;9.0a", "8.0 9.0+PTX"
    MAX_JOBS              compilers run at once; default: the CPUs of this process
    CXX, CUDA_HOME        the compiler; the CUDA toolkit
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# cp.async and bf16 mma.sync, which every kernel uses, begin with compute capability 8.0.
MIN_CAPABILITY = 80
# Machine code for A100 and H100 (9.0a: wgmma and TMA exist only in the architecture-specific target), and PTX
# of the lowest, so that every other GPU from 8.0 on compiles it at load.
DEFAULT_ARCH_LIST = "8.0+PTX;9.0a"
# The oldest PyTorch the stable ABI is targeted at, as torch/headeronly/version.h packs it: one byte each.
MIN_TORCH = (2, 10)
TORCH_TARGET_VERSION = f"0x{MIN_TORCH[0]:02x}{MIN_TORCH[1]:02x}000000000000"


class BuildError(RuntimeError):
    """A build that cannot go on, with what to do about it."""


@dataclass(frozen=True)
class Arch:
    number: str  # "80", "90a": what follows sm_ and compute_
    ptx: bool = False

    def __str__(self) -> str:
        return f"sm_{self.number}" + (" + PTX" if self.ptx else "")


def parse_arch_list(text: str) -> tuple[list[Arch], list[str]]:
    """The architectures of a TORCH_CUDA_ARCH_LIST, and the entries dropped because no kernel runs there."""
    archs: dict[str, Arch] = {}
    dropped = []
    for entry in re.split(r"[;,\s]+", text.strip()):
        match = re.fullmatch(r"(\d+)\.(\d)([af]?)(\+PTX)?", entry)
        if not match:
            raise BuildError(
                f'TORCH_CUDA_ARCH_LIST={text!r}: {entry!r} is not of the form "8.0", "9.0a" or "9.0+PTX"; '
                'separate entries with ";" or spaces'
            )
        major, minor, suffix, ptx = match.groups()
        if int(major + minor) < MIN_CAPABILITY:
            dropped.append(entry)
            continue
        number = major + minor + suffix
        archs[number] = Arch(number, ptx=bool(ptx) or (number in archs and archs[number].ptx))
    if not archs:
        raise BuildError(
            f"TORCH_CUDA_ARCH_LIST={text!r} names no architecture the kernels run on: they need 8.0 or newer."
            " Add one, or build without CUDA: MASKCONV_CUDA=0"
        )
    return list(archs.values()), dropped


def gencode_flags(archs: list[Arch]) -> list[str]:
    flags = [f"-gencode=arch=compute_{a.number},code=sm_{a.number}" for a in archs]
    return flags + [f"-gencode=arch=compute_{a.number},code=compute_{a.number}" for a in archs if a.ptx]


@dataclass(frozen=True)
class Toolkit:
    """A CUDA toolkit that can compile and link the library."""

    nvcc: Path
    include: Path
    lib: Path  # holds libcudart_static.a
    version: str


def find_nvcc(env: Mapping[str, str]) -> Path | None:
    """nvcc of CUDA_HOME if that is set; else from PATH or /usr/local/cuda."""
    if home := env.get("CUDA_HOME") or env.get("CUDA_PATH"):
        candidates: list[str | None] = [f"{home}/bin/nvcc"]
    else:
        candidates = [shutil.which("nvcc", path=env.get("PATH")), "/usr/local/cuda/bin/nvcc"]
    return next((Path(c) for c in candidates if c and os.access(c, os.X_OK)), None)


def inspect_toolkit(nvcc: Path) -> Toolkit:
    """Where nvcc's headers and static runtime are: nvcc is asked, since it may be a wrapper elsewhere."""
    dry_run = subprocess.run(
        [str(nvcc), "--dryrun", "-c", "-x", "cu", os.devnull, "-o", os.devnull],
        capture_output=True,
        text=True,
    )
    top = re.search(r"^#\$ TOP=(.+)$", dry_run.stderr + dry_run.stdout, re.MULTILINE)
    root = Path(os.path.realpath(top.group(1).strip() if top else nvcc.parent.parent))
    version = subprocess.run([str(nvcc), "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release (\d+\.\d+)", version)
    include = _holding("cuda_runtime.h", [root / "include", *root.glob("targets/*-linux/include")])
    lib = _holding("libcudart_static.a", [root / "lib64", root / "lib", *root.glob("targets/*-linux/lib")])
    if include is None or lib is None or release is None:
        raise BuildError(
            f"{nvcc} does not belong to a complete CUDA toolkit: cuda_runtime.h and libcudart_static.a "
            f"are needed under {root}"
        )
    return Toolkit(nvcc, include, lib, release.group(1))


def _holding(name: str, folders: list[Path]) -> Path | None:
    return next((folder for folder in folders if (folder / name).is_file()), None)


def choose(name: str, setting: str, available: bool, needs: str) -> tuple[bool, str]:
    """Resolve auto|0|1 against what the machine has: whether to build, and why."""
    if setting not in ("auto", "0", "1"):
        raise BuildError(f"{name}={setting!r}: use auto, 0 or 1")
    if setting == "0":
        return False, f"{name}=0"
    if available:
        return True, f"{name}={setting}"
    if setting == "1":
        raise BuildError(f"{name}=1, but {needs}")
    return False, needs


@dataclass(frozen=True)
class Torch:
    root: Path
    version: str

    @property
    def include(self) -> list[Path]:
        # As torch.utils.cpp_extension.include_paths(), without the seconds that importing torch takes.
        return [self.root / "include", self.root / "include/torch/csrc/api/include"]


def find_torch() -> Torch:
    """The installed PyTorch, not imported."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise BuildError(
            "PyTorch is not installed in the build environment, and the native library needs its headers. "
            "Install torch first, then build without isolation:\n"
            "    pip install torch\n"
            "    pip install --no-build-isolation maskconv_ext   (or: . or -e . in a checkout)\n"
            "or install pure Python, which runs the slow reference: MASKCONV_NATIVE=0"
        )
    version = importlib.metadata.version("torch")
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_TORCH:
        raise BuildError(f"torch {version} is too old: maskconv_ext needs torch >= {MIN_TORCH[0]}.{MIN_TORCH[1]}")
    return Torch(Path(spec.origin).parent, version)


@dataclass(frozen=True)
class Config:
    """Everything the build depends on."""

    cxx: str | None  # None: nothing native is built
    native_reason: str
    toolkit: Toolkit | None  # None: no CUDA
    cuda_reason: str
    archs: list[Arch]
    dropped_archs: list[str]
    emulation: bool
    emulation_reason: str
    jobs: int

    @property
    def native(self) -> bool:
        return self.cxx is not None


def configure(env: Mapping[str, str], in_place: bool) -> Config:
    """Decide what to build; raises BuildError where the environment asks for what is not there."""
    if sys.platform == "linux":
        cxx = shutil.which(env.get("CXX") or "g++", path=env.get("PATH"))
        if cxx is None and not env.get("CXX"):
            cxx = shutil.which("clang++", path=env.get("PATH"))
        needs = "no C++ compiler was found: install g++ (C++20) or set CXX"
    else:
        cxx, needs = None, "the native library is built on Linux only"
    native, native_reason = choose("MASKCONV_NATIVE", env.get("MASKCONV_NATIVE", "auto"), cxx is not None, needs)
    if not native:
        return Config(None, native_reason, None, "nothing native is built", [], [], False, "", 1)

    setting = env.get("MASKCONV_CUDA", "auto")
    nvcc, toolkit = find_nvcc(env), None
    needs = "nvcc was not found in CUDA_HOME, PATH or /usr/local/cuda: install the CUDA toolkit or set CUDA_HOME"
    if nvcc is not None and setting != "0":
        try:
            toolkit = inspect_toolkit(nvcc)
        except BuildError as error:
            needs = str(error)
    cuda, cuda_reason = choose("MASKCONV_CUDA", setting, toolkit is not None, needs)
    archs, dropped = parse_arch_list(env.get("TORCH_CUDA_ARCH_LIST") or DEFAULT_ARCH_LIST) if cuda else ([], [])
    emulation, emulation_reason = choose_emulation(env.get("MASKCONV_EMULATION", "auto"), in_place)
    return Config(
        cxx,
        native_reason,
        toolkit if cuda else None,
        cuda_reason,
        archs,
        dropped,
        emulation,
        emulation_reason,
        jobs(env),
    )


def choose_emulation(setting: str, in_place: bool) -> tuple[bool, str]:
    """The emulation is for developing and testing, and bound to one Python: wheels do without."""
    if setting == "auto" and not in_place:
        return False, "a development tool, left out of wheels; MASKCONV_EMULATION=1 adds it"
    headers = Path(sysconfig.get_path("include"), "Python.h").is_file()
    needs = "Python.h was not found: install Python's development headers (python3-dev)"
    return choose("MASKCONV_EMULATION", setting, headers, needs)


def jobs(env: Mapping[str, str]) -> int:
    text = env.get("MAX_JOBS", "")
    if not text:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdigit() or int(text) < 1:
        raise BuildError(f"MAX_JOBS={text!r}: a number of processes is needed")
    return int(text)


def describe(config: Config, torch_version: str | None) -> str:
    """What was chosen, in one block."""
    if not config.native:
        return (
            f"maskconv_ext: pure Python, no native library: {config.native_reason}.\n"
            "  Everything runs on the PyTorch reference, which is slower. For the library, remedy this and\n"
            "  reinstall with: pip install --no-build-isolation --force-reinstall --no-deps maskconv_ext"
        )
    if config.toolkit is not None:
        archs = ", ".join(map(str, config.archs))
        cuda = f"yes, {archs} with nvcc {config.toolkit.version} ({config.toolkit.nvcc})"
        if config.dropped_archs:
            cuda += f"; left out {', '.join(config.dropped_archs)}: the kernels need 8.0 or newer"
    else:
        cuda = f"no: {config.cuda_reason}"
    emulation = "yes" if config.emulation else f"no: {config.emulation_reason}"
    return "\n".join(
        [
            "maskconv_ext: building the native library",
            f"  C++        {config.cxx}",
            f"  PyTorch    {torch_version} headers, stable ABI: the library serves every torch >= "
            f"{MIN_TORCH[0]}.{MIN_TORCH[1]}",
            f"  CUDA       {cuda}",
            f"  emulation  {emulation}",
            f"  jobs       {config.jobs}",
        ]
    )
