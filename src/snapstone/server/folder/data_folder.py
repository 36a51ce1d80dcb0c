"""The data folder: its layout and format, its lock, and the record of the running server.

FORMAT         number of this layout
catalog.db     the catalog
objects/       the object store
credentials    the administrator's access key, as an AWS credentials file
root.key       the root key, which seals all keys and secrets in the catalog
reserve/       space that is given back when the disk is full
server.json    where the running server listens, and by what it knows its folder again
.first-start   there until the first start has ended: from then on, what is missing was lost
server.lock    locked, as the folder itself, for as long as a server runs

At most one server uses a data folder. It locks the folder itself, which cannot be replaced under the lock, and
the file `server.lock` in it, which earlier versions look at. Unlike a process id, a lock cannot outlive its holder.
File systems that cannot lock a folder (NFS) have the file alone. A start that is refused says why in one sentence that
names the file and what to do (`Refusal`).
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Final

from snapstone.system.files import is_at, opened, replace_file, sync_folder
from snapstone.system.locks import LOOK_SECONDS, attempts, try_lock

_NO_LOCKS_ON_FOLDERS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.EISDIR})


class FolderLockedError(Exception):
    """Somebody else holds the lock."""


class FolderLock:
    """The lock of one process, which child processes do not inherit."""

    def __init__(self, folder: Path, lock_file: Path) -> None:
        """Take the lock, making the file if it is missing. Raises FolderLockedError and OSError."""
        with ExitStack() as opened:
            _lock(opened, lambda: os.open(folder, os.O_RDONLY | os.O_DIRECTORY), folder)
            _lock(opened, lambda: os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600), lock_file)
            self._opened = opened.pop_all()

    def release(self) -> None:
        """Let others in."""
        self._opened.close()


def is_locked(folder: Path, lock_file: Path) -> bool:
    """Whether a server holds the lock. Raises OSError."""
    return _is_held(folder, os.O_DIRECTORY) or (lock_file.exists() and _is_held(lock_file, 0))


def _lock(opened: ExitStack, open_it: Callable[[], int], path: Path) -> None:
    """Lock what is at a path, making sure that it still is: a removed file's lock excludes nobody."""
    for _ in attempts(LOOK_SECONDS):
        descriptor = open_it()
        try:
            if _try_lock(descriptor) and is_at(path, descriptor, follow=True):
                opened.callback(os.close, descriptor)
                return
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise FolderLockedError


def _try_lock(descriptor: int, shared: bool = False) -> bool:
    """Lock a file or folder; False if somebody else has it. A folder that cannot be locked is passed over."""
    try:
        return try_lock(descriptor, shared=shared)
    except OSError as error:
        if error.errno not in _NO_LOCKS_ON_FOLDERS or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise
    return True


def _is_held(path: Path, flags: int) -> bool:
    with opened(path, os.O_RDONLY | flags) as descriptor:
        return not _try_lock(descriptor, shared=True)


FORMAT: Final = 1
"""Raised when an older Snapstone could not make sense of the folder any more."""

WATCHED: Final = (
    ".", "server.lock", "catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.db-changes", "catalog.db-lock",
    "objects", "objects/segments", "objects/index.db", "objects/index.db-wal", "objects/index.db-shm",
    "objects/index.db-lock",
)  # fmt: skip
"""Files that must stay in place and unchanged while a process serves (`.` is the folder): without one of them, what is
acknowledged would not be found by the next start, or not be seen by the other processes."""

LASTING: Final = (".", "FORMAT", "server.lock", "catalog.db", "objects", "objects/segments")
"""Those that stay while no process has the catalog open: a process that starts must find them as the server did."""

_NOT_FOREIGN: Final = frozenset({"server.lock", ".first-start", ".FORMAT.new", "lost+found"})
"""Names that a folder may contain when it becomes a data folder."""


@dataclass(eq=False)
class DataFolderError(Exception):
    """A data folder that cannot be used; `message` says which, why, and what to do."""

    message: str

    def __str__(self) -> str:
        return self.message


class StartRefusedError(DataFolderError):
    """The parts of the data folder do not match or cannot be used: serving it would lose or hide data."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """The content of server.json."""

    endpoint: str
    pid: int
    region: str
    format_inode: int = 0
    format_changed_ns: int = 0
    """Inode and time of the last change of FORMAT, which is never rewritten: a copy has others. 0: unknown."""


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

    @property
    def first_start(self) -> Path:
        return self.path / ".first-start"

    def end_first_start(self) -> None:
        """From here on a catalog and a root key are there: durably, before anything can be acknowledged."""
        if self.first_start.exists():
            self.first_start.unlink()
            sync_folder(self.path)

    def announce(self, server: RunningServer) -> RunningServer:
        """Record where the server listens; returns the record."""
        status = self.format.stat()
        server = replace(server, format_inode=status.st_ino, format_changed_ns=status.st_ctime_ns)
        replace_file(self.server_file, (json.dumps(asdict(server)) + "\n").encode("ascii"))
        return server

    def withdraw(self, server: RunningServer) -> None:
        """Remove this server's record; another server's stays."""
        with suppress(OSError):  # The folder may be gone.
            if self.read_server_file() == server:
                self.server_file.unlink(missing_ok=True)

    def running_server(self) -> RunningServer:
        """The server that runs on this folder. Raises DataFolderError if there is none."""
        if not self.path.is_dir():
            raise DataFolderError(f"there is no data folder {self.path}")
        try:
            server = self.read_server_file() if is_locked(self.path, self.lock) else None
        except OSError as error:
            raise DataFolderError(f"cannot read the data folder {self.path}: {error}") from None
        if server is None:
            raise DataFolderError(f"no server is running on the data folder {self.path}")
        return server

    def read_server_file(self) -> RunningServer | None:
        """The content of server.json, from any version, whether or not that server still runs.

        None if the file is missing or is none. Raises OSError.
        """
        known = {each.name for each in fields(RunningServer)}
        with suppress(FileNotFoundError, ValueError, TypeError, AttributeError):
            entries = json.loads(self.server_file.read_text()).items()
            return RunningServer(**{name: value for name, value in entries if name in known})
        return None


@contextmanager
def use_data_folder(path: Path, accept_copied: bool = False) -> Iterator[DataFolder]:
    """Make or open a data folder for one server, which holds it alone until it leaves.

    `accept_copied`: also if it was copied file by file while a server ran on it. Raises DataFolderError.
    """
    folder = DataFolder(path)
    try:
        lock = _open(folder, accept_copied)
    except (FileExistsError, NotADirectoryError):
        raise DataFolderError(f"{path} is not a directory") from None
    except OSError as error:
        hint = "; serve it with --read-only" if error.errno == errno.EROFS else ""
        raise DataFolderError(f"cannot use the data folder {path}: {error}{hint}") from None
    try:
        yield folder
    finally:
        lock.release()


def _make_durably(path: Path) -> None:
    """Make a folder and those above it that are missing; their names survive a power cut as what is in them does.

    An earlier start may have made the folder and ended before its name was synced. A parent that this user may not read
    was not made here.
    """
    missing = [each for each in path.parents if not each.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in (*missing, path):
        with suppress(PermissionError):
            sync_folder(made.parent)


def check_format(folder: DataFolder) -> None:
    """Raise DataFolderError for a folder of something else, or of a newer version."""
    if not folder.format.exists():
        foreign = sorted({entry.name for entry in folder.path.iterdir()} - _NOT_FOREIGN)
        if foreign:
            raise DataFolderError(
                f"{folder.path} is not empty and not a data folder of Snapstone (it holds {foreign[0]!r}): "
                "choose an empty or a new directory"
            )
        return
    text = folder.format.read_text(errors="replace").strip()
    if not (text.isascii() and text.isdigit()):
        raise DataFolderError(f"{folder.format} holds {text[:20]!r} instead of a format number")
    if int(text) > FORMAT:
        raise DataFolderError(
            f"{folder.path} has format {text}, written by a newer Snapstone; this version knows formats up to {FORMAT}"
        )


def _open(folder: DataFolder, accept_copied: bool) -> FolderLock:
    """Make what is missing; returns the lock."""
    _make_durably(folder.path)
    check_format(folder)
    try:
        lock = FolderLock(folder.path, folder.lock)
    except FolderLockedError:
        raise DataFolderError(
            f"another server is running on {folder.path}; stop it, or choose another folder"
        ) from None
    try:
        if not accept_copied:
            _check_copied(folder)
        if not folder.format.exists():
            folder.path.chmod(0o700)
            folder.first_start.touch(mode=0o600)
            replace_file(folder.format, (f"{FORMAT}\n").encode("ascii"))
        folder.objects.mkdir(mode=0o700, exist_ok=True)
        folder.server_file.unlink(missing_ok=True)
    except BaseException:
        lock.release()
        raise
    return lock


def _check_copied(folder: DataFolder) -> None:
    """Refuse a folder that was copied file by file while a server ran on it. Raises DataFolderError.

    A server that stops removes its server.json; one that is killed leaves it next to the very same files. A
    snapshot of a file system or volume has them with their inodes; a file system that gives other inodes after each
    mount leaves the time of the last change, which no copy can take over.
    """
    left = folder.read_server_file()
    if left is None or not left.format_inode or not folder.format.exists():
        return
    status = folder.format.stat()
    if status.st_ino == left.format_inode or status.st_ctime_ns == left.format_changed_ns:
        return
    raise DataFolderError(
        f"{folder.path} was copied file by file while a server was running on it, so its files may be from "
        "different moments and acknowledged blocks may be missing; copy it again with the server stopped, or from a "
        "snapshot of the file system; or start with --accept-copied-folder and lose what does not match"
    )
