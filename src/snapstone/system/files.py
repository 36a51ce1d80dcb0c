"""Files that survive a loss of power, and the rule about a sync that fails: it is final. Descriptors that are closed.

The kernel reports what it could not write to the first sync that asks, once, and forgets it: the pages count as clean,
so the next sync succeeds, and reads give what was written for as long as it stays in memory. So after a failed sync
neither a later sync nor reading it back proves anything. What was written before it is written again, or given up.

Names cannot be written again. But a file system that could not put a name on the disk (its journal failed) stops, and
every later sync in it fails too; so a folder may be synced again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


class Syncer:
    """Syncs one open file, until that fails once: from then on it fails, whatever the kernel returns."""

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
    with opened(path, flags) as descriptor:
        os.fsync(descriptor)


@contextmanager
def opened(path: str | Path, flags: int) -> Iterator[int]:
    """A descriptor that child processes do not inherit, closed at the end of the block. Raises OSError."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def opened_folder(path: str | Path) -> AbstractContextManager[int]:
    """A descriptor of a folder, closed at the end of the block. Raises OSError."""
    return opened(path, os.O_RDONLY | os.O_DIRECTORY)


def write_new(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, durably but for its name. Raises OSError."""
    with opened(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as descriptor:
        if os.pwrite(descriptor, content, 0) != len(content):
            raise OSError(errno.EIO, "a short write", str(path))
        os.fsync(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file by one of mode 0600, durably and atomically: readers find the old content or the new."""
    draft = path.with_name(f".{path.name}.new")
    write_new(draft, content)
    draft.rename(path)
    sync_folder(path.parent)


def is_at(path: str | Path, descriptor: int, *, follow: bool = False) -> bool:
    """Whether the open file is the one at a path; `follow`: also if the path is a symbolic link to it."""
    try:
        there = os.stat(path, follow_symlinks=follow)
    except OSError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))
