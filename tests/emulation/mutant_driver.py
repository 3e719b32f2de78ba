"""Builds the kernels with a planted bug and runs their cases: `python tests/emulation/mutant_driver.py`, all of them.

The bugs are in `mutants.py`, the cases in `mutant_*_cases.py`, on `mutant_*.cpp`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutants import MUTANTS, PASSES, Mutant

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"
COMPILE = ["g++", "-std=c++20", "-O1", "-fPIC", "-Wno-unknown-pragmas"]
TF32_SUFFIX = "_tf32"
WORKERS = 2  # compilers and cases at once
TIMEOUT_S = 120  # of a mutant's run: one that never ends is caught too


def emulator_objects(folder: Path) -> list[Path]:
    """The machine itself, compiled once: no mutant touches it."""
    sources = [path for path in sorted((CSRC / "emulation").glob("*.cpp")) if not is_binding(path)]
    objects = [folder / f"{path.stem}.o" for path in sources]

    def compile_one(pair: tuple[Path, Path]) -> None:
        subprocess.run([*COMPILE, f"-I{CSRC}", "-c", str(pair[0]), "-o", str(pair[1])], check=True)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(compile_one, zip(sources, objects)))
    return objects


def is_binding(path: Path) -> bool:
    text = path.read_text()
    return "emulation/bindings.h" in text or "pybind11" in text


def build(mutant: Mutant | None, of: str, objects: list[Path], folder: Path) -> Path:
    """Compiles a copy of csrc, mutated, into a shared library."""
    csrc = CSRC
    if mutant is not None:
        csrc = folder / "csrc"
        shutil.copytree(CSRC, csrc)
        target = csrc / mutant.file
        text = target.read_text()
        found = text.count(mutant.old)
        assert found == 1, f"{mutant.name}: {mutant.file} has {found} places that read {mutant.old!r}"
        target.write_text(text.replace(mutant.old, mutant.new))
    library = folder / "mutant.so"
    source = HERE / f"mutant_{of.removesuffix(TF32_SUFFIX)}.cpp"
    kernels = ["-DMASKCONV_MUTANT_TF32"] if of.endswith(TF32_SUFFIX) else []
    command = [
        *COMPILE,
        *kernels,
        f"-I{csrc}",
        f"-I{HERE}",
        "-shared",
        str(source),
        *map(str, objects),
        "-o",
        str(library),
    ]
    subprocess.run(command, check=True)
    return library


def outcome(library: Path, of: str) -> str:
    """One line: `passed`, or how it failed."""
    cases = HERE / f"mutant_{of.removesuffix(TF32_SUFFIX)}_cases.py"
    command = [sys.executable, str(cases), str(library), *(["tf32"] if of.endswith(TF32_SUFFIX) else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"timeout: still running after {TIMEOUT_S} s"
    if done.returncode != 0:
        return f"crash: {done.stderr.strip() or done.returncode}"
    return done.stdout.strip()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        objects = emulator_objects(root)

        def line(index: int, mutant: Mutant | str) -> str:
            """The verdict on a mutant; a string is the pass whose kernels are to run as they are."""
            place = root / str(index)
            place.mkdir()
            if isinstance(mutant, str):
                name, expected = f"unmutated {mutant}", ("passed",)
                found = outcome(build(None, mutant, objects, place), mutant)
            else:
                name, expected = mutant.name, mutant.caught_as
                found = outcome(build(mutant, mutant.of, objects, place), mutant.of)
            verdict = "as expected" if found.startswith(expected) else f"EXPECTED {' or '.join(expected)}"
            return f"{name}\n    {verdict}: {found}"

        with ThreadPoolExecutor(WORKERS) as pool:
            for text in pool.map(line, range(len(PASSES) + len(MUTANTS)), (*PASSES, *MUTANTS)):
                print(text, flush=True)


if __name__ == "__main__":
    main()
