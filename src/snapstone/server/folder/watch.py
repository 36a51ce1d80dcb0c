"""A data folder while it is in use: whether it and its files are still the ones that were opened, and its free space.

The watch keeps a descriptor of each file and folder that it watches, so that their inode numbers are not given to
others; a path that leads to the same device and inode leads to the very same file, which all other open descriptors
mean as well. That is also how the folder is known again when it has been moved back or mounted again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from snapstone.server.folder.data_folder import DataFolder, DataFolderError
from snapstone.service.health import Health, StoreGate
from snapstone.storage.file_system import make_in_place
from snapstone.storage.space import SpaceGuard

WATCH_SECONDS: Final = 1.0
"""Between two looks: a dozen calls of `stat`."""

PROBLEM_SUBJECT: Final = "data folder"

REPLACED: Final = "was replaced by another"

REMEDY: Final = (
    "nothing is stored until the same files are back in place; if they are lost, stop the server before replacing them"
)

Identities: TypeAlias = Mapping[str, tuple[int, int]]
"""Device and inode by name in the data folder; the folder's own name is `.`."""


INDEX_NAME: Final = "objects/index.db"


@dataclass(frozen=True, slots=True)
class Change:
    """One of the files is not where and what it was; as text, the beginning of a sentence."""

    name: str
    what: str

    def __str__(self) -> str:
        subject = "the data folder" if self.name == "." else f"{self.name} in the data folder"
        return f"{subject} {self.what}"

    @property
    def is_remade_index(self) -> bool:
        """Whether there is another index: a process that started has made it from the records, as it may."""
        return self.name.startswith(INDEX_NAME) and self.what == REPLACED


class FolderWatch:
    """The files of a folder when the watch began. Safe from many threads."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        """Names of nothing are not watched. Raises OSError if one cannot be checked."""
        self._folder = folder
        found = {}
        with ExitStack() as opened:
            for name in names:
                with suppress(FileNotFoundError):
                    descriptor = os.open(folder / name, os.O_PATH | os.O_CLOEXEC)
                    opened.callback(os.close, descriptor)
                    found[name] = _identity(os.fstat(descriptor))
            self._opened = opened.pop_all()
        self.identities: Identities = found
        """The watched files, for another process to compare with what it finds."""

    def look(self) -> Change | None:
        """The first change, or None."""
        return find_change(self._folder, self.identities)

    def close(self) -> None:
        """Watch no more."""
        self._opened.close()


class GateKeeper:
    """Closes the gate of a process while its data folder is not the one it opened; `look` is its tick."""

    def __init__(
        self, watch: FolderWatch, gate: StoreGate, health: Health, start_anew: Callable[[str], object] = lambda _: None
    ) -> None:
        """`start_anew` requests a new process in place of this one, which opens the replaced files."""
        self._watch = watch
        self._gate = gate
        self._health = health
        self._start_anew = start_anew

    def look(self) -> bool:
        """Look, and act by it; whether all is as it was."""
        change = self._watch.look()
        if change is not None:
            self._gate.close(str(change))
            self._health.report(PROBLEM_SUBJECT, f"{change}; {REMEDY}", unready=True)
            if change.is_remade_index:
                self._start_anew(f"{change}; this process must reopen it")
        elif not self._gate.is_open:
            self._gate.open()
            self._health.clear(PROBLEM_SUBJECT)
        return change is None


def find_change(folder: Path, identities: Identities) -> Change | None:
    """The first of the files that is not where and what it was, or None."""
    for name, identity in identities.items():
        try:
            found = _identity(os.stat(folder / name))
        except FileNotFoundError:
            return Change(name, "is gone")
        except OSError as error:
            return Change(name, f"cannot be reached ({error.strerror})")
        if found != identity:
            return Change(name, REPLACED)
    return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


SUBJECT: Final = "space"

START_BYTES: Final = 2 << 20
"""Free bytes without which no start is tried: for the logs and shared memory of two databases, and a migration."""

START_INODES: Final = 8
"""Free inodes without which no start is tried."""


def open_space_guard(folder: DataFolder) -> SpaceGuard:
    """The guard of the data folder's disk, looked after once: what is opened next finds space.

    SQLite maps the file `-shm`, which it recreates at each start; on a copy-on-write file system it must be overwritten
    in place, or a full disk kills the process that writes to it (`storage/index.py` does the same for the index). So
    that the catalog can be written to as long as it has space, its counter of changes must be too.
    """
    guard = SpaceGuard(folder.path, folder.reserve)
    guard.tend()
    folder.objects.mkdir(mode=0o700, exist_ok=True)
    for suffix in ("-shm", "-changes"):
        make_in_place(folder.catalog.with_name(f"{folder.catalog.name}{suffix}"))
    return guard


def require_space(guard: SpaceGuard) -> None:
    """Refuse a start that would end in the middle, whatever the reserve could give. Raises DataFolderError."""
    space = guard.tend()
    if space is not None and space.read_only:
        raise DataFolderError(
            f"the file system of the data folder {guard.folder} is read-only; repair it, or serve what is"
            " stored with --read-only"
        )
    if space is None or (space.free >= START_BYTES and (space.inodes is None or space.inodes >= START_INODES)):
        return
    left = f"{space.free} bytes" if space.inodes is None else f"{space.free} bytes and {space.inodes} inodes"
    raise DataFolderError(
        f"the disk of the data folder {guard.folder} has {left} free, but a start needs {START_BYTES} bytes and"
        f" {START_INODES} inodes; free some space there, or serve what is stored with --read-only"
    )


def tend_space(guard: SpaceGuard, health: Health) -> None:
    """Release or restore the reserve, and report whether blocks are refused."""
    guard.tend()
    if guard.problem is None:
        health.clear(SUBJECT)
    else:
        health.report(SUBJECT, guard.problem)
