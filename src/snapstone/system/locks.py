"""Locks among processes: flock(2), which dies with its holder, whatever becomes of it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Final

LOOK_SECONDS: Final = 1.0
"""How long to try for a lock that another process may hold just to look, as `doctor` does."""

PAUSE_SECONDS: Final = 0.02


def lock(descriptor: int) -> None:
    """Lock an open file or folder for this process alone, after waiting for it. Raises OSError."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file or folder, `shared` with others who share; False if somebody else has it. Raises OSError."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Unlock an open file; closing its last descriptor does so too. Raises OSError."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def attempts(seconds: float, pause_seconds: float = PAUSE_SECONDS) -> Iterator[None]:
    """Yield once for each attempt to take a lock: at once, then after each pause, until `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while True:
        yield
        if time.monotonic() >= deadline:
            return
        time.sleep(pause_seconds)


class Turn:
    """A turn that threads take one after the other, and processes too, in the order in which they asked.

    Used in a `with` block. A class and not a generator, because it is taken twice for each put.
    """

    __slots__ = ("_descriptor", "_is_held", "_taken_count", "_threads")

    def __init__(self, path: Path) -> None:
        """Opens the lock file, which is made if it does not exist. Raises OSError."""
        self._threads = Lock()  # A lock of the file is one for all who share its descriptor.
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._taken_count = 0
        self._is_held = False

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if self._descriptor < 0:
                raise ValueError("the turn is closed")
            lock(self._descriptor)
        except BaseException:
            self._threads.release()
            raise
        self._taken_count += 1
        self._is_held = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_held = False
        try:
            unlock(self._descriptor)
        finally:
            self._threads.release()

    @property
    def number(self) -> int | None:
        """The number of the turn that this process has now, None if it has none: one that stays is one that hangs."""
        return self._taken_count if self._is_held else None

    @property
    def is_awaited(self) -> bool:
        """Whether this process waits for its turn: another process has it."""
        return self._threads.locked() and not self._is_held

    def close(self) -> None:
        """Close the lock file, after waiting for the thread that has the turn. Whoever asks later: ValueError."""
        with self._threads:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)
