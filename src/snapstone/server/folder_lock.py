"""The lock by which at most one server uses a data folder, and by which others see that one does.

Two things are locked, both for as long as the server runs: the folder itself, which nobody can take away from under the
lock, and the file `server.lock` in it, which is what earlier versions lock and look at. Unlike a process id, a lock
cannot outlive its holder. File systems that cannot lock a folder (NFS) have the file alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

LOCK_SECONDS: Final = 1.0
"""How long a starting server tries for the lock: a look at it, as `is_locked` takes, is over much sooner."""

LOCK_PAUSE_SECONDS: Final = 0.02

_NO_LOCKS_ON_FOLDERS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.EISDIR})


class FolderLockedError(Exception):
    """Somebody else holds the lock."""


class FolderLock:
    """The lock of one process, which child processes do not inherit."""

    def __init__(self, folder: Path, lock_file: Path) -> None:
        """Take the lock, making the file where it is missing. Raises FolderLockedError and OSError."""
        deadline = time.monotonic() + LOCK_SECONDS
        with ExitStack() as opened:
            _lock(opened, lambda: os.open(folder, os.O_RDONLY | os.O_DIRECTORY), folder, deadline)
            _lock(opened, lambda: os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600), lock_file, deadline)
            self._opened = opened.pop_all()

    def release(self) -> None:
        """Let others in."""
        self._opened.close()


def is_locked(folder: Path, lock_file: Path) -> bool:
    """Whether a server holds the lock. Raises OSError."""
    return _is_held(folder, os.O_DIRECTORY) or (lock_file.exists() and _is_held(lock_file, 0))


def _lock(opened: ExitStack, open_it: Callable[[], int], path: Path, deadline: float) -> None:
    """Lock what is at a path: a file that is taken away before it is locked keeps nobody out."""
    while True:
        descriptor = open_it()
        try:
            if _try_lock(descriptor, fcntl.LOCK_EX) and _is_at(path, descriptor):
                opened.callback(os.close, descriptor)
                return
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise FolderLockedError
        time.sleep(LOCK_PAUSE_SECONDS)


def _try_lock(descriptor: int, kind: int) -> bool:
    """Lock a file or folder; False where somebody else has it. A folder that cannot be locked is passed over."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS_ON_FOLDERS or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise
    return True


def _is_held(path: Path, flags: int) -> bool:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
