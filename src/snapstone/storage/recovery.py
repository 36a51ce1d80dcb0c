"""Brings the index of a segment store up to date with its files: from the checkpoints, or whole after loss.

Runs at start, in one process at a time. Only segments that no living process appends to are touched.

- What is lost is noted: the objects of a segment whose file is missing, cannot be read or has become shorter count as
  damaged until it is back (`segment.present_size`), and then it is searched from its checkpoint.
- A record that is found and that the index does not name may never have been synced, and a sync of it may have failed,
  which the kernel tells once. So it is written again, with the same bytes in the same place, and synced, before the
  index vouches for it. Not if the file ends with its last record: then each sync of its owner had succeeded.
- Nothing is destroyed. What is not a whole record of this version stays as it is, and new records come behind it; only
  stretches that read as zeros are given back to the file system.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from snapstone.core.blocks import Address
from snapstone.storage.appender import segment_numbers, segment_path
from snapstone.storage.contract import ObjectKind
from snapstone.storage.damage import DamageLog
from snapstone.storage.index import Index, NewRecord, RecordPlace, SegmentRow
from snapstone.storage.record import ALIGNMENT, HEADER_SIZE, BadRecordError, RecordHeader
from snapstone.storage.segment import (
    LOST_ERRORS,
    SEGMENT_HEADER_SIZE,
    UNFINISHED_SUFFIX,
    Scan,
    Segment,
    read_segment_header,
)
from snapstone.system.files import sync_folder

log = logging.getLogger(__name__)

RECORD_BATCH: Final = 1_000
"""Records that one sync and one index transaction of a recovery take."""

LEAST_ROOM: Final = 1 << 20
"""A segment with less space than this behind its last record is full."""


@dataclass(eq=False)
class StoreMissingError(Exception):
    """The segments that the index names are not there, none of them: the folder is not mounted, or is another one."""

    folder: Path
    segment_count: int

    def __str__(self) -> str:
        return (
            f"{self.folder} has none of the {self.segment_count} segments that the index lists; mount it, or put "
            "them back. If they are permanently lost, start once with --accept-lost-segments: their objects are "
            "reported as damaged until they are uploaded again"
        )


@dataclass(frozen=True, slots=True)
class OpenSegment:
    """A segment that is not full, owned by this process, and the offset to append at."""

    segment: Segment
    next_offset: int


class Recovery:
    """One check of all segments."""

    def __init__(self, index: Index, folder: Path, damage: DamageLog, *, segment_size: int, read_only: bool) -> None:
        self._index = index
        self._folder = folder
        self._damage = damage
        self._segment_size = segment_size
        self._read_only = read_only

    def run(self, accept_lost_segments: bool = False) -> list[OpenSegment]:
        """Look at every segment, and scan what a crash may have left out of the index; returns those to append to.

        Raises StoreMissingError if all segments that were there are gone, unless that is accepted, and OSError if the
        folder cannot be read.
        """
        rows = {row.segment_id: row for row in self._index.segments()}
        numbers = self._numbers(rows, accept_lost_segments)
        opened = []
        for number in numbers:
            row = rows.pop(number, None) or SegmentRow(number, SEGMENT_HEADER_SIZE, full=False)
            found = self._look_at(row)
            if found is not None:
                opened.append(found)
        known = {row.segment_id for row in self._index.segments()}
        for row in rows.values():
            if row.segment_id in known:  # else another process has removed it just now
                self._lose(row, "the segment's file is missing")
        return opened

    def _numbers(self, rows: dict[int, SegmentRow], accept_lost_segments: bool) -> list[int]:
        """The numbers of the segment files; the folder is made if the store is new."""
        there = {number for number, row in rows.items() if row.present_size != 0}
        try:
            numbers = segment_numbers(self._folder)
        except FileNotFoundError:
            numbers = []
        if there and not accept_lost_segments and there.isdisjoint(numbers):
            raise StoreMissingError(self._folder, len(there))
        if not self._read_only:
            if not self._folder.exists():
                self._folder.mkdir(parents=True, mode=0o700)
                sync_folder(self._folder.parent)
            for unfinished in self._folder.glob(f"*{UNFINISHED_SUFFIX}"):
                unfinished.unlink(missing_ok=True)
        return numbers

    def _look_at(self, row: SegmentRow) -> OpenSegment | None:
        """Note what of one segment is there, and search it unless it is full; returns it if it can be appended to."""
        path = segment_path(self._folder, row.segment_id)
        try:
            if row.full and row.present_size is None and _size_of(path) >= row.size:
                header_damage = read_segment_header(path)[1]  # the usual case: one check of its header
                if header_damage is not None:
                    self._damage.report_segment(path, header_damage)
                return None
            segment = Segment.open(path)
        except (BadRecordError, PermissionError) as error:
            self._lose(row, str(error))
            return None
        except OSError as error:
            if error.errno not in LOST_ERRORS:
                raise
            self._lose(row, str(error))
            return None
        if segment.header_damage is not None:
            self._damage.report_segment(path, segment.header_damage)
        if self._read_only:
            self._search(segment, row)
            return None
        if not segment.try_own():
            return None
        if segment.header_damage is not None:
            segment.mend_header()
        return self._bring_up_to_date(segment, row)

    def _bring_up_to_date(self, segment: Segment, row: SegmentRow) -> OpenSegment | None:
        """Search a segment that this process owns; returns it if it can be appended to."""
        is_short = self._is_short(segment, row)
        next_offset = self._search(segment, row)
        present_size = segment.size if is_short else None
        if present_size != row.present_size:
            self._index.set_present(row.segment_id, present_size)
        if next_offset is None:
            segment.disown()
            return None
        if is_short or row.full or next_offset + LEAST_ROOM > self._segment_size:
            self._index.set_full(row.segment_id, None if is_short else next_offset)
            segment.disown()
            return None
        return OpenSegment(segment, next_offset)

    def _is_short(self, segment: Segment, row: SegmentRow) -> bool:
        """Whether objects lie beyond the end of a segment's file, which is shorter than it was; reports it.

        A file that is shorter than was noted, and lacks nothing, was closed well just before a power cut.
        """
        size = segment.size
        if size >= max(row.size, row.checkpoint):
            return False
        lost_count = self._index.count_behind(row.segment_id, size)
        if lost_count:
            self._damage.report_segment(
                segment.path, f"the file ends at {size}: {lost_count} objects beyond that are lost"
            )
        return lost_count > 0

    def _lose(self, row: SegmentRow, why: str) -> None:
        """A segment is not there: its objects count as damaged until it is."""
        self._damage.report_segment(segment_path(self._folder, row.segment_id), why)
        self._index.add_segment(row.segment_id, row.checkpoint)
        self._index.set_present(row.segment_id, 0)

    def _search(self, segment: Segment, row: SegmentRow) -> int | None:
        """Index the records behind a checkpoint; returns where to append, None if the disk refuses."""
        self._index.add_segment(row.segment_id, row.checkpoint)
        scan = segment.scan(row.checkpoint)
        try:
            found_count = self._index_found(segment, scan)
            self._give_back(segment, scan)
        except OSError as error:
            if self._read_only:
                raise
            self._damage.report_segment(segment.path, f"not all of its records could be synced again: {error}")
            return None
        for offset, size in scan.unreadable:
            self._damage.report_segment(segment.path, f"{size} bytes at {offset} cannot be read")
        self._index.add([], {row.segment_id: scan.end})
        if found_count:
            log.warning("records recovered", extra={"fields": {"segment": row.segment_id, "count": found_count}})
        return scan.end

    def _index_found(self, segment: Segment, scan: Scan) -> int:
        """Index what a scan finds and the index does not name; returns how many records that were."""
        found_count = 0
        records = iter(scan)
        must_rewrite = not self._read_only and not _ends_with_its_last_record(segment)
        while batch := list(islice(_named(segment, records), RECORD_BATCH)):
            news = [record for record in batch if not self._is_at(record)]
            if must_rewrite and news:
                for record in news:
                    segment.rewrite(record.offset, record.record_size)
                segment.sync()
            duplicates = self._index.add(news, {})
            self._erase(segment, [duplicate for duplicate in duplicates if self._is_second(segment, duplicate)])
            found_count += len(news) - len(duplicates)
        return found_count

    def _is_at(self, record: NewRecord) -> bool:
        """Whether the index names this very record as sound."""
        place = self._index.find(record.address)
        return place is not None and not place.damaged and _stands_at(place, record)

    def _is_second(self, segment: Segment, found: NewRecord) -> bool:
        """Whether a record is not needed, because the one that the index names is whole. Else it takes its place.

        The index may have lost the commit that called its record damaged and put this one in its place.
        """
        place = self._index.find(found.address)
        if place is None or _stands_at(place, found):
            return False
        if _is_whole(segment.path.parent, found.address, place):
            return True
        self._index.mark_damaged(found.address, place)
        self._index.add([found], {})
        return False

    def _erase(self, segment: Segment, seconds: list[NewRecord]) -> None:
        """Erase second records, so that none is found again when the object has been removed."""
        if self._read_only or not seconds:
            return
        try:
            for record in seconds:
                segment.erase(record.offset)
            segment.sync()
        except OSError:
            self._index.note_leftovers([record for record in seconds if record.kind is ObjectKind.MANIFEST])
            return
        for record in seconds:
            with suppress(OSError):
                segment.punch(record.offset, record.record_size)

    def _give_back(self, segment: Segment, scan: Scan) -> None:
        """Let the file system have the stretches of zeros before the last record."""
        if not self._read_only:
            for offset, size in scan.gaps:
                with suppress(OSError):
                    segment.punch(offset, size)


def _named(segment: Segment, records: Iterator[tuple[int, RecordHeader]]) -> Iterator[NewRecord]:
    """Records of a scan as the index takes them."""
    for offset, header in records:
        yield NewRecord(
            header.address, header.kind, segment.segment_id, offset, header.payload_size, header.stored_at_ms
        )


def _stands_at(place: RecordPlace, record: NewRecord) -> bool:
    return (place.segment_id, place.offset) == (record.segment_id, record.offset)


def _size_of(path: Path) -> int:
    """Size of a file in bytes, -1 if unknown."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _ends_with_its_last_record(segment: Segment) -> bool:
    """Whether the owner closed the file well: it cuts it to its last record then, and never otherwise."""
    size = segment.size
    if size % ALIGNMENT or size <= SEGMENT_HEADER_SIZE:
        return size == SEGMENT_HEADER_SIZE
    last = segment.scan(size - ALIGNMENT)
    for _ in last:
        pass
    return last.end == size and not last.gaps


def _is_whole(folder: Path, address: Address, place: RecordPlace) -> bool:
    try:
        segment = Segment.open(segment_path(folder, place.segment_id))
        header = segment.read(place.offset, memoryview(bytearray(HEADER_SIZE + place.payload_size)))
    except (BadRecordError, OSError):
        return False
    return header.address == address
