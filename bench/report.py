"""Lines of the benchmark's table: what was reached, what was wanted, and what the peer reached in the same run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from bench.machine import Machine

HEADINGS = ("measure", "target", "reached", "peer", "ratio", "met?")


@dataclass(frozen=True, slots=True)
class Bound:
    """At least, or at most, a value."""

    kind: Literal["≥", "≤", "<"]
    value: float

    def holds(self, value: float) -> bool:
        """Whether `value` keeps to the bound."""
        if self.kind == "≥":
            return value >= self.value
        return value < self.value if self.kind == "<" else value <= self.value

    def __str__(self) -> str:
        return f"{self.kind} {_number(self.value)}"


@dataclass(frozen=True, slots=True)
class Line:
    """One measure of one run: every repeat's value, the median standing for it."""

    name: str
    unit: str
    values: Sequence[float]
    target: Bound | None = None
    peer: str | None = None
    peer_values: Sequence[float] = ()
    ratio_target: Bound | None = None
    """For the median of `values` divided by the peer's."""
    details: dict[str, object] = field(default_factory=dict)
    """Raw values beside the line: for the JSON file only."""

    @property
    def reached(self) -> float:
        """The median of the repeats."""
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """Reached divided by what the peer reached."""
        return self.reached / statistics.median(self.peer_values) if self.peer_values else None

    @property
    def met(self) -> bool | None:
        """Whether all its bounds hold; None if it has none that was measured."""
        held = []
        if self.target is not None:
            held.append(self.target.holds(self.reached))
        if self.ratio_target is not None and self.ratio is not None:
            held.append(self.ratio_target.holds(self.ratio))
        return all(held) if held else None

    def cells(self) -> tuple[str, ...]:
        """The line as the table shows it."""
        target = [f"{self.target} {self.unit}"] if self.target else []
        target += [f"ratio {self.ratio_target}"] if self.ratio_target else []
        peer = f"{self.peer}: {_spread(self.peer_values)}" if self.peer_values else ""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        met = {True: "yes", False: "MISSED", None: ""}[self.met]
        return self.name, ", ".join(target), f"{_spread(self.values)} {self.unit}", peer, ratio, met


def table(lines: Sequence[Line]) -> str:
    """All lines under the headings, columns aligned."""
    rows = [HEADINGS, *(line.cells() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def write_json(path: Path, machine: Machine, lines: Sequence[Line], foreign_shares: Mapping[str, float]) -> None:
    """Everything that was measured, each repeat by itself."""
    measured = [{**asdict(line), "reached": line.reached, "ratio": line.ratio, "met": line.met} for line in lines]
    document = {"machine": asdict(machine), "foreign_shares": dict(foreign_shares), "measures": measured}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _number(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _spread(values: Sequence[float]) -> str:
    median = _number(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({_number(min(values))} to {_number(max(values))})"
