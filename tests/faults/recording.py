"""What the library recorded: every write, sync and change of a name, of all processes, in the order of their ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import Struct
from typing import Final

_EVENT: Final = Struct("<QQQQqqIIIIII")
"""`struct event` of preload.c."""


class Kind(IntEnum):
    """The kinds of events, as preload.c numbers them."""

    CREATE = 1
    WRITE = 2
    TRUNCATE = 3
    ALLOCATE = 4
    RENAME = 5
    LINK = 6
    UNLINK = 7
    MAKE_FOLDER = 8
    REMOVE_FOLDER = 9
    SYNC = 10


@dataclass(frozen=True, slots=True)
class Event:
    """One call that had an effect, or a sync that failed."""

    begun: int
    ended: int
    """Moments: two events are in order where one ended before the other began."""
    kind: Kind
    inode: int
    path: str
    other: str
    """The new name, of a rename or link."""
    offset: int
    size: int
    """Bytes written or allocated; the new size, of a truncation."""
    mode: int
    """fallocate's."""
    error: int
    data: memoryview


def read_recording(folder: Path) -> list[Event]:
    """All events of a recording. The last one of a killed process may be cut off; it never ended."""
    events = [event for path in folder.glob("*.log") for event in _read_log(path)]
    return sorted(events, key=lambda event: event.ended)


def _read_log(path: Path) -> Iterator[Event]:
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        log = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
    at = 0
    while at + _EVENT.size <= len(log):
        begun, ended, inode, data_size, offset, size, kind, error, _, path_size, other_size, mode = _EVENT.unpack_from(
            log, at
        )
        at += _EVENT.size
        end = at + path_size + other_size + data_size
        if end > len(log):
            return
        name = bytes(log[at : at + path_size]).decode()
        other = bytes(log[at + path_size : at + path_size + other_size]).decode()
        data = log[end - data_size : end]
        at = end
        name = name.removesuffix(" (deleted)")
        yield Event(begun, ended, Kind(kind), inode, name, other, offset, size, mode, error, data)
