"""The data folder: what lies where in it, which format it has, who uses it, and what a running server says of itself.

FORMAT         number of this layout
catalog.db     the catalog
objects/       the object store
credentials    the administrator's access key, as an AWS credentials file
root.key       the root key, which seals all keys and secrets in the catalog
reserve/       room that is given back when the disk is full
server.json    where the running server listens
server.lock    locked for as long as a server runs
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FORMAT: Final = 1
"""Raised when an older Snapstone could not make sense of the folder any more."""

LOCK_SECONDS: Final = 1.0
"""How long a starting server tries for the lock: a look at it, as `running_server` takes, is over much sooner."""

LOCK_PAUSE_SECONDS: Final = 0.02

_NOT_FOREIGN: Final = frozenset({"server.lock", ".FORMAT.new", "lost+found"})
"""What may lie in a folder that is about to become a data folder."""


@dataclass(eq=False)
class DataFolderError(Exception):
    """A data folder that cannot be used; `message` says which, why, and what to do."""

    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class RunningServer:
    """What server.json says."""

    endpoint: str
    pid: int
    region: str


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths in a data folder."""

    path: Path

    @property
    def catalog(self) -> Path:
        return self.path / "catalog.db"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    @property
    def damage_log(self) -> Path:
        """The object store's own (storage.segment_store)."""
        return self.objects / "damage.jsonl"

    @property
    def credentials(self) -> Path:
        return self.path / "credentials"

    @property
    def root_key(self) -> Path:
        return self.path / "root.key"

    @property
    def reserve(self) -> Path:
        return self.path / "reserve"

    @property
    def server_file(self) -> Path:
        return self.path / "server.json"

    @property
    def lock(self) -> Path:
        return self.path / "server.lock"

    @property
    def format(self) -> Path:
        return self.path / "FORMAT"

    def announce(self, server: RunningServer) -> None:
        """Say where the running server is."""
        write_whole(self.server_file, json.dumps(asdict(server)) + "\n")

    def withdraw(self) -> None:
        """Say that no server runs any more."""
        self.server_file.unlink(missing_ok=True)

    def running_server(self) -> RunningServer:
        """The server that runs on this folder. Raises DataFolderError where there is none."""
        if not self.path.is_dir():
            raise DataFolderError(f"there is no data folder {self.path}")
        try:
            text = self.server_file.read_text() if self._is_in_use() else None
        except FileNotFoundError:
            text = None
        except OSError as error:
            raise DataFolderError(f"cannot read the data folder {self.path}: {error}") from None
        if text is None:
            raise DataFolderError(f"no server is running on the data folder {self.path}")
        return RunningServer(**json.loads(text))

    def _is_in_use(self) -> bool:
        """Whether a server holds the lock; unlike a process id, a lock cannot outlive its holder."""
        with self.lock.open() as lock:
            return not _try_lock(lock.fileno(), fcntl.LOCK_SH)


@contextmanager
def use_data_folder(path: Path) -> Iterator[DataFolder]:
    """Make or open a data folder for one server, which holds it alone until it leaves. Raises DataFolderError."""
    folder = DataFolder(path)
    try:
        lock = _open(folder)
    except (FileExistsError, NotADirectoryError):
        raise DataFolderError(f"{path} is not a folder") from None
    except OSError as error:
        hint = ": serve it for reading with --read-only" if error.errno == errno.EROFS else ""
        raise DataFolderError(f"cannot use the data folder {path}: {error}{hint}") from None
    try:
        yield folder
    finally:
        os.close(lock)


def _make_durably(path: Path) -> None:
    """Make a folder and those above it that are missing; their names survive a power cut as what is in them does.

    An earlier start may have made the folder and ended before its name was synced. A parent that this user may not read
    was not made here.
    """
    missing = [each for each in path.parents if not each.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in (*missing, path):
        with suppress(PermissionError):
            _sync_folder(made.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_whole(path: Path, text: str) -> None:
    """Replace a file by one of mode 0600, durably; whoever reads it finds the old content or the new, whole."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.rename(path)
    _sync_folder(path.parent)


def check_format(folder: DataFolder) -> None:
    """Raise DataFolderError for a folder of something else, or of a newer version."""
    if not folder.format.exists():
        foreign = sorted({entry.name for entry in folder.path.iterdir()} - _NOT_FOREIGN)
        if foreign:
            raise DataFolderError(
                f"{folder.path} is not empty and not a data folder of Snapstone (it holds {foreign[0]!r}): "
                "name an empty or a new folder"
            )
        return
    text = folder.format.read_text(errors="replace").strip()
    if not (text.isascii() and text.isdigit()):
        raise DataFolderError(f"{folder.format} holds {text[:20]!r} where a format's number belongs")
    if int(text) > FORMAT:
        raise DataFolderError(
            f"{folder.path} has format {text}, written by a newer Snapstone; this one knows formats up to {FORMAT}"
        )


def _open(folder: DataFolder) -> int:
    """Make what is missing; returns the descriptor that holds the lock."""
    _make_durably(folder.path)
    check_format(folder)
    lock = os.open(folder.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _wait_for_lock(folder, lock)
        if not folder.format.exists():
            folder.path.chmod(0o700)
            write_whole(folder.format, f"{FORMAT}\n")
        folder.objects.mkdir(mode=0o700, exist_ok=True)
        folder.withdraw()
    except BaseException:
        os.close(lock)
        raise
    return lock


def _wait_for_lock(folder: DataFolder, lock: int) -> None:
    """Take the lock, which child processes do not inherit."""
    deadline = time.monotonic() + LOCK_SECONDS
    while not _try_lock(lock, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            raise DataFolderError(f"another server is running on {folder.path}: stop it, or name another folder")
        time.sleep(LOCK_PAUSE_SECONDS)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
