"""The writing half of a segment store: reserves places, writes records, and makes them durable in groups.

A put becomes durable in `Appender._commit`: one `fdatasync` and one index transaction for all records that wait.
Writers reserve their places before they write, so behind the checkpoint a crash leaves gaps and torn records anywhere;
the checkpoint never passes a place that is reserved and not yet committed.

A failed sync is final. Whatever was written to the segment before it or while it lasted may never reach the disk, and
no later sync tells so. So a segment whose sync has failed takes no more commits, even from writers with a reserved
place in it: SegmentFailedError tells the writer to write its record again, into another segment. A segment that was
closed well ends with its last record; one that has failed does not, so that recovery tells them apart (`recovery.py`).
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from snapstone.core.errors import ReadOnlyError, StoreFullError
from snapstone.core.group_commit import GroupCommit
from snapstone.storage.index import Index, NewRecord
from snapstone.storage.record import ALIGNMENT
from snapstone.storage.segment import SALT_SIZE, SEGMENT_HEADER_SIZE, Segment

log = logging.getLogger(__name__)

SEGMENT_FILES: Final = "[0-9]" * 8 + ".segment"
"""How the names of segment files look; other files in their folder are left alone."""

SMALLEST_SEGMENT_SIZE: Final = 8 << 20
"""If the disk is nearly full, segments are tried down to this size before a put is refused."""

NO_SPACE_ERRORS: Final = frozenset((errno.ENOSPC, errno.EDQUOT))
"""Errors that mean that the file system, or its owner's share of it, is full."""

END_GAP: Final = ALIGNMENT
"""Zeros that follow the last record of a segment that is in use, was left by a crash, or had a sync that failed: only a
segment that was closed well ends with its last record."""

CHECKPOINT_INTERVAL: Final = 64 << 20
"""Bytes that a recovery may have to search behind the checkpoint of a segment: it is moved no more often than that."""


@dataclass(eq=False)
class _Tail:
    """The segment that is appended to now, and what is under way in it."""

    segment: Segment
    next_offset: int
    size: int
    noted_checkpoint: int
    """The checkpoint that the index has."""
    reserved: set[int] = field(default_factory=set)
    """Offsets of places handed out and not yet committed or given up."""
    failure: OSError | None = None
    """The sync that failed: nothing in this segment is committed any more."""

    @property
    def checkpoint(self) -> int:
        return min(self.reserved, default=self.next_offset)


class Reservation:
    """A place to write to, `offset` in `segment`; given up at the end of a `with` block."""

    __slots__ = ("_lock", "offset", "segment", "tail")

    def __init__(self, tail: _Tail, offset: int, lock: Lock) -> None:
        self.tail = tail
        self.segment = tail.segment
        self.offset = offset
        self._lock = lock

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.tail.reserved.discard(self.offset)


@dataclass(eq=False)
class SegmentFailedError(Exception):
    """The segment of a written record cannot be relied on: the record is to be written again, into another one."""

    cause: OSError


class Space(Protocol):
    """The space that is left for segments (`space.py`)."""

    def refuse_block_if_low(self) -> None:
        """Raises StoreFullError while there is too little space for blocks."""

    def largest_segment(self, wanted: int, *, essential: bool = False) -> int:
        """How large a new segment may be, `wanted` at most, so that the rest of the server keeps its space; 0: none."""


class UnwatchedSpace:
    """Leaves it to the file system."""

    def refuse_block_if_low(self) -> None:
        """Never."""

    def largest_segment(self, wanted: int, *, essential: bool = False) -> int:
        """All that is wanted."""
        return wanted


@dataclass(frozen=True, slots=True)
class _Written:
    """Records written to their places, not yet durable."""

    reservation: Reservation
    records: tuple[NewRecord, ...]


class Appender:
    """Appends for one process, into a segment that it owns. Safe from many threads."""

    def __init__(
        self,
        index: Index,
        folder: Path,
        segment_size: int,
        random_bytes: Callable[[int], bytes],
        checkpoint_interval: int = CHECKPOINT_INTERVAL,
        space: Space | None = None,
    ) -> None:
        self._space = space or UnwatchedSpace()
        self._checkpoint_interval = checkpoint_interval
        self._index = index
        self._folder = folder
        self._segment_size = segment_size
        self._random_bytes = random_bytes
        self._lock = Lock()
        self._tail: _Tail | None = None
        self._retired: list[_Tail] = []
        self._group: GroupCommit[_Written, list[NewRecord]] = GroupCommit(self._commit)

    def adopt(self, segment: Segment, next_offset: int) -> None:
        """Append to a segment that this process owns and an earlier one left."""
        size = max(self._space.largest_segment(self._segment_size), next_offset)
        try:
            segment.preallocate(next_offset, size)
        except OSError:
            size = next_offset  # a full disk can still be read from; the next put looks for space again
        self._index.set_size(segment.segment_id, size)
        self._tail = _Tail(segment, next_offset, size, next_offset)

    def reserve(self, size: int, *, essential: bool = False) -> Reservation:
        """A place for `size` aligned bytes, to be used in a `with` block; essential is what blocks leave space for.

        Raises StoreFullError if that takes a new segment and there is no space for one.
        """
        with self._lock:
            tail = self._tail
            if tail is None or tail.next_offset + size > tail.size - END_GAP:
                tail = self._roll(size, essential)
            offset = tail.next_offset
            tail.next_offset += size
            tail.reserved.add(offset)
        return Reservation(tail, offset, self._lock)

    def commit(self, reservation: Reservation, records: Sequence[NewRecord]) -> list[NewRecord]:
        """Make written records durable and known; returns those that another process had stored meanwhile.

        Raises SegmentFailedError if they are to be written again into another segment.
        """
        return self._group.submit(_Written(reservation, tuple(records)))

    def close(self) -> None:
        """Give back the space that was reserved beyond the last record, and let another process append."""
        with self._lock:
            tail, self._tail = self._tail, None
        if tail is not None:
            self._finish(tail)

    def _commit(self, batch: Sequence[_Written]) -> list[list[NewRecord] | BaseException]:
        """One sync for each segment in the batch (nearly always one), then one index transaction for all records."""
        tails = {written.reservation.tail for written in batch}
        for tail in tails:
            if tail.failure is None:
                self._sync(tail)
        durable = [written for written in batch if written.reservation.tail.failure is None]
        records = [record for written in durable for record in written.records]
        duplicates = self._index.add(records, self._checkpoints(durable))
        if self._retired:
            self._finish_retired()
        return [
            SegmentFailedError(written.reservation.tail.failure)
            if written.reservation.tail.failure is not None
            else [record for record in duplicates if record in written.records]
            for written in batch
        ]

    def _sync(self, tail: _Tail) -> None:
        """Sync a segment, or note that it can never be relied on again."""
        try:
            tail.segment.sync()
            if not tail.segment.is_in_place:
                raise OSError(errno.ENOENT, "the segment's file disappeared", str(tail.segment.path))
        except OSError as error:
            tail.failure = error
            self._retire(tail)
            log.error(
                "segment failed; unacknowledged records are written to another one",
                extra={"fields": {"segment": tail.segment.segment_id, "why": str(error)}},
            )

    def _checkpoints(self, batch: Sequence[_Written]) -> dict[int, int]:
        """How far each segment of the batch is known once the batch's records are in the index, if that is news."""
        with self._lock:
            for written in batch:
                written.reservation.tail.reserved.discard(written.reservation.offset)
            tails = {written.reservation.tail for written in batch}
            due = [tail for tail in tails if tail.checkpoint - tail.noted_checkpoint >= self._checkpoint_interval]
            for tail in due:
                tail.noted_checkpoint = tail.checkpoint
            return {tail.segment.segment_id: tail.checkpoint for tail in due}

    def _roll(self, size: int, essential: bool) -> _Tail:
        """Leave the segment in use and start a new one; the lock is held."""
        tail = self._create(size, essential)  # if there is no space, what is left of the one in use still serves pages
        if self._tail is not None:
            self._retired.append(self._tail)
        self._tail = tail
        return tail

    def _create(self, size: int, essential: bool) -> _Tail:
        """A new segment with space for `size` bytes, as large as the disk has space for."""
        smallest = SEGMENT_HEADER_SIZE + size + END_GAP
        if not essential:
            smallest = max(smallest, SMALLEST_SEGMENT_SIZE)
        wanted = self._space.largest_segment(max(self._segment_size, smallest), essential=essential)
        if wanted < smallest:
            raise StoreFullError("no space left for another segment")
        try:
            segment = self._create_file()
        except OSError as error:
            raise full(error) from error
        try:
            reserved = self._preallocate(segment, wanted, smallest)
            self._index.add_segment(segment.segment_id, SEGMENT_HEADER_SIZE, reserved)
        except BaseException:
            segment.path.unlink()  # what it took is given back
            raise
        return _Tail(segment, SEGMENT_HEADER_SIZE, reserved, SEGMENT_HEADER_SIZE)

    def _preallocate(self, segment: Segment, wanted: int, smallest: int) -> int:
        """Reserve as much of `wanted` bytes as the disk has; returns how much."""
        while True:
            try:
                segment.preallocate(SEGMENT_HEADER_SIZE, wanted)
            except OSError as error:
                wanted //= 2
                if wanted < smallest or error.errno not in NO_SPACE_ERRORS:
                    raise full(error) from error
            else:
                return wanted

    def _create_file(self) -> Segment:
        """A new, owned segment file, with a number that neither a file nor the index has known."""
        known = segment_numbers(self._folder)
        known += [row.segment_id for row in self._index.segments()]
        number = max(known, default=0)
        while True:
            number += 1
            try:
                segment = Segment.create(segment_path(self._folder, number), number, self._random_bytes(SALT_SIZE))
            except FileExistsError:
                continue
            if segment.try_own():
                return segment

    def _retire(self, tail: _Tail) -> None:
        """Append no more to a segment whose sync failed."""
        with self._lock:
            if self._tail is tail:
                self._retired.append(tail)
                self._tail = None

    def _finish_retired(self) -> None:
        """Close the segments that were left and have nothing under way any more."""
        with self._lock:
            finished = [tail for tail in self._retired if not tail.reserved]
            self._retired = [tail for tail in self._retired if tail.reserved]
        for tail in finished:
            self._finish(tail, full=True)

    def _finish(self, tail: _Tail, full: bool = False) -> None:
        """Cut a segment to its last record, note how far it is known, and let another process append to it."""
        segment_id, end = tail.segment.segment_id, tail.next_offset
        if tail.failure is None:
            try:
                tail.segment.truncate(end)
                tail.segment.sync()
            except OSError as error:
                tail.failure = error
        if tail.failure is not None:
            self._index.set_full(segment_id)
            with suppress(OSError):  # if it stays as it is, it does not end with its last record either
                tail.segment.truncate(end + END_GAP)
        elif full:
            self._index.set_full(segment_id, end)
        else:
            self._index.set_size(segment_id, end, tail.checkpoint)
        tail.segment.disown()


def segment_path(folder: Path, segment_id: int) -> Path:
    """Where a segment's file is."""
    return folder / f"{segment_id:08d}.segment"


def segment_numbers(folder: Path) -> list[int]:
    """The numbers of the segment files in a folder, in order. Raises OSError if the folder cannot be read."""
    names = os.listdir(folder)
    return sorted(int(name[:8]) for name in names if fnmatch(name, SEGMENT_FILES))


def full(error: OSError) -> Exception:
    """StoreFullError for an error that means "no space left", ReadOnlyError for one of a file system that
    takes no changes, else the error itself."""
    if error.errno in NO_SPACE_ERRORS:
        return StoreFullError(str(error))
    if error.errno == errno.EROFS:
        return ReadOnlyError()
    return error
