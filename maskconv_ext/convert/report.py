"""What became of each layer of a converted model."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A layer, or an operation in a forward, that has a masked form."""

    name: str  # path of the layer; of an operation: the path of the module whose forward has it, and its name
    before: str
    after: str


@dataclasses.dataclass(frozen=True)
class Problem:
    """A layer or operation that has none."""

    name: str
    type: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.type}): {self.reason}"


@dataclasses.dataclass
class ConversionReport:
    """What `convert` did: print it for the table.

    converted: layers and operations that carry the mask.
    leaves: where features leave the world of masks: from there on they are plain tensors, with 0 in the holes.
    problems: what has no masked form, and why; with strict=False, what stayed plain.
    outputs: for each output whether it comes as a pair (y, mask).
    """

    converted: list[Conversion] = dataclasses.field(default_factory=list)
    leaves: list[str] = dataclasses.field(default_factory=list)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    outputs: list[bool] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        rows = [("name", "before", "after"), *((c.name, c.before, c.after) for c in self.converted)]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        rows.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        lines += [f"plain tensors from here on: {leaf}" for leaf in self.leaves]
        lines += [f"stays plain: {problem}" for problem in self.problems]
        return "\n".join(lines)


class ConversionError(ValueError):
    """Some layers have no masked form; the message names each, `report` has them all."""

    def __init__(self, message: str, report: ConversionReport) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[ConversionError], tuple[str, ConversionReport]]:
        return type(self), (str(self), self.report)


class Unconvertible(Exception):
    """Raised by a rule, with the reason."""
