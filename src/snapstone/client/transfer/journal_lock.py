"""The lock of a journal: a file beside it, locked while the journal is open, that has the process id of its holder."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self

from snapstone.client.errors import UsageError
from snapstone.client.transfer.folders import FILE_MODE

LOCK_SECONDS: Final = 1.0
"""How long the lock is tried for: whoever only looks, as `doctor` does, is gone much sooner."""

LOCK_PAUSE_SECONDS: Final = 0.02

_HOLDER_SIZE: Final = 32
"""Bytes in which the process id fits."""


class JournalLock:
    """A lock that is held. Let go by `release`, and by the end of the process, whatever that is."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Use `take` or `try_take`."""
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> Self:
        """Take the lock. Raises UsageError, naming the holder, where it is held for longer than a look takes."""
        give_up_at = time.monotonic() + LOCK_SECONDS
        while (lock := cls.try_take(path)) is None:
            if time.monotonic() >= give_up_at:
                raise UsageError(f"{holder_of(path)} is at work on the same transfer. Wait for its end, or end it")
            time.sleep(LOCK_PAUSE_SECONDS)
        return lock

    @classmethod
    def try_take(cls, path: Path) -> Self | None:
        """Take the lock, or None where it is held."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            if not _lock(path, descriptor):
                os.close(descriptor)
                return None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def release(self, *, remove: bool) -> None:
        """Let go, and remove the file where its journal is removed too; a second time does nothing."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            if remove:
                self._path.unlink(missing_ok=True)
            else:
                os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)


def holder_of(path: Path) -> str:
    """Who holds a lock, in words."""
    try:
        with path.open("rb") as file:
            text = file.read(_HOLDER_SIZE).decode("ascii", "replace").strip()
    except (FileNotFoundError, PermissionError):
        text = ""
    if not text.isdecimal():
        return "Another process"
    return "Another part of this process" if int(text) == os.getpid() else f"Process {text}"


def _lock(path: Path, descriptor: int) -> bool:
    """Whether we have it now: its last holder may have removed the file while we were opening it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        there, ours = path.stat(), os.fstat(descriptor)
    except (BlockingIOError, FileNotFoundError):
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
