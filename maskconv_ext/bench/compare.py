"""Two runs of the benchmark, case by case: what became slower, beyond its noise."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import BenchError
from .candidates import CANDIDATES, OP
from .report import FORMAT, Record, table

# What two runs must share for their times to be comparable, where in the JSON it stands.
MUST_AGREE = (
    ("environment", "device_name"), ("environment", "threads"), ("settings", "direction"), ("sampler",),
)  # fmt: skip
# A case is another one with another shape or rule.
IDENTITY = ("case", "dtype", "shape", "normalization", "mask_update")
MARKS = {"slower": " slower", "faster": " faster", "unchanged": "", "lost": "lost", "gained": "gained"}


@dataclass(frozen=True)
class Change:
    """Of a candidate in a case, from run A to run B."""

    ratio: float | None  # of the medians, B / A; None: one of the two has no time
    verdict: str  # of MARKS

    def __str__(self) -> str:
        return MARKS[self.verdict] if self.ratio is None else f"{self.ratio:.3f}{MARKS[self.verdict]}"


def change(before: Record, after: Record, threshold: float) -> Change | None:
    """None where neither was timed. Quartiles that overlap are noise, whatever the medians."""
    timed = before["status"] == "ok", after["status"] == "ok"
    if not all(timed):
        return None if not any(timed) else Change(None, "lost" if timed[0] else "gained")
    ratio = after["median_us"] / before["median_us"]
    (low_before, high_before), (low_after, high_after) = before["quartiles_us"], after["quartiles_us"]
    if low_after > high_before and ratio > 1 + threshold:
        return Change(ratio, "slower")
    if high_after < low_before and ratio < 1 / (1 + threshold):
        return Change(ratio, "faster")
    return Change(ratio, "unchanged")


def read(path: Path) -> dict[str, Any]:
    try:
        figures = json.loads(path.read_text())
    except OSError as error:
        raise BenchError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # of JSON and of the encoding
        raise BenchError(f"{path}: not JSON: {error}") from error
    if not isinstance(figures, dict) or figures.get("format") != FORMAT:
        found = figures.get("format") if isinstance(figures, dict) else None
        raise BenchError(f"{path}: needs a file of `maskconv-ext bench --out` in format {FORMAT}, got format {found}")
    if not figures.get("cases"):
        raise BenchError(f"{path}: the run has no finished case")
    if not _is_whole(figures):
        raise BenchError(f"{path}: not a whole record of a run")
    return figures


def _is_whole(figures: dict[str, Any]) -> bool:
    """Whether all is there that is looked at below."""
    cases = figures["cases"]
    return (
        all(isinstance(figures.get(name), dict) for name in ("environment", "settings"))
        and isinstance(cases, list)
        and all(isinstance(record, dict) and {*IDENTITY, "candidates"} <= record.keys() for record in cases)
        and all(isinstance(record[name], str | int | float) for record in cases for name in IDENTITY)
        and all(isinstance(record["candidates"], dict) for record in cases)
        and all(_is_candidate(candidate) for record in cases for candidate in record["candidates"].values())
    )


def _is_candidate(candidate: Any) -> bool:
    if not isinstance(candidate, dict) or "status" not in candidate:
        return False
    if candidate["status"] != "ok":
        return True
    quartiles = candidate.get("quartiles_us")
    times = [candidate.get("median_us"), *(quartiles if isinstance(quartiles, list) else [])]
    return len(times) == 3 and all(isinstance(time, int | float) and time > 0 for time in times)


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Why the two runs should not be compared; empty if they may be."""
    found = []
    for place in MUST_AGREE:
        values = [_at(figures, place) for figures in (a, b)]
        if values[0] != values[1]:
            found.append(f"{place[-1]}: {values[0]} and {values[1]}")
    only = [
        sorted(" ".join(map(str, key[:2])) for key in keys) for keys in (_cases(a) - _cases(b), _cases(b) - _cases(a))
    ]
    for name, cases in zip("AB", only):
        if cases:
            more = f" and {len(cases) - 3} more" if len(cases) > 3 else ""
            found.append(f"only {name} has {', '.join(cases[:3])}{more}")
    return found


def _at(figures: dict[str, Any], place: tuple[str, ...]) -> Any:
    found: Any = figures
    for key in place:
        found = found.get(key)
    return found


def _key(record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in IDENTITY)


def _cases(figures: dict[str, Any]) -> set[tuple[Any, ...]]:
    return {_key(record) for record in figures["cases"]}


def compare(a: Path, b: Path, threshold: float, force: bool) -> tuple[list[str], bool]:
    """The lines to print, and whether this op became slower anywhere. Other candidates show what the machine did."""
    before, after = read(a), read(b)
    unlike = differences(before, after)
    if unlike and not force:
        raise BenchError(f"{a} and {b} differ in {'; '.join(unlike)} (--force compares what they share)")
    old = {_key(record): record for record in before["cases"]}
    pairs = [(old[_key(record)], record) for record in after["cases"] if _key(record) in old]
    if not pairs:
        raise BenchError(f"{a} and {b} have no case in common")
    changes = [
        {
            name: change(one["candidates"][name], other["candidates"][name], threshold)
            for name in CANDIDATES
            if name in one["candidates"] and name in other["candidates"]
        }
        for one, other in pairs
    ]
    names = [name for name in CANDIDATES if any(of_case.get(name) for of_case in changes)]
    rows = []
    for (one, other), of_case in zip(pairs, changes):
        medians = [f"{r['candidates'][OP]['median_us']:.1f}" if _has_time(r) else "-" for r in (one, other)]
        cells = [str(of_case.get(name) or "-") for name in names]
        rows.append((one["case"], one["dtype"], *medians, *cells))
    means = ("geometric mean", "", "", "", *(_mean([of_case.get(name) for of_case in changes]) for name in names))
    text = [f"differ in {reason}" for reason in unlike]
    for name, figures in (("A", before), ("B", after)):
        finished = len(figures["cases"])
        planned = figures.get("planned", finished)
        text += [f"{name} was stopped after {finished} of {planned} cases"] if finished != planned else []
    text += [f"medians of B over A; slower and faster: by more than {threshold:.0%}, and quartiles apart"]
    text += table(("case", "dtype", f"{OP} A µs", f"{OP} B µs", *names), [*rows, means], keys=2)
    worse = [one["case"] for (one, _), of_case in zip(pairs, changes) if _is_worse(of_case.get(OP))]
    text.append(f"{OP}: slower in {len(worse)} of {len(pairs)} cases" + (f": {', '.join(worse)}" if worse else ""))
    return text, bool(worse)


def _is_worse(change: Change | None) -> bool:
    return change is not None and change.verdict in ("slower", "lost")


def _has_time(record: Record) -> bool:
    return record["candidates"].get(OP, {}).get("status") == "ok"


def _mean(changes: list[Change | None]) -> str:
    ratios = [c.ratio for c in changes if c is not None and c.ratio is not None]
    return f"{statistics.geometric_mean(ratios):.3f}" if ratios else "-"
