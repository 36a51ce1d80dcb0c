"""Where a server says where it listens if it cannot write that into its data folder: a folder of this user's own.

It is `snapstone` in $XDG_RUNTIME_DIR, else `snapstone-UID` in the temporary folder. In it, each such server has a file
named after the device and inode of its data folder and its own process id, which it keeps locked: without a lock it
was left by a server that was killed.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from snapstone.server.folder.data_folder import DataFolder, DataFolderError, RunningServer
from snapstone.system.files import opened
from snapstone.system.locks import lock, try_lock


@contextmanager
def announced(data: Path, server: RunningServer, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Tell `find_announced` of a server on this data folder, until the block ends. Raises DataFolderError."""
    folder = _places(environ)[0]
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _require_own(folder)
        path = folder / f"{_identity(data)}.{os.getpid()}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise DataFolderError(f"cannot record the server's address in {folder}: {error}") from None
    try:
        lock(descriptor)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(server)).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def find_server(folder: DataFolder) -> RunningServer:
    """The server that runs on a data folder, wherever it says so. Raises DataFolderError if there is none."""
    try:
        return folder.running_server()
    except DataFolderError:
        server = find_announced(folder.path) if folder.path.is_dir() else None
        if server is None:
            raise
        return server


def find_announced(data: Path, environ: Mapping[str, str] = os.environ) -> RunningServer | None:
    """The server on this data folder that was announced last, or None. Removes what killed ones left."""
    found: list[tuple[int, RunningServer]] = []
    for folder in _places(environ):
        with suppress(OSError):
            _require_own(folder)
            for path in folder.glob(f"{_identity(data)}.*"):
                server = _read_or_remove(path)
                if server is not None:
                    found.append((path.stat().st_mtime_ns, server))
    return max(found, key=lambda entry: entry[0])[1] if found else None


def _places(environ: Mapping[str, str]) -> list[Path]:
    """Where announcements may be; the first is where they are made."""
    shared = Path(tempfile.gettempdir()) / f"snapstone-{os.getuid()}"
    own = environ.get("XDG_RUNTIME_DIR")
    return [Path(own) / "snapstone", shared] if own and Path(own).is_dir() else [shared]


def _require_own(folder: Path) -> None:
    """Raise OSError for a folder that another user could have written to."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"{folder} is not a private directory of this user")


def _identity(data: Path) -> str:
    status = data.stat()
    return f"{status.st_dev:x}-{status.st_ino:x}"


def _read_or_remove(path: Path) -> RunningServer | None:
    with opened(path, os.O_RDONLY | os.O_NOFOLLOW) as descriptor:
        if not try_lock(descriptor, shared=True):
            return RunningServer(**json.loads(path.read_text()))
        path.unlink(missing_ok=True)
        return None
