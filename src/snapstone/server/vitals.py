"""What must make progress in a serving process, and what does not: looked at once a second by a thread of its own.

Each vital is a question whose answer changes with every step of progress, and is None while there is nothing to do. An
answer that has stayed the same for a stated number of looks means that its subject hangs. Looks are counted, not
seconds: a process that was stopped, suspended or starved looks less often as well, and is not taken for one that hangs.

Only who holds a lock that others need is found by its vital, never who waits for it: a vital says None while it waits.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from snapstone.server.process_state import ProcessState, look_at

STACK_DEPTH: Final = 12
"""Innermost calls of each thread that a report of a hang shows."""

STACKS_LIMIT: Final = 24_000
"""Characters of all of them."""


@dataclass(slots=True)
class _Vital:
    name: str
    progress: Callable[[], object | None]
    look_limit: int
    seen: object | None = None
    looks: int = 0
    """How many looks ago the answer became what it is."""


@dataclass(slots=True)
class Vitals:
    """For the thread that looks; what is asked must not wait for anything."""

    process_state: Callable[[], ProcessState] = look_at
    _vitals: list[_Vital] = field(default_factory=list)

    def watch(self, name: str, progress: Callable[[], object | None], look_limit: int) -> None:
        """From now on: `progress()` must give another answer, or None, at least once in `look_limit` looks."""
        self._vitals.append(_Vital(name, progress, look_limit))

    def look(self) -> str | None:
        """What hangs, or None. What waits for a disk does not: another process would wait for it too."""
        overdue = None
        for vital in self._vitals:
            answer = vital.progress()
            if answer is None or answer != vital.seen:
                vital.seen, vital.looks = answer, 0
                continue
            vital.looks += 1
            if vital.looks >= vital.look_limit:
                overdue = vital
        if overdue is None or self.process_state().waits_for_disk:
            return None
        return f"{overdue.name} has made no progress in {overdue.look_limit} seconds"


def stacks() -> str:
    """Where each thread of this process is, for the log."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for identity, frame in sys._current_frames().items():
        calls = traceback.extract_stack(frame)[-STACK_DEPTH:]
        lines = [f"  {call.filename}:{call.lineno} {call.name}" for call in calls]
        parts.append("\n".join([names.get(identity, "?"), *lines]))
    return "\n".join(parts)[:STACKS_LIMIT]
