"""What the documents say of the CPU engine's speed, from committed runs of `maskconv-ext bench`: two a machine, and of
the first machine three more, in a row, of the means."""

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
    "maskconv-ext bench --device cpu --dtype float32 --seconds 3 --candidates op 'conv_*_bias' --mask ones spark@0.5 "
    "spark@0.25 spark@0.1 --update center"
)
IN_A_ROW = ("{}-means-1.json", "{}-means-2.json", "{}-means-3.json")
COMMANDS |= {name: f"{MEANS} --out benchmarks/results/{name}" for name in IN_A_ROW}
PICTURE = ROOT / "docs" / "images" / "cpu_live_outputs.png"
FRACTIONS = {"1": "all", "0.5": "half", "0.25": "a quarter", "0.1": "a tenth"}
SLOWEST = 4


def load(machine: str, of: str = SUITE) -> dict[str, Any]:
    path = RESULTS / of.format(machine)
    if not path.exists():
        command = COMMANDS[of].format(machine)
        sys.exit(f"update_docs: {path.relative_to(ROOT)} is missing: `{command}` writes it on such a CPU")
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures


def ratios(*runs: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Time over that of the bare convolution, by share of valid outputs and layer."""
    found: dict[str, dict[str, float]] = {share: {} for share in FRACTIONS}
    for record in [record for run in runs for record in run["cases"]]:
        mask = record["mask"]
        share = "1" if mask == "ones" else mask.removeprefix("spark@")
        if share in found and record["over_bare"] is not None:
            found[share][record["layer"]] = record["over_bare"]
    return found


def mean(of_layers: dict[str, float]) -> float:
    return statistics.geometric_mean(of_layers.values())


def digits(value: float) -> str:
    return f"{value:.2f}"


def setting(machine: str, of: str = SUITE) -> str:
    environment = load(machine, of)["environment"]
    vectors = machine.removeprefix("cpu-").replace("avx512", "AVX-512").replace("avx2", "AVX2")
    return (
        f"{environment['device_name']} with {vectors}, {environment['threads']} threads, PyTorch "
        f"{environment['versions']['torch']}, commit {environment['commit'][:7]}"
    )


def by_live_outputs() -> str:
    """A table a machine; in it, a line a layer: bare convolution, and this op at each share of valid outputs."""
    return "\n\n".join(_by_live_outputs(machine) for machine in MACHINES)


def _by_live_outputs(machine: str) -> str:
    found, suite = ratios(load(machine), load(machine, SPARSE)), load(machine)["cases"]
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
    lines.append(f"| **geometric mean** | | | {' | '.join(means)} |")
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
    mine = [COMMANDS[name].format(MACHINES[0]) for name in (SUITE, SPARSE)]
    return "\n".join(f"    {command}" for command in (*mine, "make readme-figures"))


def in_a_row() -> str:
    """The means of three runs, one after the other, and what was worst in them."""
    lines = [
        f"| run | {' | '.join(FRACTIONS.values())} of the outputs | slowest layers, all outputs valid |",
        f"|---|{'---|' * len(FRACTIONS)}---|",
    ]
    for number, name in enumerate(IN_A_ROW, 1):
        found = ratios(load(MACHINES[0], name))
        means = " | ".join(digits(mean(found[share])) for share in FRACTIONS)
        slowest = sorted(found["1"].items(), key=lambda item: -item[1])[:SLOWEST]
        lines.append(f"| {number} | {means} | {', '.join(f'{layer} {digits(ratio)}' for layer, ratio in slowest)} |")
    command = COMMANDS[IN_A_ROW[0]].format(MACHINES[0])
    return "\n".join([*lines, "", "Each by", "", f"    {command}"])


def summary() -> str:
    """Of the first machine; the middle one of its three runs' means."""
    runs = [ratios(load(MACHINES[0], name)) for name in IN_A_ROW]
    means = ", ".join(
        f"{digits(statistics.median(mean(run[share]) for run in runs))} at {name} of them"
        for share, name in FRACTIONS.items()
    )
    picture = PICTURE.relative_to(ROOT)
    return (
        f"![time over the bare convolution, by the share of valid outputs]({picture})\n\n"
        f"On a CPU, holes make it faster: time over that of the same convolution without a mask, geometric mean over "
        f"the benchmark's layers, by the share of outputs that are valid: {means} "
        f"({setting(MACHINES[0], IN_A_ROW[0])}). "
        f"[docs/when-it-pays.md](docs/when-it-pays.md) has every layer, those where it does not pay included. "
        f"This ends with the means of your machine:\n\n    {MEANS}"
    )


def save_picture() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = ratios(load(MACHINES[0]), load(MACHINES[0], SPARSE))
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
