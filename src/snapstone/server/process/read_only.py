"""Serving a data folder that cannot be written: from a working folder that stands for it, with copies of its databases.

In the working folder catalog and index are copies, which may be brought to this version and recovered from what a crash
left; all else is a link to the data folder. Segments are read in place. Any number of servers may serve a folder
this way, but none beside one that writes.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from snapstone.server.config import Settings
from snapstone.server.folder.data_folder import DataFolder, DataFolderError, RunningServer, check_format
from snapstone.server.folder.runtime import announced
from snapstone.server.process.supervisor import serve
from snapstone.system.files import opened, opened_folder
from snapstone.system.locks import lock, try_lock

PREFIX: Final = "snapstone-read-only-"
"""Beginning of the names of working folders, in the temporary folder."""

_NOT_COPIED: Final = ("-shm", "-lock", ".damaged")
"""Ends of the names of files beside a database that say nothing to another server."""

_LINKED: Final = ("FORMAT", "credentials", "root.key")


def serve_read_only(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """As `supervisor.serve`, of a data folder that nothing is written to."""
    with use_read_only(settings) as working, ExitStack() as held:

        def announce(endpoint: str) -> None:
            held.enter_context(announced(settings.data, RunningServer(endpoint, os.getpid(), settings.region)))
            on_ready(endpoint)

        serve(working, announce)


@contextmanager
def use_read_only(settings: Settings) -> Iterator[Settings]:
    """Make a working folder; returns the settings of a server on it. Raises DataFolderError."""
    folder = DataFolder(settings.data)
    _remove_left_behind()
    with ExitStack() as held:
        try:
            _require_data(folder)
            _share(folder, held)
            working = _make_working_folder(folder, held)
        except OSError as error:
            raise DataFolderError(f"cannot read the data folder {folder.path}: {error}") from None
        root_key_file = settings.root_key_file or (str(folder.root_key) if folder.root_key.exists() else None)
        yield replace(settings, data=working, root_key_file=root_key_file)


def _require_data(folder: DataFolder) -> None:
    if not folder.format.exists() or not folder.catalog.exists():
        raise DataFolderError(f"{folder.path} is not a Snapstone data folder that can be served read-only")
    check_format(folder)


def _share(folder: DataFolder, held: ExitStack) -> None:
    """Keep servers that write away, as long as this one serves, and refuse to start beside one."""
    for path in (folder.path, folder.lock):
        if not path.exists():
            continue
        descriptor = held.enter_context(opened(path, os.O_RDONLY))
        if not try_lock(descriptor, shared=True):
            raise DataFolderError(
                f"another server is running on {folder.path} and may change it; stop it, or use that server for reading"
            )


def _make_working_folder(folder: DataFolder, held: ExitStack) -> Path:
    """In a folder that is locked as long as it is in use, and removed in the end."""
    made = Path(tempfile.mkdtemp(prefix=PREFIX))
    held.callback(shutil.rmtree, made, ignore_errors=True)
    lock(held.enter_context(opened_folder(made)))
    working = made / "data"
    try:
        working.mkdir(mode=0o700)
        _fill(folder, DataFolder(working))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataFolderError(
            f"no space in {made.parent} for copies of the catalog and the index of {folder.path}; set TMPDIR to"
            " a directory on a larger disk"
        ) from None
    return working


def _fill(folder: DataFolder, working: DataFolder) -> None:
    working.objects.mkdir(mode=0o700)
    for database in (folder.catalog, folder.objects / "index.db"):
        for path in sorted(database.parent.glob(f"{database.name}*")):
            if path.is_file() and not path.name.endswith(_NOT_COPIED):
                copy = working.path / path.relative_to(folder.path)
                shutil.copyfile(path, copy)
                copy.chmod(0o600)
    for name in _LINKED:
        if (folder.path / name).exists():
            (working.path / name).symlink_to(folder.path / name)
    segments = working.objects / "segments"
    if (folder.objects / "segments").is_dir():
        segments.symlink_to(folder.objects / "segments", target_is_directory=True)


def _remove_left_behind() -> None:
    """Remove the working folders of servers of this user that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError), opened(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) as descriptor:
            if os.fstat(descriptor).st_uid == os.getuid() and try_lock(descriptor):
                shutil.rmtree(path, ignore_errors=True)
