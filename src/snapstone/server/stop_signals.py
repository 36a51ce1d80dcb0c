"""The signals that a process waits for in its main thread: to stop, and, where it has children, that one has ended."""

from __future__ import annotations

import os
import select
import signal
from typing import Final

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
        """Wait for a signal, a child's end included, for so long at most; True once the process was asked to stop."""
        if self._asked:
            return True
        if select.select([self._read], [], [], seconds)[0]:
            self._asked = not _STOPPING.isdisjoint(os.read(self._read, READ_SIZE))
        if self._asked:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        return self._asked


def _leave_to_pipe(number: int, frame: object) -> None:
    """The pipe has the number already."""
