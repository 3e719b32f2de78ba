"""What the documents say of the CPU engine's speed, from two committed runs of `maskconv-ext bench`."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SUITE, SPARSE = "cpu.json", "cpu-sparse.json"
CHOICE = "--device cpu --dtype float32 --seconds 3 --candidates op 'conv_*_bias' composed_eager astropy"
COMMANDS = {
    SUITE: f"maskconv-ext bench {CHOICE} --out benchmarks/results/{SUITE}",
    SPARSE: f"maskconv-ext bench {CHOICE} --mask spark@0.5 spark@0.25 spark@0.1 --update center --out "
    f"benchmarks/results/{SPARSE}",
}
PICTURE = ROOT / "docs" / "images" / "cpu_live_outputs.png"
FRACTIONS = {"1": "all", "0.5": "half", "0.25": "a quarter", "0.1": "a tenth"}
Record = dict[str, Any]


def load(name: str) -> dict[str, Any]:
    path = RESULTS / name
    if not path.exists():
        sys.exit(f"update_docs: {path.relative_to(ROOT)} is missing: `{COMMANDS[name]}` writes it")
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures


def ratios() -> dict[str, dict[str, float]]:
    """Time over that of the bare convolution, by share of valid outputs and layer."""
    found: dict[str, dict[str, float]] = {share: {} for share in FRACTIONS}
    for record in [*load(SUITE)["cases"], *load(SPARSE)["cases"]]:
        mask = record["mask"]
        share = "1" if mask == "ones" else mask.removeprefix("spark@")
        if share in found and record["over_bare"] is not None:
            found[share][record["layer"]] = record["over_bare"]
    return found


def digits(value: float) -> str:
    return f"{value:.2f}"


def setting() -> str:
    environment = load(SUITE)["environment"]
    torch = environment["versions"]["torch"]
    return f"{environment['device_name']}, {environment['threads']} threads, PyTorch {torch}"


def by_live_outputs() -> str:
    """A line a layer: bare convolution, and this op at each share of valid outputs, 1 being all of them."""
    found, suite = ratios(), load(SUITE)["cases"]
    lines = [
        f"Time over that of `F.conv`, the faster of its layouts, without any mask ({setting()}):",
        "",
        f"| layer | N, C→K, size, kernel | bare µs | {' | '.join(FRACTIONS.values())} of the outputs | composed, all |",
        f"|---|---|---|{'---|' * len(FRACTIONS)}---|",
    ]
    for record in suite:
        if record["mask"] != "ones" or record["over_bare"] is None:
            continue
        cells = [
            digits(found[share][record["layer"]]) if record["layer"] in found[share] else "" for share in FRACTIONS
        ]
        composed = record["candidates"].get("composed_eager", {}).get("over_bare")
        cells.append("" if composed is None else digits(composed))
        lines.append(f"| {record['layer']} | {record['shape']} | {record['bare_us']:.0f} | {' | '.join(cells)} |")
    means = [digits(statistics.geometric_mean(found[share].values())) for share in FRACTIONS]
    composed_all = [r["candidates"]["composed_eager"]["over_bare"] for r in suite if r["mask"] == "ones"]
    means.append(digits(statistics.geometric_mean(value for value in composed_all if value)))
    lines.append(f"| **geometric mean** | | | {' | '.join(means)} |")
    return "\n".join(lines)


def with_their_masks() -> str:
    """The suite's layers under the masks that they meet in practice."""
    lines = ["| case | valid pixels | valid outputs | time / bare | composed form / this |", "|---|---|---|---|---|"]
    for record in load(SUITE)["cases"]:
        if record["mask"] == "ones" or record["over_bare"] is None:
            continue
        eager = "" if record["over_eager"] is None else digits(record["over_eager"])
        cells = [digits(record["valid_fraction"]), digits(record["valid_outputs"]), digits(record["over_bare"]), eager]
        lines.append(f"| {record['case']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def commands() -> str:
    return "\n".join(f"    {command}" for command in (*COMMANDS.values(), "make readme-figures"))


def summary() -> str:
    found = ratios()
    text = ", ".join(
        f"{digits(statistics.geometric_mean(found[share].values()))} at {name} of them"
        for share, name in FRACTIONS.items()
    )
    picture = PICTURE.relative_to(ROOT)
    return (
        f"![time over the bare convolution, by the share of valid outputs]({picture})\n\n"
        f"On a CPU, holes make it faster: time over that of the same convolution without a mask, geometric mean over "
        f"the {len(found['1'])} layers of the benchmark, by the share of outputs that are valid: {text} ({setting()}). "
        f"[docs/when-it-pays.md](docs/when-it-pays.md) has every layer, those where it does not pay included."
    )


def save_picture() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = ratios()
    shares = [float(share) for share in FRACTIONS]
    figure, axes = pyplot.subplots(figsize=(6.5, 4.5), layout="constrained")
    for layer in found["1"]:
        points = [(float(share), found[share][layer]) for share in FRACTIONS if layer in found[share]]
        axes.plot(*zip(*points), color="tab:blue", alpha=0.25, linewidth=1)
    means = [statistics.geometric_mean(found[share].values()) for share in FRACTIONS]
    axes.plot(shares, means, color="tab:blue", linewidth=2.5, marker="o", label="masked convolution, geometric mean")
    axes.plot([], [], color="tab:blue", alpha=0.25, label="each layer")
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="ideal")
    axes.axhline(1, color="black", linewidth=1, label="bare convolution, no mask")
    axes.set(
        xlabel="share of valid pixels, and about that of outputs",
        ylabel="time / bare convolution",
        xlim=(0, 1.02),
        ylim=(0, 2),
    )
    axes.set_title(setting(), fontsize=9)
    axes.legend(fontsize=8, loc="upper left")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
    pyplot.close(figure)
