"""An observer that keeps what it is told."""

from __future__ import annotations

from snapstone.client.events import Note, NullObserver


class Notes(NullObserver):
    """Keeps all notes, in order."""

    def __init__(self) -> None:
        self.list: list[Note] = []

    def note(self, note: Note) -> None:
        self.list.append(note)
