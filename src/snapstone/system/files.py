"""Files that survive a loss of power, and the rule about a sync that fails: it is final.

The kernel reports what it could not write to the first sync that asks, once, and forgets it: the pages count as clean,
so the next sync succeeds, and reads give what was written for as long as it stays in memory. So after a failed sync
neither a later sync nor reading it back proves anything. What was written before it is written again, or given up.

Names cannot be written again. But a file system that could not put a name on the disk (its journal failed) stops, and
every later sync in it fails too; so a folder may be synced once more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class Syncer:
    """Syncs one open file, until that fails once: from then on it fails, whatever the kernel would say."""

    def __init__(self) -> None:
        self._failure: tuple[int | None, str | None] | None = None

    def sync(self, descriptor: int, call: Callable[[int], None] | None = None) -> None:
        """`os.fsync`, or `call`. Raises OSError."""
        if self._failure is not None:
            raise OSError(*self._failure)
        try:
            (call or os.fsync)(descriptor)
        except OSError as error:
            self._failure = error.errno, error.strerror
            raise


def sync_file(path: Path) -> None:
    """Make a file that somebody else has written durable. Raises OSError."""
    _sync(path, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder durable. Raises OSError."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
