"""Compiles csrc/ into maskconv_ext/_native.so and the emulation module, incrementally with ninja.

`python tools/native_build.py` builds in place; setup.py calls build() for wheels and editable installs.
"""

from __future__ import annotations

import filecmp
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from build_config import (
    TORCH_TARGET_VERSION,
    BuildError,
    Config,
    Torch,
    configure,
    describe,
    find_torch,
    gencode_flags,
)

ROOT = Path(__file__).resolve().parent.parent
# Loaded with torch.ops.load_library and bound to no Python: hence no interpreter tag in the name.
NATIVE = "_native.so"
EMULATION = "_emulation" + sysconfig.get_config_var("EXT_SUFFIX")

WARNINGS = ["-Wall", "-Wextra"]
# Hidden: two libraries in one process (another extension, another cudart) must not see each other's symbols.
HIDDEN = ["-fPIC", "-fvisibility=hidden"]
LINK_HIDDEN = ["-shared", "-Wl,--exclude-libs,ALL", "-Wl,--as-needed"]


@dataclass(frozen=True)
class Edge:
    """One command, and the file it makes."""

    output: Path
    inputs: list[Path]
    command: list[str]
    compiles: bool  # compilers also write the headers they read to output.d


def sources(folder: str, suffix: str) -> list[Path]:
    return sorted((ROOT / "csrc" / folder).glob(f"*{suffix}"))


def native_edges(config: Config, torch: Torch, build_dir: Path) -> list[Edge]:
    """_native.so: bindings and CPU engine by the C++ compiler, kernels by nvcc, one link."""
    assert config.cxx is not None
    toolkit = config.toolkit
    defines = [f"-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION}", "-DTORCH_STABLE_ONLY"]
    common = ["-std=c++20", "-O3", f"-I{ROOT / 'csrc'}"]
    cxx = [config.cxx, *common, *HIDDEN, *WARNINGS, "-fopenmp-simd", *defines]
    cxx += [f"-isystem{path}" for path in torch.include]
    link = [config.cxx, *LINK_HIDDEN, "-Wl,-z,defs"]
    cpp = sources("ops", ".cpp") + sources("cpu", ".cpp") + sources("plan", ".cpp")
    objects = []
    if toolkit is not None:
        cxx += ["-DMASKCONV_WITH_CUDA", f"-isystem{toolkit.include}"]
        nvcc = [
            str(toolkit.nvcc),
            f"-ccbin={config.cxx}",
            *common,
            "--expt-relaxed-constexpr",
            "-DMASKCONV_WITH_CUDA",
        ]
        nvcc += [*(f"-Xcompiler={flag}" for flag in (*HIDDEN, "-Wall")), *gencode_flags(config.archs)]
        # Registers and spills per kernel, and the PTX: tools/cuda_compile.py reads both.
        nvcc += ["-Xptxas=-v", "--keep"]
        objects += [_nvcc_edge(nvcc, source, build_dir) for source in sources("launch", ".cu")]
        cpp += sources("launch", ".cpp")
    for source in cpp:
        recorded = [_build_info_define(config, torch, cxx)] if source.name == "build_info.cpp" else []
        objects.append(_cxx_edge([*cxx, *recorded], source, build_dir / "native"))
    libraries = [f"-L{torch.root / 'lib'}", "-ltorch_cpu", "-lc10"]
    if toolkit is not None:
        libraries += [f"-L{toolkit.lib}", "-lcudart_static", "-ldl", "-lrt", "-lpthread"]
    return [*objects, _link_edge(link, objects, libraries, build_dir / NATIVE)]


def _build_info_define(config: Config, torch: Torch, cxx: list[str]) -> str:
    """What maskconv_ext.build_info() returns: it travels inside the library, so that it is always that library's."""
    assert config.cxx is not None
    paths = ("-I", "-isystem")
    info = {
        "compiler": first_line([config.cxx, "--version"]),
        "flags": [flag for flag in cxx[1:] if not flag.startswith(paths)],
        "torch": torch.version,
        "cuda_toolkit": config.toolkit.version if config.toolkit else None,
        "cuda_architectures": list(map(str, config.archs)),
    }
    # The inner dumps makes the text, the outer one a C string of it.
    return f"-DMASKCONV_BUILD_INFO={json.dumps(json.dumps(info))}"


def first_line(command: list[str]) -> str:
    return (subprocess.run(command, capture_output=True, text=True).stdout.splitlines() or ["unknown"])[0]


def emulation_edges(config: Config, torch: Torch, build_dir: Path) -> list[Edge]:
    """The emulated kernels as a Python module, with the pybind11 headers that PyTorch ships."""
    assert config.cxx is not None
    # The kernels' #pragma unroll speaks to nvcc.
    warnings = [*WARNINGS, "-Wno-unknown-pragmas"]
    cxx = [config.cxx, "-std=c++20", "-O2", f"-I{ROOT / 'csrc'}", *HIDDEN, *warnings]
    cxx += [f"-isystem{path}" for path in (torch.root / "include", sysconfig.get_path("include"))]
    objects = [
        _cxx_edge(cxx, source, build_dir / "emulation")
        for source in sources("emulation", ".cpp") + sources("plan", ".cpp")
    ]
    return [*objects, _link_edge([config.cxx, *LINK_HIDDEN], objects, [], build_dir / EMULATION)]


def _object(source: Path, folder: Path) -> Path:
    return folder / source.parent.name / (source.name + ".o")


def _cxx_edge(cxx: list[str], source: Path, folder: Path) -> Edge:
    output = _object(source, folder)
    return Edge(output, [source], [*cxx, "-MMD", f"-MF{output}.d", "-c", str(source), "-o", str(output)], True)


def _nvcc_edge(nvcc: list[str], source: Path, build_dir: Path) -> Edge:
    output = _object(source, build_dir / "native")
    keep, log = cuda_traces(source, build_dir)
    compile_ = [*nvcc, f"--keep-dir={keep}", "-MMD", f"-MF={output}.d", "-c", str(source), f"-o={output}"]
    # ptxas -v is long, so it goes to a file; shown whole where the compiler fails, and its warnings always.
    script = f'mkdir -p {shlex.quote(str(keep))}; "$@" >{shlex.quote(str(log))} 2>&1; status=$?; '
    script += f"if [ $status != 0 ]; then cat {shlex.quote(str(log))}; "
    script += f"else grep -i warning {shlex.quote(str(log))}; fi; exit $status"
    return Edge(output, [source], ["sh", "-c", script, "nvcc", *compile_], True)


def cuda_traces(source: Path, build_dir: Path) -> tuple[Path, Path]:
    """The folder of nvcc's intermediate files for a source, and its output."""
    return build_dir / "native/ptx" / source.stem, build_dir / "native/ptx" / (source.stem + ".log")


def _link_edge(link: list[str], objects: list[Edge], libraries: list[str], output: Path) -> Edge:
    inputs = [edge.output for edge in objects]
    return Edge(output, inputs, [*link, *map(str, inputs), *libraries, "-o", str(output)], False)


def _ninja_path(path: Path) -> str:
    return str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")


def write_ninja(edges: list[Edge], path: Path) -> None:
    lines = ["ninja_required_version = 1.5", ""]
    lines += [
        "rule compile",
        "  command = $cmd",
        "  description = compile $in",
        "  depfile = $out.d",
        "  deps = gcc",
        "",
    ]
    lines += ["rule link", "  command = $cmd", "  description = link $out", ""]
    for edge in edges:
        rule = "compile" if edge.compiles else "link"
        lines.append(f"build {_ninja_path(edge.output)}: {rule} {' '.join(map(_ninja_path, edge.inputs))}")
        lines.append("  cmd = " + shlex.join(edge.command).replace("$", "$$"))
    text = "\n".join(lines) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def find_ninja() -> str | None:
    """The ninja of this interpreter's environment, whether or not that is activated; else the machine's."""
    beside_python = Path(sys.executable).parent / "ninja"
    return str(beside_python) if beside_python.exists() else shutil.which("ninja")


def run_edges(edges: list[Edge], build_dir: Path, jobs: int) -> None:
    write_ninja(edges, build_dir / "build.ninja")
    if ninja := find_ninja():
        command = [ninja, "-C", str(build_dir), f"-j{jobs}"]
        if not os.environ.get("VERBOSE"):
            command.append("--quiet")
        if subprocess.run(command).returncode != 0:
            raise BuildError("the compiler failed, see above. To install pure Python instead: MASKCONV_NATIVE=0")
        return
    print("  ninja was not found: compiling everything afresh (pip install ninja makes this incremental)")
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(_run_edge, [edge for edge in edges if edge.compiles]))
    for edge in edges:
        if not edge.compiles:
            _run_edge(edge)


def _run_edge(edge: Edge) -> None:
    edge.output.parent.mkdir(parents=True, exist_ok=True)
    if subprocess.run(edge.command).returncode != 0:
        raise BuildError(f"this command failed: {shlex.join(edge.command)}")


def build(config: Config, destination: Path) -> list[Path]:
    """Build what config asks for; returns the libraries, now in destination."""
    if not config.native:
        print(describe(config, None), file=sys.stderr, flush=True)
        return []
    torch = find_torch()
    print(describe(config, torch.version), flush=True)
    # Apart per interpreter and torch: their headers differ, and ninja does not track system headers.
    build_dir = build_folder(torch)
    edges = native_edges(config, torch, build_dir)
    if config.emulation:
        edges += emulation_edges(config, torch, build_dir)
    run_edges(edges, build_dir, config.jobs)
    names = [NATIVE, *([EMULATION] if config.emulation else [])]
    destination.mkdir(parents=True, exist_ok=True)
    return [_install(build_dir / name, destination / name) for name in names]


def build_folder(torch: Torch) -> Path:
    return ROOT / "build" / f"{sys.implementation.cache_tag}-torch{torch.version}"


def _install(built: Path, target: Path) -> Path:
    if not target.exists() or not filecmp.cmp(built, target, shallow=False):
        # Replaced, not overwritten: a process that has the old one loaded keeps it.
        scratch = target.with_name(target.name + ".new")
        shutil.copy2(built, scratch)
        scratch.replace(target)
    return target


def main() -> int:
    try:
        build(configure(os.environ, in_place=True), ROOT / "maskconv_ext")
    except BuildError as error:
        print(f"maskconv_ext: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
