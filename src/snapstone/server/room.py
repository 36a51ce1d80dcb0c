"""What a server process does about the room on its disk: before it opens anything, and every second."""

from __future__ import annotations

from typing import Final

from snapstone.server.data_folder import DataFolder, DataFolderError
from snapstone.service.health import Health
from snapstone.storage.file_system import make_in_place
from snapstone.storage.space import SpaceGuard

SUBJECT: Final = "space"

START_BYTES: Final = 2 << 20
"""Free bytes without which no start is tried: for the logs and shared memory of two databases, and a migration."""

START_INODES: Final = 8
"""Free inodes without which no start is tried."""


def make_room(folder: DataFolder) -> SpaceGuard:
    """The guard of the data folder's disk, looked after once: what is opened next finds room.

    SQLite maps the file `-shm`, which it makes anew at each start; on a copy-on-write file system it must be
    overwritten in place, or a full disk kills whoever writes to it (`storage/index.py` does the same for the index). So
    that the catalog can be written to as long as it has room, its counter of changes must be too.
    """
    guard = SpaceGuard(folder.path, folder.reserve)
    guard.tend()
    folder.objects.mkdir(mode=0o700, exist_ok=True)
    for suffix in ("-shm", "-changes"):
        make_in_place(folder.catalog.with_name(f"{folder.catalog.name}{suffix}"))
    return guard


def require_room(guard: SpaceGuard) -> None:
    """Refuse a start that would end in the middle, whatever the reserve could give. Raises DataFolderError."""
    room = guard.tend()
    if room is not None and room.read_only:
        raise DataFolderError(
            f"the file system of the data folder {guard.folder} takes no changes: repair it, or serve what is"
            " stored for reading with --read-only"
        )
    if room is None or (room.free >= START_BYTES and (room.inodes is None or room.inodes >= START_INODES)):
        return
    left = f"{room.free} bytes" if room.inodes is None else f"{room.free} bytes and {room.inodes} inodes"
    raise DataFolderError(
        f"the disk of the data folder {guard.folder} has {left} free, and a start takes {START_BYTES} bytes and"
        f" {START_INODES} inodes: make room there, or serve what is stored for reading with --read-only"
    )


def tend_room(guard: SpaceGuard, health: Health) -> None:
    """Give back of the reserve or make it whole again, and say whether blocks are refused."""
    guard.tend()
    if guard.problem is None:
        health.clear(SUBJECT)
    else:
        health.report(SUBJECT, guard.problem)
