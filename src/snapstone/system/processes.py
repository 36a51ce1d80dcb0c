"""The kernel's facts about a process and its threads, and the signals that a main thread waits for."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STOPPED: Final = "T"
"""By SIGSTOP, or by a terminal."""

WAITING_FOR_DISK: Final = "D"
"""In a system call that no signal ends, SIGKILL included."""

_ACTIVE: Final = frozenset({"R", WAITING_FOR_DISK, "t"})
"""Running or runnable; waiting for a disk; traced by a debugger."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One check of a process."""

    thread_states: frozenset[str]
    """The letters of proc(5), each that a thread is in."""
    processor_ticks: int
    """Processor time that it has used."""

    @property
    def is_stopped(self) -> bool:
        """Whether no thread will do anything until somebody continues the process."""
        return self.thread_states == {STOPPED}

    @property
    def waits_for_disk(self) -> bool:
        """Whether a thread is inside a disk, or whatever else lets no signal through."""
        return WAITING_FOR_DISK in self.thread_states

    def is_active_since(self, earlier: ProcessState | None) -> bool:
        """Whether any thread works, or has worked since an earlier look."""
        if not self.thread_states.isdisjoint(_ACTIVE):
            return True
        return earlier is None or earlier.processor_ticks != self.processor_ticks


def look_at(process_id: int | str = "self") -> ProcessState:
    """The state of a process of this machine; one that is gone has no threads."""
    states: set[str] = set()
    ticks = 0
    folder = Path("/proc") / str(process_id) / "task"
    with suppress(OSError):
        for thread in folder.iterdir():
            with suppress(OSError):  # The thread has ended.
                fields = (thread / "stat").read_text().rpartition(")")[2].split()
                states.add(fields[0])
                ticks += int(fields[11]) + int(fields[12])
    return ProcessState(frozenset(states), ticks)


_STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})

READ_SIZE: Final = 4096


class StopSignals:
    """Catches SIGTERM and SIGINT from its making on; a second Ctrl-C ends the process at once, as by default.

    A pipe carries the signals' numbers (`signal.set_wakeup_fd`), so whichever thread a signal reaches, `wait` sees it.
    """

    def __init__(self) -> None:
        self._read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._asked = False
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (*_STOPPING, signal.SIGCHLD):
            signal.signal(number, _leave_to_pipe)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for a signal, or a child's end, for at most this long; True once the process was asked to stop."""
        if self._asked:
            return True
        if select.select([self._read], [], [], seconds)[0]:
            self._asked = not _STOPPING.isdisjoint(os.read(self._read, READ_SIZE))
        if self._asked:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        return self._asked


def _leave_to_pipe(number: int, frame: object) -> None:
    """The pipe has the number already."""
