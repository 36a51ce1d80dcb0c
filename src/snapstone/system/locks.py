"""Turns among processes: one holder at a time of a lock of the operating system, which dies with its holder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType


class Turn:
    """A turn that processes take one after the other, in the order in which they asked; used in a `with` block.

    Within a process only one thread may take it at a time: its users hold a lock of their own around it. A class and
    not a generator, because it is taken twice for each put.
    """

    __slots__ = ("_descriptor", "_is_held", "_taken_count")

    def __init__(self, path: Path) -> None:
        """Opens the lock file, which is made if it is not there. Raises OSError."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._taken_count = 0
        self._is_held = False

    def __enter__(self) -> None:
        if self._descriptor < 0:
            raise ValueError("the turn is closed")
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self._taken_count += 1
        self._is_held = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_held = False
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @property
    def number(self) -> int | None:
        """The number of the turn that this process has now, None if it has none: one that stays is one that hangs."""
        return self._taken_count if self._is_held else None

    def close(self) -> None:
        """Close the lock file; not while the turn is held."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
