"""Results as Markdown tables: what the examples print, and what tools/update_docs.py writes into their README.

Pure Python, so that no document needs more than the JSON file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any


def inpainting(figures: dict[str, Any]) -> str:
    """PSNR and SSIM in the holes, of each method and coverage, averaged over pictures and masks."""
    scores, coverages = figures["scores"], _values(figures["scores"], "coverage")

    def mean_of(method: str, coverage: float, key: str) -> float:
        return _mean(row[key] for row in scores if row["method"] == method and row["coverage"] == coverage)

    psnr = {m: [mean_of(m, c, "psnr") for c in coverages] for m in figures["methods"]}
    ssim = {m: [mean_of(m, c, "ssim") for c in coverages] for m in figures["methods"]}
    header = ["in the holes", *(f"PSNR dB, {c:.0%} holes" for c in coverages), *(f"SSIM, {c:.0%}" for c in coverages)]
    columns = {m: psnr[m] + ssim[m] for m in psnr}
    formats = ["{:.2f}".format] * len(coverages) + ["{:.3f}".format] * len(coverages)
    return _table(header, figures["methods"], columns, formats, best=max)


def sparsity(figures: dict[str, Any]) -> str:
    """Mean absolute error of each method and density, averaged over networks and draws of the given pixels."""
    scores, densities = figures["scores"], _values(figures["scores"], "density")
    columns = {
        method: [
            _mean(row["mae"] for row in scores if (row["method"], row["density"]) == (method, d)) for d in densities
        ]
        for method in figures["methods"]
    }
    header = ["mean absolute error, px", *(f"{density:.0%}" for density in densities)]
    return _table(header, figures["methods"], columns, ["{:.2f}".format] * len(densities), best=min)


def variable_sizes(figures: dict[str, Any]) -> str:
    """Largest differences between an image alone and in the batch, of the largest value; and of the gradients."""
    methods = figures["methods"]
    lines = [f"| largest difference | {' | '.join(methods.values())} |", f"|---|{'---|' * len(methods)}"]
    rows = {f"{row['name']}, {row['height']} x {row['width']}": row["differences"] for row in figures["images"]}
    for name, differences in (rows | {"gradient of all weights": figures["gradient"]}).items():
        lines.append(f"| {name} | {' | '.join(f'{differences[method]:.1e}' for method in methods)} |")
    return "\n".join(lines)


def _values(rows: Iterable[dict[str, Any]], key: str) -> list[Any]:
    """Those of a column, each once."""
    return list(dict.fromkeys(row[key] for row in rows))


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def _table(
    header: Sequence[str],
    labels: dict[str, str],
    columns: dict[str, list[float]],
    formats: Sequence[Callable[[float], str]],
    best: Callable[[Iterable[float]], float],
) -> str:
    """A row a method; what reads as the best of a column is bold."""
    lines = [f"| {' | '.join(header)} |", f"|---|{'---|' * len(formats)}"]
    winners = [write(best(of_method[i] for of_method in columns.values())) for i, write in enumerate(formats)]
    for method, values in columns.items():
        cells = [write(value) for write, value in zip(formats, values)]
        marked = [f"**{cell}**" if cell == winner else cell for cell, winner in zip(cells, winners)]
        lines.append(f"| {labels[method]} | {' | '.join(marked)} |")
    return "\n".join(lines)
