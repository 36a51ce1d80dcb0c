"""Brings the index of a segment store up to date with its records: from the checkpoints, or whole after loss.

Runs at start, in one process at a time. Only segments that no living process appends to are touched.
"""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path
from typing import Final

from snapstone.core.blocks import Address
from snapstone.storage.appender import SEGMENT_FILES, segment_path
from snapstone.storage.damage import DamageLog
from snapstone.storage.index import Index, NewRecord, Place
from snapstone.storage.record import HEADER_SIZE, BadRecordError
from snapstone.storage.segment import SEGMENT_HEADER_SIZE, UNFINISHED_SUFFIX, Segment

log = logging.getLogger(__name__)

RECORD_BATCH: Final = 1_000
"""Records that one index transaction of a recovery takes."""


def recover(index: Index, folder: Path, damage: DamageLog) -> list[tuple[Segment, int]]:
    """Scan what a crash may have left out of the index.

    Returns the segments that are not full, now owned by this process, each with the offset to append at.
    """
    for unfinished in folder.glob(f"*{UNFINISHED_SUFFIX}"):
        unfinished.unlink(missing_ok=True)
    rows = {row.segment_id: row for row in index.segments()}
    open_segments = []
    for path in sorted(folder.glob(SEGMENT_FILES)):
        row = rows.pop(int(path.stem), None)
        if row is not None and row.full:
            continue
        try:
            segment = Segment.open(path)
        except BadRecordError as error:
            damage.report_segment(path, str(error))
            continue
        if segment.header_damage is not None:
            damage.report_segment(path, segment.header_damage)
        if segment.try_own():
            if segment.header_damage is not None:
                segment.mend_header()
            checkpoint = SEGMENT_HEADER_SIZE if row is None else row.checkpoint
            open_segments.append((segment, _scan(index, segment, checkpoint)))
    known = {row.segment_id for row in index.segments()}
    for row in rows.values():
        if row.segment_id not in known:
            continue  # another process has removed it just now
        damage.report_segment(segment_path(folder, row.segment_id), "the segment's file is missing")
        index.set_full(row.segment_id)  # stays known, so that its number is never given to another
    return open_segments


def _scan(index: Index, segment: Segment, checkpoint: int) -> int:
    """Index the records behind a checkpoint and give back the gaps between them; returns where to append."""
    index.add_segment(segment.segment_id, checkpoint)
    segment.sync()  # a killed process may have left records unsynced, and the index vouches for what it names
    records, end, found_count = segment.scan(checkpoint), checkpoint, 0
    while batch := list(islice(records, RECORD_BATCH)):
        duplicates = index.add(
            [
                NewRecord(h.address, h.kind, segment.segment_id, offset, h.payload_size, h.stored_at_ms)
                for offset, h in batch
            ],
            {},
        )
        for offset, header in batch:
            if offset > end:
                segment.punch(end, offset - end)
            end = offset + header.record_size
        for duplicate in duplicates:
            _settle(index, segment, duplicate)
        found_count += len(batch) - len(duplicates)
    written_end = segment.end_of_data()
    if written_end > end:
        segment.punch(end, written_end - end)
    index.add([], {segment.segment_id: max(end, written_end)})
    if found_count:
        log.warning("records recovered", extra={"fields": {"segment": segment.segment_id, "count": found_count}})
    return max(end, written_end)


def _settle(index: Index, segment: Segment, found: NewRecord) -> None:
    """Keep one of two records of an object: the one that the index names, unless only the one just found is whole.

    The index may have lost the commit that called its record damaged and put this one in its place.
    """
    place = index.find(found.address)
    if place is not None and not _is_whole(segment.path.parent, found.address, place):
        index.mark_damaged(found.address, place)
        index.add([found], {})
    else:
        segment.punch(found.offset, found.record_size)


def _is_whole(folder: Path, address: Address, place: Place) -> bool:
    try:
        segment = Segment.open(segment_path(folder, place.segment_id))
        header = segment.read(place.offset, memoryview(bytearray(HEADER_SIZE + place.payload_size)))
    except (BadRecordError, OSError):
        return False
    return header.address == address
