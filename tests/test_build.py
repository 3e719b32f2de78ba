"""What a build chooses, from the environment alone, and that it says so."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import build_config  # noqa: E402
import cuda_compile  # noqa: E402
import gpu_suite  # noqa: E402
import native_build  # noqa: E402
from build_config import Arch, BuildError, Config, Toolkit  # noqa: E402

TOOLKIT = Toolkit(Path("/cuda/bin/nvcc"), Path("/cuda/include"), Path("/cuda/lib64"), "13.0")


def executable(path: Path, script: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """The environment of a machine with a compiler and a CUDA toolkit, whatever the real one has."""
    executable(tmp_path / "bin/g++")
    nvcc = executable(tmp_path / "cuda/bin/nvcc")
    monkeypatch.setattr(build_config, "inspect_toolkit", {nvcc: TOOLKIT}.__getitem__)
    return {"PATH": str(tmp_path / "bin"), "CUDA_HOME": str(tmp_path / "cuda"), "MAX_JOBS": "3"}


@pytest.mark.parametrize(
    ("text", "archs", "dropped"),
    [
        ("8.0;9.0a", ["sm_80", "sm_90a"], []),
        ("8.0 9.0+PTX", ["sm_80", "sm_90 + PTX"], []),
        ("7.5 8.0 8.6, 12.0+PTX", ["sm_80", "sm_86", "sm_120 + PTX"], ["7.5"]),
        ("10.0f", ["sm_100f"], []),
        ("8.0+PTX;8.0", ["sm_80 + PTX"], []),
        (build_config.DEFAULT_ARCH_LIST, ["sm_80 + PTX", "sm_90a"], []),
    ],
)
def test_arch_list(text, archs, dropped):
    parsed, left_out = build_config.parse_arch_list(text)
    assert [str(arch) for arch in parsed] == archs
    assert left_out == dropped


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Hopper", "'Hopper' is not of the form"),
        ("8.0;sm_90", "'sm_90' is not of the form"),
        ("7.0;7.5+PTX", "names no architecture the kernels run on: they need 8.0 or newer"),
    ],
)
def test_bad_arch_list(text, message):
    with pytest.raises(BuildError, match=message):
        build_config.parse_arch_list(text)


def test_gencode_flags_end_with_ptx():
    assert build_config.gencode_flags([Arch("80", ptx=True), Arch("90a")]) == [
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_90a,code=sm_90a",
        "-gencode=arch=compute_80,code=compute_80",
    ]


def test_cuda_is_compiled_where_nvcc_is(machine):
    config = build_config.configure(machine, in_place=True)
    assert config.toolkit == TOOLKIT
    assert build_config.describe(config, "2.13.0").splitlines() == [
        "maskconv_ext: building the native library",
        f"  C++        {machine['PATH']}/g++",
        "  PyTorch    2.13.0 headers, stable ABI: the library serves every torch >= 2.10",
        "  CUDA       yes, sm_80 + PTX, sm_90a with nvcc 13.0 (/cuda/bin/nvcc)",
        "  emulation  yes",
        "  jobs       3",
    ]


def test_what_is_left_out_is_said(machine):
    config = build_config.configure({**machine, "TORCH_CUDA_ARCH_LIST": "7.5 8.0"}, in_place=False)
    text = build_config.describe(config, "2.13.0")
    assert (
        "  CUDA       yes, sm_80 with nvcc 13.0 (/cuda/bin/nvcc); left out 7.5: the kernels need 8.0 or newer" in text
    )
    assert "  emulation  no: a development tool, left out of wheels; MASKCONV_EMULATION=1 adds it" in text


def test_emulation_needs_the_headers_of_python(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(build_config.sysconfig, "get_path", lambda name: str(tmp_path))
    config = build_config.configure(machine, in_place=True)
    assert config.native and not config.emulation
    text = build_config.describe(config, "2.13.0")
    assert "  emulation  no: Python.h was not found: install Python's development headers" in text
    with pytest.raises(BuildError, match=r"MASKCONV_EMULATION=1, but Python\.h was not found"):
        build_config.configure({**machine, "MASKCONV_EMULATION": "1"}, in_place=True)


def test_cuda_switched_off(machine):
    config = build_config.configure({**machine, "MASKCONV_CUDA": "0"}, in_place=True)
    assert config.native and config.toolkit is None
    assert "  CUDA       no: MASKCONV_CUDA=0" in build_config.describe(config, "2.13.0")


def test_cuda_demanded_without_nvcc(machine, tmp_path):
    machine["CUDA_HOME"] = str(tmp_path / "nowhere")
    assert build_config.configure(machine, in_place=True).toolkit is None
    with pytest.raises(BuildError, match=r"MASKCONV_CUDA=1, but nvcc was not found in CUDA_HOME, PATH or"):
        build_config.configure({**machine, "MASKCONV_CUDA": "1"}, in_place=True)


def test_toolkit_that_is_incomplete(tmp_path):
    nvcc = executable(tmp_path / "cuda/bin/nvcc", "echo release 13.0")
    with pytest.raises(BuildError, match=r"cuda_runtime\.h and libcudart_static\.a are needed under"):
        build_config.inspect_toolkit(nvcc)


def test_toolkit_behind_a_wrapper(tmp_path):
    for name in ("include/cuda_runtime.h", "lib64/libcudart_static.a"):
        (tmp_path / "cuda" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cuda" / name).touch()
    nvcc = executable(tmp_path / "bin/nvcc", f'echo "#$ TOP={tmp_path}/cuda" >&2; echo "release 12.8, V12.8.93"')
    assert build_config.inspect_toolkit(nvcc) == Toolkit(
        nvcc, tmp_path / "cuda/include", tmp_path / "cuda/lib64", "12.8"
    )


def test_without_compiler_the_package_is_pure_python(tmp_path, capfd):
    config = build_config.configure({"PATH": str(tmp_path)}, in_place=False)
    assert not config.native and not config.emulation
    assert native_build.build(config, tmp_path / "package") == []
    warning = capfd.readouterr().err
    assert "pure Python, no native library: no C++ compiler was found: install g++ (C++20) or set CXX" in warning
    assert "pip install --no-build-isolation" in warning
    with pytest.raises(BuildError, match=r"MASKCONV_NATIVE=1, but no C\+\+ compiler was found"):
        build_config.configure({"PATH": str(tmp_path), "MASKCONV_NATIVE": "1"}, in_place=False)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MASKCONV_CUDA", "yes", "MASKCONV_CUDA='yes': use auto, 0 or 1"),
        ("MASKCONV_NATIVE", "", "MASKCONV_NATIVE='': use auto, 0 or 1"),
        ("MASKCONV_EMULATION", "on", "MASKCONV_EMULATION='on': use auto, 0 or 1"),
        ("MAX_JOBS", "0", "MAX_JOBS='0': a number of processes is needed"),
    ],
)
def test_unknown_settings(machine, variable, value, message):
    with pytest.raises(BuildError, match=message):
        build_config.configure({**machine, variable: value}, in_place=True)


def test_without_torch_the_message_tells_the_way(monkeypatch):
    monkeypatch.setattr(build_config.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BuildError, match="--no-build-isolation"):
        build_config.find_torch()


def test_headers_are_found_as_torch_finds_them():
    from torch.utils.cpp_extension import include_paths

    assert [str(path) for path in build_config.find_torch().include] == include_paths()


@pytest.mark.parametrize("ninja", [True, False], ids=["ninja", "no-ninja"])
def test_library_is_relinked_when_a_header_changes(tmp_path, monkeypatch, ninja):
    cxx = build_config.configure({"PATH": "/usr/local/bin:/usr/bin:/bin", "MASKCONV_CUDA": "0"}, in_place=True).cxx
    if cxx is None:
        pytest.skip("no C++ compiler on this machine")
    if not ninja:
        monkeypatch.setattr(native_build, "find_ninja", lambda: None)
    elif native_build.find_ninja() is None:
        pytest.skip("ninja is not installed")
    source = tmp_path / "source dir/a.cpp"
    source.parent.mkdir()
    source.write_text('#include "a.h"\nextern "C" int answer() { return kAnswer; }\n')
    object_ = native_build._cxx_edge([cxx], source, tmp_path / "build")
    link = native_build._link_edge([cxx, "-shared"], [object_], [], tmp_path / "build/a.so")
    compiled = []
    for value in (1, 2):
        (source.parent / "a.h").write_text(f"constexpr int kAnswer = 0x1234567{value};\n")
        native_build.run_edges([object_, link], tmp_path / "build", 2)
        compiled.append((tmp_path / "build/a.so").read_bytes())
    assert [
        bytes([0x71, 0x56, 0x34, 0x12]) in compiled[0],
        bytes([0x72, 0x56, 0x34, 0x12]) in compiled[1],
    ] == [True, True]


def test_compiler_errors_name_the_way_out(tmp_path):
    edge = native_build.Edge(tmp_path / "x.o", [], ["false"], compiles=False)
    with pytest.raises(BuildError, match="failed"):
        native_build.run_edges([edge], tmp_path, 1)


def test_library_without_cuda_needs_nothing_of_it():
    config = Config("g++", "", None, "", [], [], False, "", 1)
    edges = native_build.native_edges(config, build_config.Torch(Path("/torch"), "2.13.0"), Path("/build"))
    commands = " ".join(word for edge in edges for word in edge.command)
    assert not any(word in commands for word in ("nvcc", "cudart", "MASKCONV_WITH_CUDA"))
    assert "-DTORCH_TARGET_VERSION=0x020a000000000000" in commands


PTXAS = """\
ptxas info    : Compiling entry function '_Z3mmav' for 'sm_80'
ptxas info    : Function properties for _Z3mmav
    8 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers
ptxas info    : Compiling entry function '_Z4simtv' for 'sm_80'
ptxas info    : Function properties for _Z4simtv
    0 bytes stack frame, 16 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 32 registers
"""
PTX = """\
.visible .entry _Z3mmav(
) {
  mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1}, {%r1}, {%r2}, {%f1};
}
.visible .entry _Z4simtv(
) {
  fma.rn.f32 %f1, %f2, %f3, %f4;
}
"""


def test_spills_matter_in_tensor_core_kernels_only(tmp_path):
    keep, log = native_build.cuda_traces(Path("k.cu"), tmp_path)
    keep.mkdir(parents=True)
    (keep / "k.compute_80.ptx").write_text(PTX)
    log.write_text(PTXAS)
    kernels, problems = cuda_compile.read_kernels(Path("k.cu"), tmp_path)
    assert [(k.name, k.registers, k.spill_bytes, k.tensor_core) for k in kernels] == [
        ("_Z3mmav", 255, 12, True),
        ("_Z4simtv", 32, 16, False),
    ]
    assert problems == ["k.cu: _Z3mmav spills 12 bytes on sm_80"]


def test_gpu_suite_fails_where_nothing_ran_on_the_gpu():
    passed = gpu_suite.Case("tests.test_ptx::test_ldmatrix[cuda]", "passed", "", gpu=True)
    assert gpu_suite.summarize([passed], [])["outcome"] == "passed"
    skipped = gpu_suite.Case(passed.test, "skipped", "no GPU", gpu=True)
    report = gpu_suite.summarize([skipped, gpu_suite.Case("tests.test_a::test_b", "passed", "", gpu=False)], [])
    assert report["outcome"] == "failed"
    assert report["problems"] == [
        "no test on the GPU passed",
        "no test of a PTX wrapper against its host twin passed",
    ]
    assert report["skip_reasons"] == {"no GPU": 1}
