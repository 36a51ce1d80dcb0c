"""Room on the disk, looked at before long work."""

from __future__ import annotations

import os
from pathlib import Path

from snapstone.client.errors import NoSpaceError
from snapstone.client.images.refusals import refusal


def check_space(path: str | os.PathLike[str], needed_bytes: int) -> None:
    """Raise NoSpaceError where the file system on which `path` is, or will be, has not got so many bytes free."""
    folder = Path(os.path.abspath(path))
    if not folder.is_dir():
        folder = folder.parent
    try:
        room = os.statvfs(folder)
    except OSError as error:
        raise refusal(error, str(folder), "be asked for its free space") from error
    free_blocks = room.f_bfree if os.geteuid() == 0 else room.f_bavail
    free_bytes = free_blocks * room.f_frsize
    if free_bytes < needed_bytes:
        raise NoSpaceError(
            f"{folder} has {free_bytes} bytes free, and {needed_bytes} are needed for {path}: "
            f"make room for {needed_bytes - free_bytes} more, or name another place"
        )
