"""Jobs and what comes of them: how much was tried, what was wrong with it, and the table of both."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Final, Protocol

from tests.faults.verdict import Fault, Verdict

IN_MEMORY: Final = Path("/dev/shm")
LEAST_MEMORY: Final = 4 << 30
"""Bytes free in memory, for folders to be made there; elsewhere a disk does."""

LINES: Final = 40
"""Failures that are printed in the end; each job prints its first one."""

LINES_OF_A_TRY: Final = 2
LENGTH: Final = 3_000
"""Characters of a failure."""


@dataclass
class Tally:
    """One row of the table."""

    row: str
    tried: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    outcomes: Counter[str] = field(default_factory=Counter)
    """What became of what was tried, where it may be one of several things."""
    failures: list[str] = field(default_factory=list)
    """What was wrong, with the command that repeats it; of one try, the first few faults."""

    def merge(self, other: Tally) -> None:
        """Take another's in."""
        self.tried += other.tried
        self.verdict.merge(other.verdict)
        self.outcomes += other.outcomes
        self.failures += other.failures

    def count(self, fault: Fault) -> int:
        """How often a fault was found."""
        return self.verdict.count(fault)

    def note(self, found: Verdict, repeat: str) -> None:
        """Take in what was found in one try; `repeat` is the command that tries it again."""
        self.verdict.merge(found)
        for fault, what in found.faults[:LINES_OF_A_TRY]:
            self.failures.append(f"{fault.value}: {what[:LENGTH]}\n    again: {repeat}")


class Job(Protocol):
    """A share of a part's work, for one process."""

    def run(self) -> list[Tally]:
        """Do it."""


def run_job(job: Job, deadline: float) -> list[Tally]:
    """For a pool of processes: nothing if it is past the deadline, in seconds since the epoch."""
    return job.run() if time() < deadline else []


def gather(tallies: Iterable[Tally]) -> list[Tally]:
    """One for each row."""
    rows: dict[str, Tally] = {}
    for tally in tallies:
        rows.setdefault(tally.row, Tally(tally.row)).merge(tally)
    return list(rows.values())


def table(tallies: Iterable[Tally]) -> str:
    """As docs/durability.md has it."""
    head = ["what", "tried", "looked up", *(fault.value for fault in Fault)]
    rows = [
        [
            tally.row,
            _counts(tally.tried, tally.outcomes),
            ", ".join(f"{count:,} {what}" for what, count in sorted(tally.verdict.looked_up.items())),
            *(str(tally.count(fault)) for fault in Fault),
        ]
        for tally in tallies
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _counts(tried: int, outcomes: Counter[str]) -> str:
    return f"{tried:,}" + "".join(f"; {count:,} {what}" for what, count in sorted(outcomes.items()))


@contextmanager
def scratch(name: str, *, in_memory: bool = True) -> Iterator[Path]:
    """A folder that is gone afterwards; in memory where there is room."""
    base: Path | None = None
    if in_memory and IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > LEAST_MEMORY:
        base = IN_MEMORY
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix=f"snapstone-{name}-", dir=base)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def command(part: str, seed: int, more: str = "") -> str:
    """What repeats one job."""
    return f'make soak ARGS="--part {part} --only {seed}{more}"'
