"""The local object store: records in segments, found by an index. The default implementation of the contract."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import Final

from snapstone.core.blocks import Address, Digest, digest_of
from snapstone.core.data_key import DataKey
from snapstone.core.errors import DamageError, KeyHiddenError, ReadOnlyError
from snapstone.storage.appender import (
    Appender,
    Reservation,
    SegmentFailedError,
    Space,
    UnwatchedSpace,
    full,
    segment_numbers,
    segment_path,
)
from snapstone.storage.contract import BlockBuffer, Encryption, FindDataKey, ObjectEntry, ObjectKind
from snapstone.storage.damage import DamageLog
from snapstone.storage.index import Index, NewRecord, RecordPlace, is_index, remove_index
from snapstone.storage.record import (
    HEADER_SIZE,
    BadRecordError,
    BufferPool,
    RecordBuffer,
    RecordCodec,
    RecordHeader,
    Seal,
    SealBrokenError,
    aligned_buffer,
    record_size,
)
from snapstone.storage.recovery import OpenSegment, Recovery
from snapstone.storage.segment import LOST_ERRORS, SEGMENT_SIZE, Segment, read_segment_header
from snapstone.system.files import opened
from snapstone.system.locks import lock

OPEN_SEGMENTS: Final = 128
"""Segment files that are kept open for reading, with two descriptors each."""

PUT_ATTEMPTS: Final = 2
"""Segments that a record is written to before its put fails, if the sync of the first fails."""

BATCH_COUNT: Final = 256
"""Small objects that `put_many` writes at once, with one sync: 6 MiB if all are pages."""

_Read = Callable[[Segment, int, memoryview], RecordHeader]
_Write = Callable[[Reservation], list[NewRecord]]
"""Completes records for a place and writes them there."""


def _no_data_key(data_key_id: bytes) -> DataKey:
    """Of a store that is opened without keys."""
    raise KeyHiddenError


class SegmentStore:
    """Implements storage.contract.ObjectStore on a folder of a local file system."""

    def __init__(
        self,
        folder: Path,
        *,
        now_ms: Callable[[], int],
        block_buffers: int,
        segment_size: int = SEGMENT_SIZE,
        random_bytes: Callable[[int], bytes] = os.urandom,
        find_data_key: FindDataKey = _no_data_key,
        space: Space | None = None,
        accept_lost_segments: bool = False,
        read_only: bool = False,
        index_folder: Path | None = None,
    ) -> None:
        """Open or make a store, and bring its index up to date with its records.

        A read-only store writes nothing but its index, which may lie elsewhere (`index_folder`). Raises
        StoreMissingError if every segment is gone and that is not accepted, and IndexVersionError.
        """
        self._space = space or UnwatchedSpace()
        self._read_only = read_only
        self._random_bytes = random_bytes
        self._codec = RecordCodec(random_bytes, find_data_key, now_ms)
        self._segments_folder = folder / "segments"
        self._buffers = BufferPool(block_buffers)
        self._damage = DamageLog(folder / "damage.jsonl", now_ms)
        self._open_segments: OrderedDict[int, Segment] = OrderedDict()
        self._open_lock = Lock()
        self._in_flight: dict[Address, Lock] = {}
        self._looked_through_ns: int | None = None
        index_folder = index_folder or folder
        index_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _one_at_a_time(index_folder / "recovery.lock"):
            index_path = index_folder / "index.db"
            if not is_index(index_path):
                remove_index(index_path)
            self._index = Index(index_path)
            try:
                self._recover(segment_size, accept_lost_segments)
            except BaseException:
                self._index.close()
                raise

    def _recover(self, segment_size: int, accept_lost_segments: bool) -> None:
        recovery = Recovery(
            self._index,
            self._segments_folder,
            self._damage,
            segment_size=segment_size,
            read_only=self._read_only,
        )
        opened = recovery.run(accept_lost_segments)
        self._appender = Appender(
            self._index, self._segments_folder, segment_size, self._random_bytes, space=self._space
        )
        self._adopt(opened)

    # -- writing --

    def borrow_block_buffer(self) -> RecordBuffer:
        """A buffer from a bounded pool. Raises OverloadedError if none comes free in time, StoreFullError if the disk
        has no space for blocks."""
        self._space.refuse_block_if_low()
        return self._buffers.borrow()

    def put_block(self, address: Address, buffer: BlockBuffer, encryption: Encryption | None = None) -> bool:
        """Store the block in a buffer of this store; True if it was written, False if it was already there."""
        if not isinstance(buffer, RecordBuffer):
            raise TypeError("the buffer is not of this store")
        self._require_writable()
        turn = self._take_turn(address)
        try:
            return self._put_block(address, buffer, encryption)
        finally:
            self._end_turn(address, turn)

    def put_many(
        self, kind: ObjectKind, objects: Iterable[tuple[Address, bytes]], data_key: DataKey | None = None
    ) -> int:
        """Store small objects; returns how many were new."""
        self._require_writable()
        remaining, stored_count = iter(objects), 0
        while batch := list(islice(remaining, BATCH_COUNT)):
            missing = self._index.find_missing([address for address, _ in batch])
            new = {address: payload for address, payload in batch if address in missing}
            stored_count += self._put_batch(kind, new, data_key)
        return stored_count

    def remove(self, addresses: Iterable[Address]) -> int:
        """Permanently remove objects that nobody puts or reads any more; return how many existed.

        Their records are overwritten, durably, so that no search of the segments finds them again. Then the index
        forgets them, durably too, and their space is given back.
        """
        self._require_writable()
        addresses = list(addresses)
        with no_space_is_store_full():
            standing = [place for place in map(self._index.find, addresses) if place is not None]
            leftovers = {address: found for address in addresses if (found := self._index.leftovers(address))}
            self._erase([(place.segment_id, place.offset) for place in standing], *leftovers.values())
        if leftovers:
            self._index.forget_leftovers(leftovers)
        places = self._index.remove(addresses)
        for place in places:
            self._punch(place)
        self._remove_empty_segments({place.segment_id for place in places})
        return len(places)

    # -- reading --

    def get(self, kind: ObjectKind, address: Address) -> bytes:
        """The payload of an object. Raises DamageError if it is missing or not what was written."""
        place = self._place(kind, address)
        record = memoryview(bytearray(HEADER_SIZE + place.payload_size))
        header, place = self._read(kind, address, place, record, Segment.read)
        self._open(header, place, record[HEADER_SIZE:])
        return bytes(record[HEADER_SIZE:])

    def get_block(self, address: Address) -> RecordBuffer:
        """A block in a buffer that the caller releases. Raises DamageError, OverloadedError, KeyHiddenError."""
        place = self._place(ObjectKind.BLOCK, address)
        buffer = self._buffers.borrow()
        try:
            header, place = self._read(ObjectKind.BLOCK, address, place, buffer.record, Segment.read_aligned)
            buffer.digest = self._open(header, place, buffer.payload)
        except BaseException:
            buffer.release()
            raise
        return buffer

    def has(self, address: Address) -> bool:
        """Whether an object of this address can be read, according to the index."""
        place = self._index.find(address)
        return place is not None and not place.damaged

    def walk(self) -> Iterator[ObjectEntry]:
        """Every stored object."""
        return self._index.walk()

    def manifests(self) -> Iterator[Address]:
        """The address of every manifest."""
        return self._index.manifests()

    def manifest_count(self) -> int:
        """How many manifests there are."""
        return self._index.manifest_count()

    def note_lost_segments(self) -> None:
        """Note segments whose files were taken away under the running server: puts of their objects store them again.

        To be called every second; unless files have come or gone since the last call it costs one `stat`. Raises
        OSError if the folder cannot be read.
        """
        changed_ns = os.stat(self._segments_folder).st_mtime_ns
        if self._read_only or changed_ns == self._looked_through_ns:
            return
        there = set(segment_numbers(self._segments_folder))
        for row in self._index.segments():
            if row.segment_id not in there and row.present_size != 0 and self._note_loss(row.segment_id):
                path = segment_path(self._segments_folder, row.segment_id)
                self._damage.report_segment(path, "the segment's file disappeared")
        self._looked_through_ns = changed_ns

    @property
    def turn(self) -> int | None:
        """As `Index.turn`."""
        return self._index.turn

    @property
    def awaits_turn(self) -> bool:
        """As `Index.awaits_turn`."""
        return self._index.awaits_turn

    def close(self) -> None:
        """Close files and connections; space reserved beyond the last record is released."""
        self._appender.close()
        self._index.close()
        with self._open_lock:
            self._open_segments.clear()

    # -- how --

    def _put_block(self, address: Address, buffer: RecordBuffer, encryption: Encryption | None) -> bool:
        """Write a block, unless an undamaged record of it exists."""
        place = self._index.find(address)
        if place is not None and not place.damaged:
            return False
        seal = self._codec.seal(ObjectKind.BLOCK, address, buffer.payload, encryption)

        def write(reservation: Reservation) -> list[NewRecord]:
            return [self._write(reservation, buffer.record, ObjectKind.BLOCK, address, buffer.payload, seal)]

        duplicates = self._append(len(buffer.record), write)
        if place is not None:
            self._punch(place)
        return not duplicates

    def _append(self, size: int, write: _Write, *, essential: bool = False) -> list[NewRecord]:
        """Write records into a place of `size` bytes and make them durable; returns those that were there already.

        They are written again if their segment fails. Raises the OSError of the last segment.
        """
        for attempt in range(PUT_ATTEMPTS):
            try:
                with self._appender.reserve(size, essential=essential) as reservation:
                    records = write(reservation)
                    try:
                        duplicates = self._appender.commit(reservation, records)
                    except SegmentFailedError as error:
                        self._abandon(reservation, records)
                        if attempt + 1 == PUT_ATTEMPTS:
                            raise error.cause from error
                        continue
                    self._give_back(reservation, duplicates)
                    return duplicates
            except OSError as error:
                raise full(error) from error
        raise AssertionError("the last attempt returns or raises")

    def _adopt(self, opened: list[OpenSegment]) -> None:
        """Append to the emptiest segment that an earlier process left; leave the others to other processes."""
        if not opened:
            return
        opened.sort(key=lambda each: each.next_offset)
        self._appender.adopt(opened[0].segment, opened[0].next_offset)
        for each in opened[1:]:
            each.segment.disown()

    def _require_writable(self) -> None:
        if self._read_only:
            raise ReadOnlyError

    def _take_turn(self, address: Address) -> Lock:
        """Let one thread at a time store an address: the others then find it stored. Ended by `_end_turn`."""
        mine = Lock()
        mine.acquire()
        while (other := self._in_flight.setdefault(address, mine)) is not mine:
            with other:
                pass  # the other thread has ended its turn
        return mine

    def _end_turn(self, address: Address, turn: Lock) -> None:
        del self._in_flight[address]
        turn.release()

    def _open(self, header: RecordHeader, place: RecordPlace, payload: memoryview) -> Digest:
        """As RecordCodec.open. Raises DamageError if the payload is not what was sealed."""
        try:
            return self._codec.open(header, payload)
        except SealBrokenError as error:
            raise self._damaged(header.address, place, error) from error

    def _write(
        self,
        reservation: Reservation,
        record: memoryview,
        kind: ObjectKind,
        address: Address,
        payload: memoryview,
        seal: Seal | None,
    ) -> NewRecord:
        """Complete a record's header for its place, and write it there."""
        segment, offset = reservation.segment, reservation.offset
        stored_at_ms = self._codec.write_header(record[:HEADER_SIZE], segment.key(offset), kind, address, payload, seal)
        segment.write(offset, record)
        return NewRecord(address, kind, segment.segment_id, offset, len(payload), stored_at_ms)

    def _put_batch(self, kind: ObjectKind, objects: dict[Address, bytes], data_key: DataKey | None) -> int:
        """Write small objects side by side with one write and one sync."""
        if not objects:
            return 0
        total = sum(record_size(len(payload)) for payload in objects.values())
        buffer = aligned_buffer(total)
        stored: list[tuple[Address, int, memoryview, Seal | None]] = []
        start = 0
        for address, payload in objects.items():
            view = buffer[start + HEADER_SIZE : start + HEADER_SIZE + len(payload)]
            view[:] = payload
            encryption = None if data_key is None else Encryption(data_key, digest_of(payload))
            seal = self._codec.seal(kind, address, view, encryption)
            stored.append((address, start, view, seal))
            start += record_size(len(payload))

        def write(reservation: Reservation) -> list[NewRecord]:
            segment, records = reservation.segment, []
            for address, start, view, seal in stored:
                offset, header = reservation.offset + start, buffer[start : start + HEADER_SIZE]
                stored_at_ms = self._codec.write_header(header, segment.key(offset), kind, address, view, seal)
                records.append(NewRecord(address, kind, segment.segment_id, offset, len(view), stored_at_ms))
            segment.write(reservation.offset, buffer)
            return records

        return len(stored) - len(self._append(total, write, essential=True))

    def _abandon(self, reservation: Reservation, records: list[NewRecord]) -> None:
        """Erase records of a segment that failed: they were never acknowledged and are written again elsewhere.

        A search that found it after the object was removed would bring the object back. A manifest that the disk
        refuses to erase is noted, and erased before it is removed: of a snapshot that is deleted none may be left.
        """
        try:
            for record in records:
                reservation.segment.erase(record.offset)
            reservation.segment.sync()
        except OSError:
            manifests = [record for record in records if record.kind is ObjectKind.MANIFEST]
            if manifests:
                self._index.note_leftovers(manifests)

    def _give_back(self, reservation: Reservation, duplicates: list[NewRecord]) -> None:
        """Punch out records that nobody will ever refer to."""
        for duplicate in duplicates:
            reservation.segment.punch(duplicate.offset, duplicate.record_size)

    def _punch(self, place: RecordPlace) -> None:
        """Give a record's space back, unless its segment is lost. A courtesy: whatever it was done for is durable."""
        with suppress(BadRecordError, OSError):
            self._segment(place.segment_id).punch(place.offset, record_size(place.payload_size))

    def _erase(self, *lists: list[tuple[int, int]]) -> None:
        """Overwrite the headers of records (segment, offset), durably, unless they are lost with their segment."""
        places = list(chain.from_iterable(lists))
        for segment_id, offset in places:
            with suppress(BadRecordError, FileNotFoundError):
                self._segment(segment_id).erase(offset)
        for segment_id in {segment_id for segment_id, _ in places}:
            with suppress(BadRecordError, FileNotFoundError):
                self._segment(segment_id).sync()

    def _remove_empty_segments(self, segment_ids: set[int]) -> None:
        """Remove the files of full segments that hold nothing any more."""
        full = {row.segment_id for row in self._index.segments() if row.full}
        for segment_id in segment_ids & full:
            if self._is_empty(segment_id):
                self._index.forget_segment(segment_id)
                segment_path(self._segments_folder, segment_id).unlink(missing_ok=True)
                with self._open_lock:
                    self._open_segments.pop(segment_id, None)

    def _is_empty(self, segment_id: int) -> bool:
        """Whether a segment has no data left; a lost one may have, and come back."""
        with suppress(BadRecordError, FileNotFoundError):
            return self._segment(segment_id).is_empty
        return False

    def _place(self, kind: ObjectKind, address: Address) -> RecordPlace:
        place = self._index.find(address)
        if place is None or place.kind is not kind:
            raise self._damage.report(address, "index", f"no {kind.name.lower()} of this address is stored")
        return place

    def _read(
        self, kind: ObjectKind, address: Address, place: RecordPlace, record: memoryview, read: _Read
    ) -> tuple[RecordHeader, RecordPlace]:
        """Fill `record` from a place and check every byte of it; returns its header, and the place in the end."""
        try:
            header = read(self._segment(place.segment_id), place.offset, record)
            if header.address != address or header.kind is not kind:
                raise BadRecordError("another object is at this place")
            return header, place
        except (BadRecordError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in LOST_ERRORS:
                raise
            now = self._place(kind, address)
            if (now.segment_id, now.offset) == (place.segment_id, place.offset):
                raise self._damaged(address, place, error) from error
            return self._read(kind, address, now, record, read)  # it was rewritten while it was read

    def _damaged(self, address: Address, place: RecordPlace, error: Exception) -> DamageError:
        """Report damage, and have the index remember it, so that a later put of the same object writes it again."""
        if not self._note_loss(place.segment_id):
            self._index.mark_damaged(address, place)
        path = segment_path(self._segments_folder, place.segment_id)
        return self._damage.report(address, f"{path} at {place.offset}", str(error))

    def _note_loss(self, segment_id: int) -> bool:
        """Note if a whole segment is gone or cannot be opened: all its objects are lost, not only the one requested."""
        try:
            read_segment_header(segment_path(self._segments_folder, segment_id))
        except (BadRecordError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in LOST_ERRORS:
                raise
            self._index.set_present(segment_id, 0)
            return True
        return False

    def _segment(self, segment_id: int) -> Segment:
        """An open segment; the ones used last stay open."""
        with self._open_lock:
            segment = self._open_segments.get(segment_id)
            if segment is None:
                segment = Segment.open(segment_path(self._segments_folder, segment_id))
                if segment.header_damage is not None:
                    self._damage.report_segment(segment.path, segment.header_damage)
                self._open_segments[segment_id] = segment
                if len(self._open_segments) > OPEN_SEGMENTS:
                    self._open_segments.popitem(last=False)
            else:
                self._open_segments.move_to_end(segment_id)
        return segment


@contextmanager
def no_space_is_store_full() -> Iterator[None]:
    """StoreFullError in place of an OSError that means that there is no space."""
    try:
        yield
    except OSError as error:
        raise full(error) from error


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a file lock that other processes opening the same store wait for."""
    with opened(path, os.O_RDWR | os.O_CREAT) as descriptor:
        lock(descriptor)
        yield
