"""The writing half of a segment store: reserves places, writes records, and makes them durable in groups.

A put becomes durable in `Appender._commit`: one `fdatasync` and one index transaction for all records that wait.
Writers reserve their places before they write, so behind the checkpoint a crash leaves gaps and torn records anywhere;
the checkpoint never passes a place that is reserved and not yet committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final

from snapstone.core.errors import StoreFullError
from snapstone.core.group_commit import GroupCommit
from snapstone.storage.index import Index, NewRecord
from snapstone.storage.segment import SALT_SIZE, SEGMENT_HEADER_SIZE, Segment

SEGMENT_FILES: Final = "[0-9]" * 8 + ".segment"
"""How the names of segment files look; other files in their folder are left alone."""

SMALLEST_SEGMENT_SIZE: Final = 8 << 20
"""Where the disk is nearly full, segments are tried down to this size before a put is refused."""


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


@dataclass(frozen=True, slots=True)
class _Written:
    """Records that stand in their place, not yet durable."""

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
    ) -> None:
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
        size = max(self._segment_size, next_offset)
        try:
            segment.preallocate(next_offset, size)
        except OSError:
            size = next_offset  # a full disk can still be read from; the next put looks for space anew
        self._tail = _Tail(segment, next_offset, size, next_offset)

    def reserve(self, size: int) -> Reservation:
        """A place for `size` aligned bytes, to be used in a `with` block. Raises StoreFullError."""
        with self._lock:
            tail = self._tail
            if tail is None or tail.next_offset + size > tail.size:
                tail = self._roll(size)
            offset = tail.next_offset
            tail.next_offset += size
            tail.reserved.add(offset)
        return Reservation(tail, offset, self._lock)

    def commit(self, reservation: Reservation, records: Sequence[NewRecord]) -> list[NewRecord]:
        """Make written records durable and known; returns those that another process had stored meanwhile."""
        return self._group.submit(_Written(reservation, tuple(records)))

    def close(self) -> None:
        """Give back the space that was reserved beyond the last record, and let another process append."""
        with self._lock:
            tail, self._tail = self._tail, None
        if tail is not None:
            tail.segment.truncate(tail.next_offset)
            tail.segment.sync()
            self._index.add([], {tail.segment.segment_id: tail.checkpoint})
            tail.segment.disown()

    def _commit(self, batch: Sequence[_Written]) -> list[list[NewRecord] | BaseException]:
        """One sync for each segment in the batch (nearly always one), then one index transaction for all records."""
        failed: dict[_Tail, OSError] = {}
        for tail in {written.reservation.tail for written in batch}:
            try:
                tail.segment.sync()
            except OSError as error:
                failed[tail] = error
                self._retire(tail)
        durable = [written for written in batch if written.reservation.tail not in failed]
        records = [record for written in durable for record in written.records]
        duplicates = self._index.add(records, self._checkpoints(durable))
        if self._retired:
            self._finish_retired()
        return [
            failed.get(written.reservation.tail) or [record for record in duplicates if record in written.records]
            for written in batch
        ]

    def _checkpoints(self, batch: Sequence[_Written]) -> dict[int, int]:
        """How far each segment of the batch is known once the batch's records are in the index, where that is news."""
        with self._lock:
            for written in batch:
                written.reservation.tail.reserved.discard(written.reservation.offset)
            tails = {written.reservation.tail for written in batch}
            due = [tail for tail in tails if tail.checkpoint - tail.noted_checkpoint >= self._checkpoint_interval]
            for tail in due:
                tail.noted_checkpoint = tail.checkpoint
            return {tail.segment.segment_id: tail.checkpoint for tail in due}

    def _roll(self, size: int) -> _Tail:
        """Leave the segment in use and start a new one; the lock is held."""
        if self._tail is not None:
            self._retired.append(self._tail)
            self._tail = None
        self._tail = self._create(size)
        return self._tail

    def _create(self, size: int) -> _Tail:
        """A new segment, as large as the disk has room for."""
        segment = self._create_file()
        wanted = self._segment_size
        while True:
            try:
                segment.preallocate(SEGMENT_HEADER_SIZE, wanted)
                break
            except OSError as error:
                wanted //= 2
                if wanted < max(SMALLEST_SEGMENT_SIZE, SEGMENT_HEADER_SIZE + size):
                    segment.path.unlink()
                    raise StoreFullError(f"no space for another segment: {error}") from error
        self._index.add_segment(segment.segment_id, SEGMENT_HEADER_SIZE)
        return _Tail(segment, SEGMENT_HEADER_SIZE, wanted, SEGMENT_HEADER_SIZE)

    def _create_file(self) -> Segment:
        """A new, owned segment file, with a number that neither a file nor the index has known."""
        known = [int(path.stem) for path in self._folder.glob(SEGMENT_FILES)]
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
        """Append no more to a segment whose sync failed: what it holds beyond its checkpoint cannot be relied on."""
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
            tail.segment.truncate(tail.next_offset)
            self._index.set_full(tail.segment.segment_id)
            tail.segment.disown()


def segment_path(folder: Path, segment_id: int) -> Path:
    """Where a segment's file is."""
    return folder / f"{segment_id:08d}.segment"
