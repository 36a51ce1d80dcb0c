"""Progress of long operations: a tally that can be read at any time, and notes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Note:
    """Something worth a line: `kind` is one word for programs (`plan`, `started`, `resumed`, `warning`, ...)."""

    kind: str
    message: str
    """For people: one line."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """For programs: JSON values."""


class Tally:
    """Counters of one piece of work, added to from many threads."""

    def __init__(self, what: str) -> None:
        self.what = what
        """One word: `upload`, `download`, `copy`, `verify`."""
        self.expected_count: int | None = None
        """Total blocks to visit; None if unknown."""
        self.visited_count = 0
        """Blocks processed, moved or skipped."""
        self.moved_count = 0
        """Blocks sent or received."""
        self.zero_count = 0
        """Blocks skipped because they are zero on both sides."""
        self.unchanged_count = 0
        """Blocks skipped because the other side has the same bytes."""
        self.resumed_count = 0
        """Blocks skipped because an earlier run moved them."""
        self._lock = threading.Lock()

    def add(self, *, moved: int = 0, zero: int = 0, unchanged: int = 0, resumed: int = 0) -> None:
        """Count processed blocks."""
        with self._lock:
            self.moved_count += moved
            self.zero_count += zero
            self.unchanged_count += unchanged
            self.resumed_count += resumed
            self.visited_count += moved + zero + unchanged + resumed


class Observer(Protocol):
    """Receives progress. Called from the caller's thread and from workers: must be fast and thread-safe."""

    def begin(self, tally: Tally) -> None:
        """Work begins; `tally` counts until `end`."""
        ...

    def note(self, note: Note) -> None:
        """Something worth a line happened."""
        ...

    def end(self, tally: Tally) -> None:
        """Work ended, successfully or not."""
        ...


class NullObserver:
    """An observer that does nothing."""

    def begin(self, tally: Tally) -> None:
        """Nothing."""

    def note(self, note: Note) -> None:
        """Nothing."""

    def end(self, tally: Tally) -> None:
        """Nothing."""
