"""Figures of a run: bars over the suite, time over the valid fraction."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import BenchError
from .candidates import ASTROPY, COMPILED, COMPOSED, OP
from .report import Record

DRAWN = {OP: "tab:blue", COMPOSED: "tab:orange", COMPILED: "tab:green", ASTROPY: "tab:purple"}
INCHES_PER_CASE = 0.32


def require_matplotlib() -> None:
    if importlib.util.find_spec("matplotlib") is None:
        raise BenchError("--plots needs matplotlib: pip install matplotlib")


def save_plots(records: list[Record], folder: Path, sweep: bool, title: str) -> list[Path]:
    """A PNG in `folder`, of the cases whose bare convolution has a time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    records = [record for record in records if record["bare_us"] is not None]
    if not records:
        return []
    draw: Callable[[Any, list[Record]], None] = _over_valid_fraction if sweep else _over_suite
    size = (7.0, 4.5) if sweep else (max(6.0, INCHES_PER_CASE * len(records) + 2), 5.0)
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    draw(axes, records)
    axes.axhline(1, color="black", linewidth=1, label="bare convolution")
    axes.set_ylabel("time / bare convolution")
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=8)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("sweep.png" if sweep else "suite.png")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return [path]


def _over_suite(axes: Any, records: list[Record]) -> None:
    timed = [name for name in DRAWN if any(_over_bare(record, name) is not None for record in records)]
    width = 0.8 / max(len(timed), 1)
    for offset, name in enumerate(timed):
        points = [(i, _over_bare(record, name)) for i, record in enumerate(records)]
        known = [(i, ratio) for i, ratio in points if ratio is not None]
        places = [i + (offset - (len(timed) - 1) / 2) * width for i, _ in known]
        axes.bar(places, [ratio for _, ratio in known], width, color=DRAWN[name], label=name)
    several = len({record["dtype"] for record in records}) > 1
    names = [f"{record['case']} {record['dtype']}" if several else record["case"] for record in records]
    axes.set_xticks(range(len(records)), names, rotation=90, fontsize=7)


def _over_valid_fraction(axes: Any, records: list[Record]) -> None:
    records = sorted(records, key=lambda record: record["valid_fraction"])
    for name, color in DRAWN.items():
        points = [(record["valid_fraction"], _over_bare(record, name)) for record in records]
        known = [(valid, ratio) for valid, ratio in points if ratio is not None]
        if known:
            axes.plot(*zip(*known), marker="o", color=color, label=name)
    live = [(record["valid_fraction"], record["live_sorted"]) for record in records]
    axes.plot(*zip(*live), linestyle=":", color="grey", label="live (tile × tap) fraction, sorted rows")
    axes.plot([0, 1], [0, 1], linestyle="--", linewidth=1, color="black", label="ideal: the valid fraction")
    axes.set_xlabel("valid fraction of the input")
    axes.set_ylim(bottom=0)


def _over_bare(record: Record, name: str) -> float | None:
    return record["candidates"].get(name, {}).get("over_bare")
