"""Transfer rates and remaining time, and their display on standard error if it is not a terminal."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from snapstone.cli.quantities import binary, counted, elapsed
from snapstone.cli.tables import one_line
from snapstone.core.blocks import BLOCK_SIZE

if TYPE_CHECKING:
    from snapstone.client.events import Note, Tally

WINDOW_SECONDS: Final = 10.0
"""Rates are averages over this window."""
MAX_SAMPLE_COUNT: Final = 128

_MOVED: Final = {"upload": "sent", "download": "received", "copy": "copied", "verify": "read"}


@dataclass(frozen=True)
class ProgressView:
    """A tally at one moment."""

    what: str
    seconds: float
    visited_count: int
    expected_count: int | None
    moved_count: int
    zero_count: int
    unchanged_count: int
    resumed_count: int
    bytes_per_second: float
    """Recent rate of moved bytes."""
    blocks_per_second: float
    """Recent rate of visited blocks, moved or skipped."""

    @property
    def eta_seconds(self) -> float | None:
        """Seconds that the rest takes at the present rate; None if nobody can know."""
        if self.expected_count is None or self.blocks_per_second <= 0:
            return None
        return max(self.expected_count - self.visited_count, 0) / self.blocks_per_second

    @property
    def skipped(self) -> str:
        """`1,024 zero, 300 unchanged`; empty if nothing was skipped."""
        counts = (("zero", self.zero_count), ("unchanged", self.unchanged_count), ("resumed", self.resumed_count))
        return ", ".join(f"{count:,} {name}" for name, count in counts if count)

    @property
    def blocks(self) -> str:
        """`2,512/4,096 blocks`."""
        whole = "" if self.expected_count is None else f"/{self.expected_count:,}"
        return f"{self.visited_count:,}{whole} blocks"


class Meter:
    """Samples a tally and computes its rates. `look` is called from one thread at a time."""

    def __init__(self, tally: Tally, clock: Callable[[], float] = time.monotonic) -> None:
        self.tally = tally
        self._clock = clock
        self._began = clock()
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=MAX_SAMPLE_COUNT)
        self._samples.append((self._began, tally.visited_count, tally.moved_count))

    def look(self) -> ProgressView:
        """The tally now, with the rates since the oldest sample of the window."""
        tally, now = self.tally, self._clock()
        visited, moved = tally.visited_count, tally.moved_count
        while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()
        since, visited_then, moved_then = self._samples[0]
        if now - self._samples[-1][0] >= WINDOW_SECONDS / MAX_SAMPLE_COUNT:
            self._samples.append((now, visited, moved))
        span = now - since
        return ProgressView(
            what=tally.what,
            seconds=now - self._began,
            visited_count=visited,
            expected_count=tally.expected_count,
            moved_count=moved,
            zero_count=tally.zero_count,
            unchanged_count=tally.unchanged_count,
            resumed_count=tally.resumed_count,
            bytes_per_second=(moved - moved_then) * BLOCK_SIZE / span if span > 0 else 0.0,
            blocks_per_second=(visited - visited_then) / span if span > 0 else 0.0,
        )


def line_of(look: ProgressView) -> str:
    """One line of progress: `upload 61%: 2,512/4,096 blocks, 412.3 MiB/s, 0:12 left; skipped 1,024 zero`."""
    share = ""
    if look.expected_count:
        share = f" {min(look.visited_count * 100 // look.expected_count, 100)}%"
    left = "" if look.eta_seconds is None else f", {elapsed(look.eta_seconds)} left"
    skipped = f"; skipped {look.skipped}" if look.skipped else ""
    return f"{look.what}{share}: {look.blocks}, {binary(look.bytes_per_second)}/s{left}{skipped}"


def summary_of(look: ProgressView) -> str:
    """A summary: `upload: 4,096 blocks in 2.1 s, 2,048 sent (1.0 GiB, 487.6 MiB/s), 2,048 zero`."""
    unfinished = look.expected_count is not None and look.visited_count < look.expected_count
    of_whole = f" of {look.expected_count:,}" if unfinished else ""
    size = look.moved_count * BLOCK_SIZE
    rate = f", {binary(size / look.seconds)}/s" if look.seconds > 0 and size else ""
    skipped = f", {look.skipped}" if look.skipped else ""
    visited = f"{look.visited_count:,}{of_whole} blocks" if of_whole else counted(look.visited_count, "block")
    return (
        f"{look.what}: {visited} in {elapsed(look.seconds)}, "
        f"{look.moved_count:,} {_MOVED.get(look.what, 'moved')} ({binary(size)}{rate}){skipped}"
    )


PLAIN_SECONDS: Final = 10.0
JSON_SECONDS: Final = 1.0
UNFINISHED: Final = "unfinished"
"""Kind of the note that describes what is left after a failure, and how to resume."""


class Display(Protocol):
    """Shows progress and notes. Calls come one at a time; write errors are ignored, so that they never end the work."""

    interval: float | None
    """Seconds between two `progress`; None if none is wanted."""

    def begin(self, look: ProgressView) -> None:
        """Work began."""
        ...

    def progress(self, looks: Sequence[ProgressView]) -> None:
        """All current work."""
        ...

    def asked(self, looks: Sequence[ProgressView]) -> None:
        """The same at once, in response to SIGUSR1."""
        ...

    def note(self, note: Note) -> None:
        """Something worth a line."""
        ...

    def end(self, look: ProgressView) -> None:
        """Work has ended."""
        ...


def write_line(line: str) -> None:
    """A line on standard error; if nobody can read it, nobody needs it."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def line_of_note(note: Note) -> str:
    """A human-readable note."""
    return one_line(f"warning: {note.message}" if note.kind == "warning" else note.message)


class Plain:
    """Lines for a log: notes, and progress every few seconds."""

    interval: float | None = PLAIN_SECONDS

    def begin(self, look: ProgressView) -> None:
        """Nothing: the plan was a note."""

    def progress(self, looks: Sequence[ProgressView]) -> None:
        """A line for each piece of work."""
        for look in looks:
            write_line(line_of(look))

    def asked(self, looks: Sequence[ProgressView]) -> None:
        """A line for each piece of work, or one if there is none."""
        self.progress(looks)
        if not looks:
            write_line("no transfer in progress")

    def note(self, note: Note) -> None:
        """A line."""
        write_line(line_of_note(note))

    def end(self, look: ProgressView) -> None:
        """The summary."""
        write_line(summary_of(look))


class Quiet(Plain):
    """Only progress requested by signal, and how to resume if the command fails."""

    interval: float | None = None

    def note(self, note: Note) -> None:
        """A note that goes with an error."""
        if note.kind == UNFINISHED:
            super().note(note)

    def end(self, look: ProgressView) -> None:
        """Nothing."""


class JsonLines:
    """One JSON object a line, for programs."""

    interval: float | None = JSON_SECONDS

    def begin(self, look: ProgressView) -> None:
        """An event."""
        write_event("begin", facts_of(look))

    def progress(self, looks: Sequence[ProgressView]) -> None:
        """An event for each piece of work."""
        for look in looks:
            write_event("progress", facts_of(look))

    def asked(self, looks: Sequence[ProgressView]) -> None:
        """An event at once, also if there is no work."""
        self.progress(looks)
        if not looks:
            write_event("idle", {})

    def note(self, note: Note) -> None:
        """An event of the note's kind."""
        write_event(note.kind, {"message": note.message, **note.facts})

    def end(self, look: ProgressView) -> None:
        """An event."""
        write_event("end", facts_of(look))


def write_event(kind: str, facts: Mapping[str, object]) -> None:
    """An event as a line of JSON on standard error."""
    write_line(json.dumps({"event": kind, **facts}, default=str))


def facts_of(look: ProgressView) -> dict[str, object]:
    """A view as JSON values."""
    eta = look.eta_seconds
    return {
        "what": look.what,
        "seconds": round(look.seconds, 3),
        "visited_count": look.visited_count,
        "expected_count": look.expected_count,
        "moved_count": look.moved_count,
        "zero_count": look.zero_count,
        "unchanged_count": look.unchanged_count,
        "resumed_count": look.resumed_count,
        "bytes_per_second": round(look.bytes_per_second),
        "eta_seconds": None if eta is None else round(eta, 1),
    }
