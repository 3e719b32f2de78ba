"""Writes the figures in the documents from benchmarks/results; with --check, only says whether they are current.

A block between <!-- begin: NAME --> and <!-- end: NAME --> is replaced by what the function of that name returns.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cpu_results

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

from common import tables  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PICTURE = "docs/images/disparity_90.png"


def load(name: str) -> dict[str, Any] | None:
    path = RESULTS / name
    return json.loads(path.read_text()) if path.exists() else None


def digits(value: float) -> str:
    """Three significant digits."""
    return f"{value:#.3g}" if value < 100 else f"{value:.0f}"


def timing(figures: dict[str, Any]) -> list[str]:
    names = {
        name: re.sub(r", \d+ to", ", few to", name) for scene in figures["scenes"].values() for name in scene["timing"]
    }
    columns = list(dict.fromkeys(names.values()))
    lines = [f"| time over the composed form | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for scene in figures["scenes"].values():
        ratio = {names[name]: 1 / row["speedup"] for name, row in scene["timing"].items()}
        lines.append(f"| {scene['title']} | {' | '.join(digits(ratio[c]) for c in columns)} |")
    return lines


def gpu() -> str:
    """What has been verified on a GPU."""
    check = load("gpu-check.json")
    if check is None:
        return (
            "The CUDA kernels compile for sm_80 and sm_90a and are proven in emulation. They have not been run on a "
            "GPU yet, and nothing is claimed of their speed."
        )
    versions = check["versions"]
    return (
        f"Checked on {versions['gpu']} (PyTorch {versions['torch']}, commit {str(versions['commit'])[:12]}): "
        f"{'everything passed' if check['passed'] else 'not everything passed'}."
    )


def demo() -> str:
    """Errors of every method in every scene, and times against the composed form."""
    figures = load("demo.json")
    if figures is None:
        sys.exit("update_docs: benchmarks/results/demo.json is missing: `maskconv-ext demo` writes it as figures.json")
    scenes = list(figures["scenes"].values())
    shown = figures["scenes"][Path(PICTURE).stem]
    methods = list(scenes[0]["scores"])
    lines = [f"![{shown['title']}]({PICTURE})", ""]
    lines += [f"| mean absolute error in the holes | {' | '.join(methods)} |", f"|---|{'---|' * len(methods)}"]
    for scene in scenes:
        errors = [scene["scores"][method]["mae"] for method in methods]
        cells = [f"**{digits(e)}**" if e == min(errors) else digits(e) for e in errors]
        lines.append(f"| {scene['title']}, {scene['unit']} | {' | '.join(cells)} |")
    setting = f"{figures['threads']} CPU threads, PyTorch {figures['versions']['torch']}; below 1 is faster"
    lines += ["", f"Time over that of the same convolutions composed from framework operators ({setting}):", ""]
    return "\n".join(lines + timing(figures))


def roofline() -> str:
    """Estimates of the suite, from emulated counters."""
    figures = load("roofline.json")
    if figures is None:
        sys.exit("update_docs: benchmarks/results/roofline.json is missing: `python benchmarks/roofline.py` writes it")
    lines = [
        "| case | kernel | live, as rows lie | live, sorted | µs, as rows lie | µs, sorted | bound by |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in figures["cases"]:
        times = row["sorted"]
        bound = max((name for name in times if name != "time"), key=times.__getitem__)
        cells = [row["case"], row["kernel"], f"{row['live_raster']:.3f}", f"{row['live_sorted']:.3f}"]
        cells += [digits(row["raster"]["time"]), digits(times["time"]), bound]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def example(name: str) -> dict[str, Any]:
    figures = load(f"{name}.json")
    if figures is None:
        sys.exit(f"update_docs: benchmarks/results/{name}.json is missing: `make example-{name}` writes it")
    return figures


def training(figures: dict[str, Any], per_method: dict[str, float]) -> str:
    """How the networks were trained, and what that cost."""
    settings = figures["settings"]
    seconds = ", ".join(f"{method} {digits(value)}" for method, value in per_method.items())
    return (
        f"{settings['steps']} steps of {settings['batch']} crops, {settings['precision']}; CPU seconds of a network: "
        f"{seconds} ({figures['threads']} thread{'s' if figures['threads'] > 1 else ''}, PyTorch "
        f"{figures['versions']['torch']})."
    )


def inpainting() -> str:
    figures = example("inpainting")
    seconds = {kind: curve["cpu_seconds"] for kind, curve in figures["training"].items()}
    return "\n\n".join(
        ["![holes filled by each network](../docs/images/inpainting.png)", tables.inpainting(figures),
         training(figures, seconds)]
    )  # fmt: skip


def sparsity() -> str:
    figures = example("sparsity")
    kinds = [
        method for method in figures["methods"] if any(row.startswith(f"{method}-") for row in figures["training"])
    ]
    seconds = {
        kind: sum(curve["cpu_seconds"] for name, curve in figures["training"].items() if name.startswith(f"{kind}-"))
        / figures["settings"]["runs"]
        for kind in kinds
    }
    runs = f"Trained at {figures['settings']['density']:.0%}; means of {figures['settings']['runs']} networks each. "
    return "\n\n".join(
        ["![error over density](../docs/images/sparsity.png)", tables.sparsity(figures),
         runs + training(figures, seconds)]
    )  # fmt: skip


def variable_sizes() -> str:
    picture = "![differences between an image alone and in the batch](../docs/images/variable_sizes.png)"
    return f"{picture}\n\n{tables.variable_sizes(example('variable_sizes'))}"


DOCUMENTS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"gpu": gpu, "cpu": cpu_results.summary, "demo": demo},
    "docs/performance-log.md": {"roofline": roofline},
    "docs/when-it-pays.md": {
        "cpu-live-outputs": cpu_results.by_live_outputs,
        "cpu-in-a-row": cpu_results.in_a_row,
        "cpu-masks": cpu_results.with_their_masks,
        "cpu-commands": cpu_results.commands,
    },
    "examples/README.md": {"inpainting": inpainting, "sparsity": sparsity, "variable_sizes": variable_sizes},
}


def updated(name: str, text: str) -> str:
    for block_name, write in DOCUMENTS[name].items():
        block = re.compile(rf"(<!-- begin: {block_name} -->\n).*?(<!-- end: {block_name} -->)", re.DOTALL)
        body = write().replace("\\", r"\\")
        text, count = block.subn(rf"\1\n{body}\n\n\2", text)
        if count != 1:
            sys.exit(f"update_docs: {name} has {count} blocks named {block_name}, needs one")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="fail if a document is not current")
    parser.add_argument("--pictures", action="store_true", help="draw those that come from results anew, too")
    arguments = parser.parse_args()
    check = arguments.check
    if arguments.pictures:
        cpu_results.save_picture()
    for name in DOCUMENTS:
        path = ROOT / name
        old = path.read_text()
        new = updated(name, old)
        if check and new != old:
            sys.exit(f"update_docs: {name} is not what benchmarks/results give: run `python tools/update_docs.py`")
        if not check:
            path.write_text(new)


if __name__ == "__main__":
    main()
