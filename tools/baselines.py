"""Counts that are committed, and what differs from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks" / "baselines"
Counts = Mapping[str, Mapping[str, int]]  # by name, by counter


def load(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text())


def save(name: str, reason: str, counts: Counts, folder: Path = FOLDER, **more: Any) -> None:
    """`reason` says why the counts are what they are now; git has the reasons before."""
    text = json.dumps({"reason": reason, **more, "counts": counts}, indent=1)
    (folder / f"{name}.json").write_text(text + "\n")


def differences(expected: Counts, found: Counts, tolerance: Mapping[str, float]) -> list[str]:
    """A line for each count that is off by more than its tolerance, a share; 0 for counters it does not name.

    Fewer is a difference too: a baseline that is not followed downwards lets the way back up pass.
    """
    lines = [f"{name}: not in the baseline" for name in found if name not in expected]
    for name, of_name in expected.items():
        if name not in found:
            lines.append(f"{name}: in the baseline, and not counted any more")
            continue
        for counter in {**of_name, **found[name]}:
            before, now = of_name.get(counter), found[name].get(counter)
            if before is None or now is None:
                lines.append(f"{name}: {counter}: {before} in the baseline, {now} now")
            elif abs(now - before) > tolerance.get(counter, 0.0) * before:
                change = f"{now / before - 1:+.2%}" if before else "none before"
                lines.append(f"{name}: {counter}: {now}, was {before} ({change})")
    return lines
