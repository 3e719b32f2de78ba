"""What the documents say of the CPU engine's speed, from committed runs of `maskconv-ext bench`: two a machine."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
# Of the first, the README tells.
MACHINES = ("cpu-avx2", "cpu-avx512")
SUITE, SPARSE = "{}.json", "{}-sparse.json"
CHOICE = "--device cpu --dtype float32 --seconds 3 --candidates op 'conv_*_bias' composed_eager astropy"
COMMANDS = {
    SUITE: f"maskconv-ext bench {CHOICE} --out benchmarks/results/{SUITE}",
    SPARSE: f"maskconv-ext bench {CHOICE} --mask spark@0.5 spark@0.25 spark@0.1 --update center --out "
    f"benchmarks/results/{SPARSE}",
}
# The means of the README, in its last lines.
MEANS = (
    "maskconv-ext bench --device cpu --dtype float32 --seconds 3 --candidates op 'conv_*_bias' --suite '[!a]*' 'asr_*' "
    "anchor --mask ones spark@0.5 spark@0.25 spark@0.1 --update center"
)
PICTURE = ROOT / "docs" / "images" / "cpu_live_outputs.png"
FRACTIONS = {"1": "all", "0.5": "half", "0.25": "a quarter", "0.1": "a tenth"}
# One filter over one channel: the framework is so slow there that a mean would say little of the other layers.
NOT_AVERAGED = "astro_psf"
Record = dict[str, Any]


def load(machine: str, of: str = SUITE) -> dict[str, Any]:
    path = RESULTS / of.format(machine)
    if not path.exists():
        command = COMMANDS[of].format(machine)
        sys.exit(f"update_docs: {path.relative_to(ROOT)} is missing: `{command}` writes it on such a CPU")
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures


def ratios(machine: str) -> dict[str, dict[str, float]]:
    """Time over that of the bare convolution, by share of valid outputs and layer."""
    found: dict[str, dict[str, float]] = {share: {} for share in FRACTIONS}
    for record in [*load(machine)["cases"], *load(machine, SPARSE)["cases"]]:
        mask = record["mask"]
        share = "1" if mask == "ones" else mask.removeprefix("spark@")
        if share in found and record["over_bare"] is not None:
            found[share][record["layer"]] = record["over_bare"]
    return found


def mean(of_layers: dict[str, float]) -> float:
    return statistics.geometric_mean(value for layer, value in of_layers.items() if layer != NOT_AVERAGED)


def digits(value: float) -> str:
    return f"{value:.2f}"


def setting(machine: str) -> str:
    environment = load(machine)["environment"]
    vectors = machine.removeprefix("cpu-").replace("avx512", "AVX-512").replace("avx2", "AVX2")
    return (
        f"{environment['device_name']} with {vectors}, {environment['threads']} threads, PyTorch "
        f"{environment['versions']['torch']}, commit {environment['commit'][:7]}"
    )


def by_live_outputs() -> str:
    """A table a machine; in it, a line a layer: bare convolution, and this op at each share of valid outputs."""
    return "\n\n".join(_by_live_outputs(machine) for machine in MACHINES)


def _by_live_outputs(machine: str) -> str:
    found, suite = ratios(machine), load(machine)["cases"]
    lines = [
        f"Time over that of `F.conv`, the faster of its layouts, without any mask ({setting(machine)}):",
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
    composed_all = {r["layer"]: r["candidates"]["composed_eager"]["over_bare"] for r in suite if r["mask"] == "ones"}
    means = [digits(mean(values)) for values in (*found.values(), composed_all)]
    lines.append(f"| **geometric mean** without {NOT_AVERAGED} | | | {' | '.join(means)} |")
    return "\n".join(lines)


def with_their_masks() -> str:
    """The suite's layers under the masks that they meet in practice, a pair of columns a machine."""
    runs = [
        {record["case"]: record for record in load(machine)["cases"] if record["mask"] != "ones"}
        for machine in MACHINES
    ]
    names = [machine.removeprefix("cpu-") for machine in MACHINES]
    columns = [f"time / bare, {name} | composed form / this, {name}" for name in names]
    lines = [
        f"| case | valid pixels | valid outputs | {' | '.join(columns)} |",
        f"|---|---|---|{'---|---|' * len(names)}",
    ]
    for case, first in runs[0].items():
        cells = [digits(first["valid_fraction"]), digits(first["valid_outputs"])]
        for run in runs:
            record = run.get(case, {})
            cells += ["" if record.get(of) is None else digits(record[of]) for of in ("over_bare", "over_eager")]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def commands() -> str:
    mine = [command.format(MACHINES[0]) for command in COMMANDS.values()]
    return "\n".join(f"    {command}" for command in (*mine, "make readme-figures"))


def _means(machine: str) -> str:
    found = ratios(machine)
    return ", ".join(f"{digits(mean(found[share]))} at {name} of them" for share, name in FRACTIONS.items())


def summary() -> str:
    means = "; ".join(f"{_means(machine)} ({setting(machine)})" for machine in MACHINES)
    picture = PICTURE.relative_to(ROOT)
    return (
        f"![time over the bare convolution, by the share of valid outputs]({picture})\n\n"
        f"On a CPU, holes make it faster: time over that of the same convolution without a mask, geometric mean over "
        f"the benchmark's layers but {NOT_AVERAGED}, by the share of outputs that are valid: {means}. "
        f"[docs/when-it-pays.md](docs/when-it-pays.md) has every layer, those where it does not pay included. "
        f"This ends with the means of your machine:\n\n    {MEANS}"
    )


def save_picture() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = ratios(MACHINES[0])
    shares = [float(share) for share in FRACTIONS]
    figure, axes = pyplot.subplots(figsize=(6.5, 4.5), layout="constrained")
    for layer in found["1"]:
        points = [(float(share), found[share][layer]) for share in FRACTIONS if layer in found[share]]
        axes.plot(*zip(*points), color="tab:blue", alpha=0.25, linewidth=1)
    means = [mean(found[share]) for share in FRACTIONS]
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
    axes.set_title(setting(MACHINES[0]), fontsize=9)
    axes.legend(fontsize=8, loc="upper left")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
    pyplot.close(figure)
