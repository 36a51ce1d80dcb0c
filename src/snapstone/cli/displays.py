"""Ways to show on standard error how work goes, where that is no terminal: plain lines, JSON lines, or nothing."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from snapstone.cli.meter import Look, line_of, summary_of
from snapstone.cli.tables import one_line

if TYPE_CHECKING:
    from snapstone.client.events import Note

PLAIN_SECONDS: Final = 10.0
JSON_SECONDS: Final = 1.0
UNFINISHED: Final = "unfinished"
"""Kind of the note that says what is left, and how to go on, after a failure."""


class Display(Protocol):
    """Shows looks and notes. Calls come one at a time; what cannot be written is let go, it must not end the work."""

    interval: float | None
    """Seconds between two `progress`; None where none is wanted."""

    def begin(self, look: Look) -> None:
        """Work began."""
        ...

    def progress(self, looks: Sequence[Look]) -> None:
        """All the work that is going on."""
        ...

    def asked(self, looks: Sequence[Look]) -> None:
        """The same, in a line at once, because somebody sent SIGUSR1."""
        ...

    def note(self, note: Note) -> None:
        """Something worth a line."""
        ...

    def end(self, look: Look) -> None:
        """Work is over."""
        ...


def write_line(line: str) -> None:
    """A line on standard error; where nobody can read it, nobody needs it."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def line_of_note(note: Note) -> str:
    """A note for people."""
    return one_line(f"warning: {note.message}" if note.kind == "warning" else note.message)


class Plain:
    """Lines for a log: notes, and progress now and then."""

    interval: float | None = PLAIN_SECONDS

    def begin(self, look: Look) -> None:
        """Nothing: the plan was a note."""

    def progress(self, looks: Sequence[Look]) -> None:
        """A line for each piece of work."""
        for look in looks:
            write_line(line_of(look))

    def asked(self, looks: Sequence[Look]) -> None:
        """A line for each piece of work, or one that says that there is none."""
        self.progress(looks)
        if not looks:
            write_line("no blocks are being moved now")

    def note(self, note: Note) -> None:
        """The sentence."""
        write_line(line_of_note(note))

    def end(self, look: Look) -> None:
        """What it came to."""
        write_line(summary_of(look))


class Quiet(Plain):
    """Nothing but what is asked for by signal, and how to go on where the command ends with an error."""

    interval: float | None = None

    def note(self, note: Note) -> None:
        """A note that goes with an error."""
        if note.kind == UNFINISHED:
            super().note(note)

    def end(self, look: Look) -> None:
        """Nothing."""


class JsonLines:
    """One JSON object a line, for programs."""

    interval: float | None = JSON_SECONDS

    def begin(self, look: Look) -> None:
        """An event."""
        write_event("begin", facts_of(look))

    def progress(self, looks: Sequence[Look]) -> None:
        """An event for each piece of work."""
        for look in looks:
            write_event("progress", facts_of(look))

    def asked(self, looks: Sequence[Look]) -> None:
        """An event at once, also where there is no work."""
        self.progress(looks)
        if not looks:
            write_event("idle", {})

    def note(self, note: Note) -> None:
        """An event of the note's kind."""
        write_event(note.kind, {"message": note.message, **note.facts})

    def end(self, look: Look) -> None:
        """An event."""
        write_event("end", facts_of(look))


def write_event(kind: str, facts: Mapping[str, object]) -> None:
    """An event as a line of JSON on standard error."""
    write_line(json.dumps({"event": kind, **facts}, default=str))


def facts_of(look: Look) -> dict[str, object]:
    """A look for programs."""
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
