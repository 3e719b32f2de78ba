"""Records of a run, as figures, a table and a JSON file."""

from __future__ import annotations

import json
import math
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .candidates import BARE, COMPILED, COMPOSED, OP
from .check import Verdict
from .device import Peaks
from .live import Live
from .measure import Timing
from .suite import Case

FORMAT = 2  # of the JSON file
GAP = "  "  # between columns
Record = dict[str, Any]
# Ratios that are summed up: over bare convolution, less is better; over the composed form, more.
RATIOS = {"over_bare": "time / bare", "over_eager": "composed / op", "over_compiled": "compiled / op"}


def case_record(case: Case, direction: str, valid: float, live: Live, peaks: Peaks | None) -> Record:
    layer = case.layer
    flops, moved = layer.flops(direction), layer.bytes(case.dtype, direction)
    floor = peaks.floor_us(flops, moved, case.dtype) if peaks else None
    return {
        "case": case.name,
        "layer": layer.id,
        "shape": layer.describe(),
        "dtype": case.dtype,
        "mask": case.mask.name,
        "mask_parts": list(layer.parts),
        "normalization": case.normalization,
        "mask_update": case.mask_update,
        "valid_fraction": valid,
        "valid_outputs": live.outputs,
        "live_raster": live.raster,
        "live_sorted": live.sorted,
        "flops": flops,
        "bytes": moved,
        "floor_us": floor[0] if floor else None,
        "floor_by": floor[1] if floor else None,
        "candidates": {},
    }


def candidate_record(
    status: str, note: str = "", verdict: Verdict | None = None, timing: Timing | None = None, peak: int | None = None
) -> Record:
    """`status`: ok, wrong, error or skipped; times of ok alone."""
    record: Record = {"status": status, "note": note}
    if verdict is not None:
        # Not finite is not JSON.
        record["error_norm"] = verdict.error if math.isfinite(verdict.error) else None
    if timing is not None and status == "ok":
        low, middle, high = timing.quartiles()
        record.update(
            median_us=middle, quartiles_us=[low, high], iqr_us=high - low, samples_us=timing.samples_us, peak_bytes=peak
        )
    return record


def add_rates(record: Record) -> None:
    """What follows from the times of all candidates."""
    times = {name: c["median_us"] for name, c in record["candidates"].items() if c["status"] == "ok"}
    bare = min((times[name] for name in BARE if name in times), default=None)
    record["bare_us"] = bare
    for name, time in times.items():
        c = record["candidates"][name]
        c["tflops"] = record["flops"] / time * 1e-6
        c["gbps"] = record["bytes"] / time * 1e-3
        c["over_bare"] = None if bare is None else time / bare
        c["over_floor"] = None if record["floor_us"] is None else time / record["floor_us"]
    record["over_bare"] = record["candidates"].get(OP, {}).get("over_bare")
    for key, other in (("over_eager", COMPOSED), ("over_compiled", COMPILED)):
        record[key] = times[other] / times[OP] if OP in times and other in times else None


def geometric_means(records: list[Record]) -> dict[str, Any]:
    """Of this op's ratios, over all cases of a mask as it is written and a dtype, with the worst of them."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        for group in ("all", f"{record['mask']}, {record['dtype']}"):
            groups.setdefault(group, []).append(record)
    return {
        group: {key: _summary([(r[key], r["case"]) for r in members], key) for key in RATIOS}
        for group, members in groups.items()
    }


def _summary(ratios: list[tuple[float | None, str]], key: str) -> Record | None:
    known = [(ratio, case) for ratio, case in ratios if ratio is not None]
    if not known:
        return None
    worst = max(known) if key == "over_bare" else min(known)
    return {
        "geomean": statistics.geometric_mean(ratio for ratio, _ in known),
        "worst": worst[0],
        "worst_case": worst[1],
        "cases": len(known),
    }


PLAN_HEADER = ("case", "dtype", "layer: N, C→K, H×W, R×S, stride", "rule", "GFLOP", "MB", "floor µs")
CASE_HEADER = (
    "case", "dtype", "valid", "live", "sorted", "op µs", "IQR", "bare µs", "× bare", "× eager", "× compiled",
    "TFLOP/s", "GB/s", "floor µs", "peak MB", "engine",
)  # fmt: skip


def plan_lines(cases: list[Case], direction: str, peaks: Peaks | None) -> list[str]:
    rows = []
    for case in cases:
        flops, moved = case.layer.flops(direction), case.layer.bytes(case.dtype, direction)
        floor = peaks.floor_us(flops, moved, case.dtype) if peaks else None
        floor_text = f"{floor[0]:.1f} {floor[1]}" if floor else "-"
        rule = f"{case.normalization}, {case.mask_update}"
        rows.append(
            (case.name, case.dtype, case.layer.describe(), rule, f"{flops * 1e-9:.3g}", f"{moved * 1e-6:.1f}",
             floor_text)
        )  # fmt: skip
    return table(PLAN_HEADER, rows, keys=2)


def case_lines(records: list[Record]) -> list[str]:
    rows = []
    for record in records:
        op = record["candidates"].get(OP, {"status": "not run", "note": ""})
        timed = op["status"] == "ok"
        peak = op.get("peak_bytes")
        rows.append((
            record["case"], record["dtype"], f"{record['valid_fraction']:.3f}", f"{record['live_raster']:.3f}",
            f"{record['live_sorted']:.3f}", f"{op['median_us']:.1f}" if timed else op["status"],
            f"{op['iqr_us']:.1f}" if timed else "-", _number(record["bare_us"], ".1f"),
            _number(record["over_bare"], ".2f"), _number(record["over_eager"], ".2f"),
            _number(record["over_compiled"], ".2f"), _number(op.get("tflops"), ".3g"), _number(op.get("gbps"), ".3g"),
            _number(record["floor_us"], ".1f"), _number(None if peak is None else peak * 1e-6, ".1f"),
            op["note"] if timed else "-",
        ))  # fmt: skip
    return table(CASE_HEADER, rows, keys=2)


def problem_lines(records: list[Record]) -> list[str]:
    """Every candidate that has no time, and why; what does not apply is not among them."""
    return [
        f"{record['case']} {record['dtype']}: {name}: {c['status']}: {c['note']}"
        for record in records
        for name, c in record["candidates"].items()
        if c["status"] in ("wrong", "error")
    ]


def mean_lines(means: dict[str, Any]) -> list[str]:
    rows = []
    for group, of_group in means.items():
        cells = [group]
        for key in RATIOS:
            summary = of_group[key]
            cells.append("-" if summary is None else f"{summary['geomean']:.2f}")
            cells.append("-" if summary is None else f"{summary['worst']:.2f} {summary['worst_case']}")
        rows.append(tuple(cells))
    header = ["geometric mean of"]
    for label in RATIOS.values():
        header += [label, "worst"]
    return table(tuple(header), rows)


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], keys: int = 1) -> list[str]:
    """Columns as wide as they need; the first to the left, numbers to the right.

    Wider than the terminal, it goes on in a second table below, under the same `keys` first columns.
    """
    lines = [header, *rows]
    widths = [max(len(row[i]) for row in lines) for i in range(len(header))]
    room = screen_width()
    parts: list[list[int]] = [[]]
    for i in range(keys, len(header)):
        taken = sum(widths[j] + len(GAP) for j in (*range(keys), *parts[-1]))
        if parts[-1] and taken + widths[i] > room:
            parts.append([])
        parts[-1].append(i)
    text: list[str] = []
    for columns in parts:
        text += [""] if text else []
        text += [_line(line, [*range(keys), *columns], widths) for line in lines]
    return text


def _line(cells: tuple[str, ...], columns: list[int], widths: list[int]) -> str:
    padded = (cells[i].ljust(widths[i]) if i == 0 else cells[i].rjust(widths[i]) for i in columns)
    return GAP.join(padded).rstrip()


def screen_width() -> float:
    """Of the terminal; a file or a pipe takes lines of any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else math.inf


def _number(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)


def save(path: Path, figures: dict[str, Any]) -> None:
    """All at once, so that an interruption leaves the file before or after."""
    path = path.resolve()  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n")
    partial.replace(path)
