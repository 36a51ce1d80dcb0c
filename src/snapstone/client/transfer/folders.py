"""The state folder: where journals and digest indexes are kept, for this user alone."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from snapstone.client.durable import sync_folder
from snapstone.client.errors import ClientError, DeniedError, NoSpaceError, NotFoundError

STATE_VARIABLE: Final = "SNAPSTONE_STATE"
"""Environment variable that names the state folder."""

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class StateError(ClientError):
    """The state folder, or a file in it, cannot be used."""


def state_failure(path: Path, error: OSError) -> ClientError:
    """What a failed call on a file of the state folder means; the text names the file."""
    text = f"{path}: {error.strerror or error}"
    if error.errno in _NO_SPACE:
        return NoSpaceError(f"{text}. Make room there, or set {STATE_VARIABLE} to a folder that has some")
    if error.errno == errno.ENOENT:
        return NotFoundError(text)
    if error.errno in _DENIED:
        return DeniedError(f"{text}. Set {STATE_VARIABLE} to a folder that you may write to")
    return StateError(f"{text}. Set {STATE_VARIABLE} to a folder on another file system if this goes on")


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
            raise StateError(f"There is no home folder to keep state in; set HOME or {STATE_VARIABLE}")
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
        raise StateError(f"{folder} is no folder; remove it, or set {STATE_VARIABLE} to another folder")
    if os.geteuid() not in (found.st_uid, 0):
        raise DeniedError(f"{folder} belongs to another user; set {STATE_VARIABLE} to a folder of your own")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise DeniedError(f"{folder} can be written by others; chmod 700 it, or set {STATE_VARIABLE} to another folder")
