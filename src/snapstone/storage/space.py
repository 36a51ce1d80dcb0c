"""How much space the disk has: refuses blocks before the last of it is used, and keeps a reserve for everything else.

The reserve is a folder of preallocated files. When the disk runs full, for whatever reason, they are removed one by
one, so that catalog, index, pages, deletions and logs still find space, and inodes for new files; they are made again
when there is space. All processes look after the same folder: each step is done under a lock, and can be done twice.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Final

from snapstone.core.errors import ReadOnlyError, StoreFullError
from snapstone.storage.file_system import fallocate, is_read_only
from snapstone.system.files import opened_folder
from snapstone.system.locks import lock, try_lock

MIB: Final = 1 << 20

RESERVE_FILE_SIZE: Final = 4 * MIB
"""Bytes of one file of the reserve: the step in which it is given back."""

RESERVE_FILE_COUNT: Final = 16
"""Files of a whole reserve, 64 MiB; on a small disk no more than a quarter of what is free."""

LOW_WATER: Final = 16 * MIB
"""Free bytes, the reserve not counted, below which blocks are refused."""

CLEAR_WATER: Final = 24 * MIB
"""Free bytes from which blocks are taken again."""

RESERVE_GIVEN_BELOW: Final = 8 * MIB
"""Below this many free bytes the reserve is released, until there are as many again."""

INODES_GIVEN_BELOW: Final = 12
"""Free inodes below which the reserve's are given back: a start makes about ten files."""

INODES_TAKEN_FROM: Final = 64
"""Free inodes from which the reserve may have one for each of its files."""

SEGMENT_LEAVES: Final = 32 * MIB
"""Free bytes that a new segment for blocks leaves, the reserve not counted; above CLEAR_WATER, so that it is used."""

LEAST_SHARE: Final = 32 * MIB
"""A new segment takes a quarter of what is left, so that other processes get theirs, but at least this if possible."""

ESSENTIAL_SEGMENT: Final = 8 * MIB
"""A new segment for pages or a manifest on a disk that is full for blocks."""

PROBLEM: Final = (
    f"the data folder's disk had less than {LOW_WATER // MIB} MiB free: blocks are refused until"
    f" {CLEAR_WATER // MIB} MiB are free again; everything else continues. Free some space on that disk"
)

READ_ONLY_PROBLEM: Final = (
    "the file system of the data folder has become read-only, as after a disk error: what is stored can be"
    " read, everything else is refused. See the kernel's log; repair the file system with the server stopped"
)

LOOK_SECONDS: Final = 3.0
"""Time for which a measurement of the disk is believed; `tend` takes one each second, so that no put has to."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """Free space and inodes of a file system for this user."""

    free: int
    """Bytes."""
    inodes: int | None
    """None if the file system makes them as they are needed."""
    read_only: bool = False
    """Nothing of it can be taken: the file system takes no changes (any more)."""


def measure(folder: Path) -> FreeSpace | None:
    """Free space on a folder's file system, or None if unknown."""
    try:
        found = os.statvfs(folder)
        read_only = is_read_only(folder)
    except OSError:
        return None  # It or its disk is gone, which others report.
    if found.f_blocks == 0:
        return None
    return FreeSpace(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None, read_only)


class SpaceGuard:
    """Looks after the space of one folder's disk, for one of several processes. Safe from many threads."""

    def __init__(
        self,
        folder: Path,
        reserve: Path,
        *,
        seconds: Callable[[], float] = monotonic,
        measure: Callable[[Path], FreeSpace | None] = measure,
    ) -> None:
        """`folder` is on the disk to watch, `reserve` a folder in it that need not be there yet."""
        self.folder = folder
        self._reserve = reserve
        self._seconds = seconds
        self._measure = measure
        self._lock = Lock()
        self._refusal: str | None = None
        self.read_only = False
        """Whether the disk was read-only at the last check."""
        self._look_again_at = 0.0

    @property
    def problem(self) -> str | None:
        """Why blocks are refused, as a sentence for the operator; None while they are taken."""
        if self.read_only:
            return READ_ONLY_PROBLEM
        return None if self._refusal is None else PROBLEM

    def refuse_block_if_low(self) -> None:
        """Called before a block is stored. Raises StoreFullError while the disk has too little space, ReadOnlyError."""
        if self._seconds() >= self._look_again_at:
            self._look()
        if self.read_only:
            raise ReadOnlyError
        if self._refusal is not None:
            raise StoreFullError(self._refusal)

    def largest_segment(self, wanted: int, *, essential: bool = False) -> int:
        """How many of the bytes wanted a new segment may take; 0 if none may be made.

        One for blocks leaves the reserve, a margin, and some space for other processes' segments. An
        essential one, for pages or a manifest, may be made while blocks are refused, and out of the reserve.
        """
        space = self._measure(self.folder)
        if space is None:
            return wanted
        left = space.free - SEGMENT_LEAVES
        share = max(left // 4, min(left, LEAST_SHARE))
        if share >= min(wanted, ESSENTIAL_SEGMENT):
            return wanted if share >= wanted else share // MIB * MIB
        if essential and self._release_reserve(ESSENTIAL_SEGMENT + MIB, wait=True):
            return min(wanted, ESSENTIAL_SEGMENT)
        return 0

    def tend(self) -> FreeSpace | None:
        """Give back of the reserve what is needed, or make it whole again if there is space: about once a second.

        Returns the free space afterwards, or None if unknown.
        """
        space = self._look()
        if space is None or space.read_only:
            return space
        if space.free < RESERVE_GIVEN_BELOW or _too_few(space, INODES_GIVEN_BELOW):
            self._release_reserve(RESERVE_GIVEN_BELOW)
        elif self._wanted_files(space) > 0:
            self._fill()
        else:
            return space
        return self._measure(self.folder)

    # -- how --

    def _look(self) -> FreeSpace | None:
        """Measure, and settle whether blocks are taken."""
        with self._lock:
            self._look_again_at = self._seconds() + LOOK_SECONDS
            space = self._measure(self.folder)
            self.read_only = space is not None and space.read_only
            mark = LOW_WATER if self._refusal is None else CLEAR_WATER
            if space is None or space.free >= mark:
                self._refusal = None
            else:
                self._refusal = (
                    f"{space.free} bytes are free: below {LOW_WATER} blocks are refused, until {CLEAR_WATER} are free"
                )
            return space

    def _release_reserve(self, free: int, *, wait: bool = False) -> bool:
        """Remove reserve files until this many bytes and enough inodes are free; False if that fails."""
        with suppress(OSError), self._turn(wait) as mine:
            while (space := self._measure(self.folder)) is not None:
                if space.free >= free and not _too_few(space, INODES_GIVEN_BELOW):
                    return True
                files = self._files() if mine else []
                if not files:
                    return space.free >= free
                files[-1].unlink(missing_ok=True)
                self._settle()
            return True
        return False

    def _fill(self) -> None:
        """Make the files that the reserve lacks, while there is space for them."""
        with suppress(OSError), self._turn() as mine:
            while mine and (space := self._measure(self.folder)) is not None and self._wanted_files(space) > 0:
                self._make_file()

    def _wanted_files(self, space: FreeSpace) -> int:
        """How many files the reserve lacks and may have now; negative if it has more."""
        count = len(self._files())
        quarter = (space.free + count * RESERVE_FILE_SIZE) // 4
        inodes = RESERVE_FILE_COUNT if space.inodes is None else space.inodes - INODES_TAKEN_FROM
        return min(
            RESERVE_FILE_COUNT - count,
            quarter // RESERVE_FILE_SIZE - count,
            (space.free - CLEAR_WATER) // RESERVE_FILE_SIZE,
            inodes,
        )

    def _files(self) -> list[Path]:
        with suppress(FileNotFoundError, NotADirectoryError):
            return sorted(path for path in self._reserve.iterdir() if path.name.isdigit())
        return []

    def _make_file(self) -> None:
        """One more file. Raises OSError, and leaves nothing behind then."""
        taken = {path.name for path in self._files()}
        path = self._reserve / next(name for n in range(RESERVE_FILE_COUNT) if (name := f"{n:02d}") not in taken)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _preallocate(fd, RESERVE_FILE_SIZE)  # Not synced: what a power cut takes is made again.
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(fd)

    def _settle(self) -> None:
        """Let the file system finish a removal: some give space back only with their next transaction."""
        with suppress(OSError), opened_folder(self._reserve) as fd:
            _libc.syncfs(fd)

    @contextmanager
    def _turn(self, wait: bool = False) -> Iterator[bool]:
        """Whether it is this process's turn to change the reserve, by a lock on its folder."""
        with ExitStack() as entered:
            mine = False
            with suppress(OSError):  # No reserve, and none can be made, or another process has the lock.
                self._reserve.mkdir(mode=0o700, exist_ok=True)
                fd = entered.enter_context(opened_folder(self._reserve))
                if wait:
                    lock(fd)
                mine = wait or try_lock(fd)
            yield mine


def _too_few(space: FreeSpace, inodes: int) -> bool:
    return space.inodes is not None and space.inodes < inodes


def _preallocate(fd: int, size: int) -> None:
    """Take space for a file. Raises OSError, also if the file system cannot."""
    try:
        fallocate(fd, 0, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        os.pwrite(fd, os.urandom(size), 0)
