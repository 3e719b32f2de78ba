"""Planted bugs: each a change to the kernels' text that the tests must notice, and how it may show.

`python tests/emulation/mutants.py` builds and runs them all and prints the table.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"
COMPILE = ["g++", "-std=c++20", "-O1", "-fPIC", "-Wno-unknown-pragmas"]
TIMEOUT_S = 120  # of a mutant's run: one that never ends is caught too


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str  # below csrc
    old: str
    new: str
    caught_as: tuple[str, ...]  # one of these begins the outcome


MMA = "kernels/forward_mma.cuh"
SIMT = "kernels/forward_simt.cuh"
MASK = "device/mask.cuh"
GATHER = "device/gather.cuh"
EPILOGUE = "device/epilogue.cuh"
BARRIER = "__syncthreads();"

MUTANTS = (
    Mutant("main loop without its barrier", MMA, BARRIER + "                    // ...", "// ...", ("race",)),
    Mutant("accumulators put over stages still read", MMA, BARRIER + "  // every", "// every", ("race",)),
    Mutant("epilogue reads before all have put", MMA, "sums.put(smem);\n  " + BARRIER, "sums.put(smem);", ("race",)),
    Mutant("tap list before the bitsets", MASK, "tile, smem);\n  " + BARRIER, "tile, smem);", ("race",)),
    Mutant(
        "simt loop without its barrier",
        SIMT,
        "(step + 1) % 2));\n    " + BARRIER,
        "(step + 1) % 2));",
        ("race",),
    ),
    Mutant("wait for one group too few", MMA, "cp_async_wait<kStages - 2>", "cp_async_wait<kStages - 1>", ("async",)),
    Mutant("load into the stage being read", MMA, "stage(ahead % kStages)", "stage(step % kStages)", ("async", "race")),
    Mutant("simt writes the stage being read", SIMT, "(step + 1) % 2", "step % 2", ("race",)),
    Mutant(
        "load ignores the mask",
        GATHER,
        "in_channels && (row_live_ >> i & 1)",
        "in_channels",
        ("wrong", "out_of_bounds"),
    ),
    Mutant(
        "no zero fill of holes",
        GATHER,
        "ptx::cp_async<kVectorBytes>(stage + swizzled",
        "if (row_live_ >> i & 1) ptx::cp_async<kVectorBytes>(stage + swizzled",
        ("wrong",),
    ),
    Mutant(
        "channel tail not zeroed",
        GATHER,
        "channel_ + chunk_ * kChunkElements < channels_",
        "channel_ >= 0",
        ("wrong", "out_of_bounds"),
    ),
    Mutant(
        "filter tail loaded",
        GATHER,
        "uint32_t{tile.first_filter + filter < filters} << i",
        "1u << i",
        ("out_of_bounds",),
    ),
    Mutant("filter tail stored", EPILOGUE, "if (i < remaining) ptx::store", "ptx::store", ("race", "wrong")),
    Mutant("row tail stored", EPILOGUE, "if (q >= problem.rows()) return;", "", ("out_of_bounds",)),
    Mutant("row tail scanned", MASK, "if (q >= problem.rows()) {", "if (q < 0) {", ("out_of_bounds",)),
    Mutant(
        "swizzled read of an unswizzled write",
        GATHER,
        "(stage + swizzled<kRowChunks>(row_ + i * kRowsAtOnce, chunk_)",
        "(stage + ((row_ + i * kRowsAtOnce) * kRowChunks + chunk_) * kVectorBytes",
        ("wrong",),
    ),
    Mutant(
        "no swizzle",
        "device/smem.cuh",
        "(chunk ^ (row / kRowsPerBankRow % kRowChunks))",
        "chunk",
        ("counters",),
    ),
    Mutant(
        "padding never counts",
        MASK,
        "live || (problem.pad_is_valid && !in_image)",
        "live",
        ("wrong",),
    ),
    Mutant(
        "one position too many at the far border",
        MASK,
        "static_cast<uint32_t>(at) < ",
        "static_cast<uint32_t>(at) <= ",
        ("wrong", "out_of_bounds"),
    ),
    Mutant("scale of an empty window", MASK, "if (sum == 0) return 1;", "", ("wrong",)),
    Mutant(
        "tap list of the first warp's rows only",
        MASK,
        "row < kConfig.block_m; row += 32)",
        "row < 32; row += 32)",
        ("wrong",),
    ),
    Mutant(
        "tap list of the first word for all",
        MASK,
        "tap_word(row, first_tap)",
        "tap_word(row, 0)",
        ("out_of_bounds", "wrong"),
    ),
    Mutant(
        "every tap visited",
        MASK,
        "__reduce_or_sync(~0u, mine)",
        "~0u >> (problem.taps() - first_tap < 32 ? 32 - problem.taps() + first_tap : 0)",
        ("counters",),
    ),
    Mutant("bitset of the image, not of the mask", MASK, "uint32_t{live} <<", "uint32_t{in_image} <<", ("wrong",)),
    Mutant("dilation forgotten between taps", MASK, "w * problem.dilation[2];\n}", "w;\n}", ("wrong", "out_of_bounds")),
    Mutant(
        "output mask of the wrong image",
        MASK,
        "static_cast<uint8_t*>(params.out_mask) + row",
        "static_cast<uint8_t*>(params.out_mask) + row % problem.output_positions()",
        ("race", "wrong"),
    ),
    Mutant(
        "shared window written by every image",
        MASK,
        "if (row >= problem.window_batch() * problem.output_positions()) return;",
        "",
        ("out_of_bounds",),
    ),
    Mutant("first group's channels for all", MASK, "int64_t{tile.group} * problem", "0 * problem", ("wrong",)),
    Mutant(
        "bias scaled",
        EPILOGUE,
        "scale * sums.value[j] + bias[i + j]",
        "scale * (sums.value[j] + bias[i + j])",
        ("wrong",),
    ),
    Mutant("fill not written", EPILOGUE, "value = valid ?", "value = true ?", ("wrong",)),
)


def emulator_objects(folder: Path) -> list[Path]:
    """The machine itself, compiled once: no mutant touches it."""
    sources = [path for path in sorted((CSRC / "emulation").glob("*.cpp")) if not is_binding(path)]
    objects = [folder / f"{path.stem}.o" for path in sources]

    def compile_one(pair: tuple[Path, Path]) -> None:
        subprocess.run([*COMPILE, f"-I{CSRC}", "-c", str(pair[0]), "-o", str(pair[1])], check=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_one, zip(sources, objects)))
    return objects


def is_binding(path: Path) -> bool:
    text = path.read_text()
    return "emulation/bindings.h" in text or "pybind11" in text


def build(mutant: Mutant | None, objects: list[Path], folder: Path) -> Path:
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
    source = HERE / "mutant_forward.cpp"
    command = [*COMPILE, f"-I{csrc}", "-shared", str(source), *map(str, objects), "-o", str(library)]
    subprocess.run(command, check=True)
    return library


def outcome(library: Path) -> str:
    """One line: `passed`, or how it failed."""
    command = [sys.executable, str(HERE / "mutant_cases.py"), str(library)]
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

        def line(index: int, mutant: Mutant | None) -> str:
            place = root / str(index)
            place.mkdir()
            found = outcome(build(mutant, objects, place))
            expected = ("passed",) if mutant is None else mutant.caught_as
            verdict = "as expected" if found.startswith(expected) else f"EXPECTED {' or '.join(expected)}"
            return f"{mutant.name if mutant else 'unmutated'}\n    {verdict}: {found}"

        with ThreadPoolExecutor(2) as pool:
            for text in pool.map(line, range(len(MUTANTS) + 1), (None, *MUTANTS)):
                print(text, flush=True)


if __name__ == "__main__":
    main()
