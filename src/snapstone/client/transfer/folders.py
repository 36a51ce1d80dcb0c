"""The state folder: where journals and digest indexes are kept, for this user alone; and the locks of journals.

A journal's lock is a file next to it with the process ID of its holder. Files that a killed process began and never
put in place are told from those being written by lock and age.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from snapstone.client.errors import ClientError, DeniedError, NoSpaceError, NotFoundError, UsageError
from snapstone.system.files import is_at, opened, sync_folder
from snapstone.system.locks import LOOK_SECONDS, attempts, try_lock

STATE_VARIABLE: Final = "SNAPSTONE_STATE"
"""Environment variable that names the state folder."""

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class StateError(ClientError):
    """The state folder, or a file in it, cannot be used."""


def state_failure(path: Path, error: OSError) -> ClientError:
    """The error for a failed call on a file of the state folder; the text names the file."""
    text = f"{path}: {error.strerror or error}"
    if error.errno in _NO_SPACE:
        return NoSpaceError(f"{text}; free some space there, or set {STATE_VARIABLE} to another directory")
    if error.errno == errno.ENOENT:
        return NotFoundError(text)
    if error.errno in _DENIED:
        return DeniedError(f"{text}; set {STATE_VARIABLE} to a directory that you can write to")
    return StateError(f"{text}; if this continues, set {STATE_VARIABLE} to a directory on another file system")


@dataclass(frozen=True)
class Folders:
    """Where state is kept. Nothing is created before `prepare`."""

    root: Path

    @classmethod
    def standard(cls, environment: Mapping[str, str] = os.environ) -> Folders:
        """$SNAPSTONE_STATE, else $XDG_STATE_HOME/snapstone, else ~/.local/state/snapstone."""
        if named := environment.get(STATE_VARIABLE):
            return cls(Path(named).absolute())
        # A relative path is to be ignored, says the XDG base directory specification.
        if (base := environment.get("XDG_STATE_HOME", "")) and Path(base).is_absolute():
            return cls(Path(base) / "snapstone")
        if not (home := environment.get("HOME", "") or os.path.expanduser("~")).startswith("/"):
            raise StateError(f"no home directory for the state folder; set HOME or {STATE_VARIABLE}")
        return cls(Path(home) / ".local" / "state" / "snapstone")

    @property
    def journals(self) -> Path:
        return self.root / "journals"

    @property
    def indexes(self) -> Path:
        return self.root / "indexes"

    def prepare(self) -> None:
        """Create what is missing, durably; refuse folders that somebody else could change."""
        try:
            # Folders above are made as usual, and one that was there before keeps its permissions: it may be anything.
            self.root.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.root, self.journals, self.indexes):
                _make_own(folder)
        except OSError as error:
            raise state_failure(Path(error.filename or self.root), error) from error


def _make_own(folder: Path) -> None:
    try:
        folder.mkdir(mode=FOLDER_MODE)
    except FileExistsError:
        _check_own(folder)
        return
    try:
        sync_folder(folder.parent)
    except OSError:
        folder.rmdir()  # Else the next run would find it and take it for durable.
        raise


def _check_own(folder: Path) -> None:
    """A table that others can write could make an upload skip blocks; root may use any user's folder (sudo)."""
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise StateError(f"{folder} is not a directory; remove it, or set {STATE_VARIABLE} to another one")
    if os.geteuid() not in (found.st_uid, 0):
        raise DeniedError(f"{folder} belongs to another user; set {STATE_VARIABLE} to a directory of your own")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise DeniedError(
            f"other users can write to {folder}; run chmod 700 on it, or set {STATE_VARIABLE} to another directory"
        )


LEFTOVER_SECONDS: Final = 3_600.0
"""Younger files are left alone: their maker may be about to lock them."""


def remove_leftovers(folder: Path, now: float | None = None) -> None:
    """Remove the abandoned `*.new` files of a folder."""
    old = (time.time() if now is None else now) - LEFTOVER_SECONDS
    for path in folder.glob("*.new"):
        try:
            _remove_if_left(path, old)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise state_failure(path, error) from error


def _remove_if_left(path: Path, old: float) -> None:
    if path.stat().st_mtime > old:
        return
    with opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
        if try_lock(descriptor):
            path.unlink()


_HOLDER_SIZE: Final = 32
"""Bytes in which the process id fits."""


class JournalLock:
    """A lock that is held, until `release` or the end of the process, whatever ends it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Use `take` or `try_take`."""
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> Self:
        """Take the lock. Raises UsageError, naming the holder, if it is held for longer than a look takes."""
        for _ in attempts(LOOK_SECONDS):
            if (lock := cls.try_take(path)) is not None:
                return lock
        raise UsageError(f"{holder_of(path)} is running the same transfer; wait for it or stop it")

    @classmethod
    def try_take(cls, path: Path) -> Self | None:
        """Take the lock, or None if it is held."""
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
        """Release the lock, and remove its file if the journal is removed too; a second call does nothing."""
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
    """A description of the holder of a lock."""
    try:
        with path.open("rb") as file:
            text = file.read(_HOLDER_SIZE).decode("ascii", "replace").strip()
    except (FileNotFoundError, PermissionError):
        text = ""
    if not text.isdecimal():
        return "Another process"
    return "another thread of this process" if int(text) == os.getpid() else f"process {text}"


def _lock(path: Path, descriptor: int) -> bool:
    """Whether we have it now: its last holder may have removed the file while we were opening it."""
    return try_lock(descriptor) and is_at(path, descriptor, follow=True)
