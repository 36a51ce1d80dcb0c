"""The part of the catalog's contract about time: what the clocks said last, and how long servers have run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from snapstone.core.clock_trust import Trust


@dataclass(frozen=True, slots=True)
class ClockRow:
    """The time state that all processes on a catalog share.

    *Running time* counts, in milliseconds, while a server runs on the catalog, and stands still otherwise. It begins at
    the wall time of the first start, and nothing that happens to the wall clock afterwards changes it. Time-outs of
    pending snapshots and leases are measured in it.
    """

    trust: Trust | None
    """None before the first start."""
    running_ms: int | None
    """Running time when it was last noted; None before the first start."""
    due_running_ms: int | None
    """As `running_ms`, when the wall clock was trusted last: what was due by then is due."""
    run_offset_ms: int
    """Of the present run: running time is the machine's monotonic clock plus this."""


class ClockCatalog(Protocol):
    """One row, durable when a call returns."""

    def clock(self) -> ClockRow:
        """The row."""

    def change_clock(self, change: Callable[[ClockRow], ClockRow]) -> ClockRow:
        """Put another row in its place; `change` runs inside the transaction. Returns what it returned."""

    def renew_deadlines(self, running_ms: int) -> None:
        """Restart the time-out of every pending snapshot at `running_ms`."""
