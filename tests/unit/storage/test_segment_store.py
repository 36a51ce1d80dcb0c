"""The segment store: the contract's suite, and what is its own (processes, recovery, full disks, failing syncs)."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from hashlib import blake2b
from pathlib import Path
from threading import Barrier
from typing import Final

import pytest

from snapstone.core.blocks import Digest
from snapstone.core.data_key import DataKey
from snapstone.core.errors import DamageError, ReadOnlyError, StoreFullError
from snapstone.storage import index as index_module
from snapstone.storage import segment_store
from snapstone.storage.contract import Encryption, ObjectKind, ObjectStore
from snapstone.storage.index import Index, NewRecord, RecordPlace, SegmentRow
from snapstone.storage.record import HEADER_SIZE, BufferPool, place_key, write_header
from snapstone.storage.segment import SEGMENT_HEADER_SIZE, Segment
from snapstone.storage.segment_store import SegmentStore
from tests.suites.object_store_suite import (
    SUITE_BUFFER_COUNT,
    SUITE_NOW_MS,
    THREADS,
    ObjectStoreSuite,
    StoreOpener,
    address_of,
    at_once,
    get_block,
    numbered_block,
    numbered_page,
    put_block,
    put_pages,
    suite_data_key,
)

SEGMENT_SIZE: Final = 8 << 20
"""Room for the header and 15 blocks."""

BLOCKS_PER_SEGMENT: Final = 15

RECORD_SIZE: Final = 4_096 + 524_288

EXTENT_BLOCK_SIZE: Final = 4_096
"""What the file system may take for its own list of a file's pieces."""


def open_store(folder: Path, *, segment_size: int = SEGMENT_SIZE, block_buffers: int = 16) -> SegmentStore:
    return SegmentStore(
        folder,
        now_ms=lambda: SUITE_NOW_MS,
        segment_size=segment_size,
        block_buffers=block_buffers,
        find_data_key=suite_data_key,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


class Reopening:
    """Opens a store's folder again and again; at most one is open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = open_store(folder)

    def __call__(self) -> SegmentStore:
        self.store.close()
        self.store = open_store(self.folder)
        return self.store


@pytest.fixture
def reopening(folder: Path) -> Iterator[Reopening]:
    reopening = Reopening(folder)
    yield reopening
    reopening.store.close()


@pytest.fixture
def store(reopening: Reopening) -> SegmentStore:
    return reopening.store


@pytest.fixture
def reopen(reopening: Reopening) -> Callable[[], SegmentStore]:
    return reopening


class TestContract(ObjectStoreSuite):
    @pytest.fixture
    def store(self, reopening: Reopening) -> ObjectStore:
        return reopening.store

    @pytest.fixture
    def reopen(self, reopening: Reopening) -> Callable[[], ObjectStore]:
        return reopening

    @pytest.fixture
    def opener(self, folder: Path) -> StoreOpener:
        return partial(open_store, folder)

    @pytest.fixture
    def small_store(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
        monkeypatch.setattr(segment_store, "BufferPool", partial(BufferPool, wait_seconds=0.05))
        store = open_store(folder, block_buffers=SUITE_BUFFER_COUNT)
        yield store
        store.close()


def place_of(folder: Path, content: bytes) -> RecordPlace:
    """Where the index says that an object's record stands."""
    index = Index(folder / "index.db")
    try:
        place = index.find(address_of(content))
    finally:
        index.close()
    assert place is not None
    return place


def segment_rows(folder: Path) -> list[SegmentRow]:
    index = Index(folder / "index.db")
    try:
        return index.segments()
    finally:
        index.close()


def segment_file(folder: Path, segment_id: int) -> Path:
    return folder / "segments" / f"{segment_id:08d}.segment"


def segment_names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "segments").iterdir())


def salt_of(folder: Path, segment_id: int) -> bytes:
    """Bytes 24 to 39 of a segment's header."""
    return segment_file(folder, segment_id).read_bytes()[24:40]


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def remove_index_files(folder: Path) -> None:
    for path in folder.glob("index.db*"):
        path.unlink()


def copy_of_index(folder: Path, to: Path) -> Path:
    """A copy of the index of a store that is closed."""
    return Path(shutil.copy(folder / "index.db", to))


def put_back_index(copy: Path, folder: Path) -> None:
    remove_index_files(folder)
    shutil.copy(copy, folder / "index.db")


def disk_usage(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in (folder / "segments").iterdir())


def all_blocks_read(store: ObjectStore, numbers: range | list[int]) -> bool:
    return all(get_block(store, address_of(numbered_block(number))) == numbered_block(number) for number in numbers)


# -- segments --


def test_a_full_segment_is_followed_by_another(folder: Path, store: SegmentStore) -> None:
    for number in range(BLOCKS_PER_SEGMENT):
        put_block(store, numbered_block(number))
    assert segment_names(folder) == ["00000001.segment"]
    put_block(store, numbered_block(BLOCKS_PER_SEGMENT))
    assert segment_names(folder) == ["00000001.segment", "00000002.segment"]
    assert all_blocks_read(store, range(BLOCKS_PER_SEGMENT + 1))
    assert segment_rows(folder)[0].full


def test_reopening_appends_to_the_last_segment_instead_of_making_another(
    folder: Path, reopen: Callable[[], SegmentStore]
) -> None:
    for number in range(10):
        put_block(reopen(), numbered_block(number))
    assert segment_names(folder) == ["00000001.segment"]
    assert all_blocks_read(reopen(), range(10))


def test_closing_gives_back_what_was_preallocated(folder: Path, store: SegmentStore) -> None:
    put_block(store, numbered_block(1))
    assert segment_file(folder, 1).stat().st_size == SEGMENT_SIZE
    store.close()
    assert segment_file(folder, 1).stat().st_size == SEGMENT_HEADER_SIZE + RECORD_SIZE


def test_a_removed_record_gives_its_space_back(folder: Path, reopen: Callable[[], SegmentStore]) -> None:
    store = reopen()
    for number in range(4):
        put_block(store, numbered_block(number))
    store.close()
    before = disk_usage(folder)
    store = open_store(folder)
    store.remove([address_of(numbered_block(1)), address_of(numbered_block(2))])
    store.close()
    assert before - disk_usage(folder) >= 2 * RECORD_SIZE - EXTENT_BLOCK_SIZE


def test_reopening_does_not_take_given_back_space_again(folder: Path, reopen: Callable[[], SegmentStore]) -> None:
    store = reopen()
    for number in range(4):
        put_block(store, numbered_block(number))
    store.remove([address_of(numbered_block(number)) for number in range(3)])
    reopen().close()
    assert disk_usage(folder) <= SEGMENT_HEADER_SIZE + RECORD_SIZE + EXTENT_BLOCK_SIZE


def test_the_file_of_a_full_segment_goes_with_its_last_object(folder: Path, store: SegmentStore) -> None:
    for number in range(BLOCKS_PER_SEGMENT + 1):
        put_block(store, numbered_block(number))
    store.remove([address_of(numbered_block(number)) for number in range(BLOCKS_PER_SEGMENT - 1)])
    assert segment_names(folder) == ["00000001.segment", "00000002.segment"]
    store.remove([address_of(numbered_block(BLOCKS_PER_SEGMENT - 1))])
    assert segment_names(folder) == ["00000002.segment"]
    assert [row.segment_id for row in segment_rows(folder)] == [2]
    assert all_blocks_read(store, [BLOCKS_PER_SEGMENT])


def test_only_files_that_are_named_as_segments_are_taken_for_segments(
    folder: Path, reopen: Callable[[], SegmentStore]
) -> None:
    store = reopen()
    put_block(store, numbered_block(1))
    shutil.copy(segment_file(folder, 1), folder / "segments" / "00000001 (copy).segment")
    store = reopen()
    put_block(store, numbered_block(2))
    assert all_blocks_read(reopen(), [1, 2])


def test_a_segment_under_another_number_is_reported_and_left_alone(
    folder: Path, reopen: Callable[[], SegmentStore]
) -> None:
    store = reopen()
    put_block(store, numbered_block(1))
    store.close()
    shutil.copy(segment_file(folder, 1), segment_file(folder, 9))
    copied = segment_file(folder, 9).read_bytes()
    store = open_store(folder)
    for number in range(2, 40):
        put_block(store, numbered_block(number))
    store.close()
    assert all_blocks_read(reopen(), range(1, 40))
    assert segment_file(folder, 9).read_bytes() == copied
    assert "00000009.segment" in (folder / "damage.jsonl").read_text()


# -- two stores on one folder --


def test_two_stores_on_one_folder_share_their_records(folder: Path) -> None:
    first, second = open_store(folder), open_store(folder)
    assert put_block(first, numbered_block(1)) is True
    assert put_block(second, numbered_block(1)) is False
    assert put_block(second, numbered_block(2)) is True
    assert put_block(first, numbered_block(2)) is False
    assert all_blocks_read(first, [1, 2])
    assert all_blocks_read(second, [1, 2])
    assert segment_names(folder) == ["00000001.segment", "00000002.segment"]
    first.close()
    second.close()


def test_stores_that_race_to_put_the_same_blocks_keep_one_record_of_each(folder: Path) -> None:
    stores = [open_store(folder) for _ in range(THREADS)]
    for number in range(10):
        content = numbered_block(number)
        written = at_once(lambda thread, content=content: put_block(stores[thread], content))  # type: ignore[misc]
        assert written.count(True) == 1
    assert all_blocks_read(stores[0], range(10))
    for store in stores:
        store.close()
    assert disk_usage(folder) <= 10 * RECORD_SIZE + THREADS * (SEGMENT_HEADER_SIZE + EXTENT_BLOCK_SIZE)


# -- recovery --


def test_the_rest_of_a_segment_that_a_crash_left_is_used_again(folder: Path, tmp_path: Path) -> None:
    """Even if something has read the whole file: its reserved space then counts as data for the file system."""
    store = open_store(folder)
    for number in range(3):
        put_block(store, numbered_block(number))
    shutil.copytree(folder, tmp_path / "crashed")
    store.close()
    crashed = segment_file(tmp_path / "crashed", 1)
    assert crashed.stat().st_size == SEGMENT_SIZE
    crashed.read_bytes()
    again = open_store(tmp_path / "crashed")
    put_block(again, numbered_block(3))
    again.close()
    place = place_of(tmp_path / "crashed", numbered_block(3))
    assert (place.segment_id, place.offset) == (1, SEGMENT_HEADER_SIZE + 3 * RECORD_SIZE)


def test_a_lost_index_is_rebuilt_whole(folder: Path, reopen: Callable[[], SegmentStore]) -> None:
    store = reopen()
    for number in range(40):
        put_block(store, numbered_block(number))
    put_pages(store, [numbered_page(number) for number in range(50)])
    store.remove([address_of(numbered_block(3))])
    before = sorted(store.walk(), key=lambda entry: entry.address)
    store.close()
    remove_index_files(folder)
    again = open_store(folder)
    assert sorted(again.walk(), key=lambda entry: entry.address) == before
    assert all_blocks_read(again, [0, 1, 2, *range(4, 40)])
    again.close()


def test_records_behind_the_checkpoint_are_found_by_an_index_that_lost_its_last_commits(
    folder: Path, tmp_path: Path, reopen: Callable[[], SegmentStore]
) -> None:
    store = reopen()
    for number in range(5):
        put_block(store, numbered_block(number))
    store.close()
    copy = copy_of_index(folder, tmp_path / "older.db")
    store = open_store(folder)
    for number in range(5, 40):
        put_block(store, numbered_block(number))
    put_pages(store, [numbered_page(1)])
    store.close()
    put_back_index(copy, folder)
    again = open_store(folder)
    assert all_blocks_read(again, range(40))
    assert again.get(ObjectKind.PAGE, address_of(numbered_page(1))) == numbered_page(1)
    assert put_block(again, numbered_block(39)) is False
    again.close()


def test_a_block_that_was_healed_survives_the_loss_of_the_commits_that_say_so(
    folder: Path, tmp_path: Path, reopen: Callable[[], SegmentStore]
) -> None:
    """The older index names the damaged record as good; the healed one behind the checkpoint must not yield to it."""
    content = numbered_block(1)
    store = reopen()
    put_block(store, content)
    store.close()
    copy = copy_of_index(folder, tmp_path / "older.db")
    place = place_of(folder, content)
    overwrite(segment_file(folder, 1), place.offset + HEADER_SIZE + 5_000, b"\xff")
    store = open_store(folder)
    with pytest.raises(DamageError):
        store.get_block(address_of(content))
    assert put_block(store, content) is True
    store.close()
    put_back_index(copy, folder)
    again = open_store(folder)
    assert get_block(again, address_of(content)) == content
    again.close()


def test_healing_gives_back_the_space_of_the_damaged_record(folder: Path) -> None:
    store = open_store(folder)
    for number in range(3):
        put_block(store, numbered_block(number))
    overwrite(segment_file(folder, 1), place_of(folder, numbered_block(1)).offset + HEADER_SIZE, b"\xff")
    with pytest.raises(DamageError):
        store.get_block(address_of(numbered_block(1)))
    put_block(store, numbered_block(1))
    assert all_blocks_read(store, range(3))
    store.close()
    assert disk_usage(folder) <= SEGMENT_HEADER_SIZE + 3 * RECORD_SIZE + EXTENT_BLOCK_SIZE


def test_recovered_records_are_written_again_and_synced_before_the_index_vouches_for_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A put that finds them stored is acknowledged without a sync of its own."""
    store = open_store(folder)
    put_block(store, numbered_block(1))
    store.close()
    remove_index_files(folder)
    os.truncate(segment_file(folder, 1), SEGMENT_SIZE)  # as a crash leaves it
    calls: list[str] = []
    write, sync, add = Segment.write, Segment.sync, Index.add

    def noted_write(segment: Segment, offset: int, record: memoryview) -> None:
        calls.append(f"write {len(record)} at {offset}")
        write(segment, offset, record)

    def noted_sync(segment: Segment) -> None:
        calls.append("sync")
        sync(segment)

    def noted_add(index: Index, records: list[NewRecord], checkpoints: dict[int, int]) -> list[NewRecord]:
        calls.append("add" if records else "checkpoint")
        return add(index, records, checkpoints)

    monkeypatch.setattr(Segment, "write", noted_write)
    monkeypatch.setattr(Segment, "sync", noted_sync)
    monkeypatch.setattr(Index, "add", noted_add)
    store = open_store(folder)
    assert calls == [f"write {RECORD_SIZE} at {SEGMENT_HEADER_SIZE}", "sync", "add", "checkpoint"]
    monkeypatch.undo()
    store.close()


def torn_copy(folder: Path, to: Path, tear: Callable[[Path], None]) -> SegmentStore:
    """A store whose index is lost and whose first segment `tear` has been at."""
    shutil.copytree(folder, to)
    remove_index_files(to)
    tear(segment_file(to, 1))
    return open_store(to)


def test_a_record_whose_payload_is_torn_is_not_indexed(folder: Path, tmp_path: Path, store: SegmentStore) -> None:
    for number in range(3):
        put_block(store, numbered_block(number))
    offset = place_of(folder, numbered_block(1)).offset
    store.close()
    torn_at = offset + RECORD_SIZE - 4_096
    again = torn_copy(folder, tmp_path / "torn", lambda path: overwrite(path, torn_at, bytes(4_096)))
    assert not again.has(address_of(numbered_block(1)))
    assert all_blocks_read(again, [0, 2])
    assert put_block(again, numbered_block(1)) is True
    assert all_blocks_read(again, [0, 1, 2])
    again.close()


def forged_record(salt: bytes, offset: int, content: bytes) -> bytes:
    """A record as the store itself would write it at an offset of a segment with that salt."""
    record = bytearray(HEADER_SIZE) + content
    view = memoryview(record)
    key = place_key(salt, offset)
    write_header(view[:HEADER_SIZE], key, ObjectKind.PAGE, address_of(b"forged"), view[HEADER_SIZE:], SUITE_NOW_MS)
    return bytes(record)


@pytest.mark.parametrize("forger", ["guesses the salt", "knows the salt but not the place"])
def test_what_a_client_wrote_into_a_block_never_passes_for_a_record(
    folder: Path, tmp_path: Path, store: SegmentStore, forger: str
) -> None:
    """The second forger is a backup of this very server's disk: whole records of this segment, as a block's content."""
    put_block(store, numbered_block(1))
    salt = bytes(16) if forger == "guesses the salt" else salt_of(folder, 1)
    offset = SEGMENT_HEADER_SIZE + RECORD_SIZE  # the next record's
    inside = offset + HEADER_SIZE + 8_192
    forged = forged_record(salt, inside if forger == "guesses the salt" else offset, b"f" * 4_096)
    content = (bytes(8_192) + forged).ljust(524_288, b"\1")
    put_block(store, content)
    assert place_of(folder, content).offset == offset
    put_block(store, numbered_block(2))
    store.close()
    again = torn_copy(folder, tmp_path / "torn", lambda path: overwrite(path, offset, bytes(4_096)))
    assert not again.has(address_of(b"forged"))
    assert {entry.address for entry in again.walk()} == {address_of(numbered_block(1)), address_of(numbered_block(2))}
    again.close()


def test_the_forged_record_would_pass_with_the_salt_and_the_place(
    folder: Path, tmp_path: Path, store: SegmentStore
) -> None:
    """So the test above fails for the reason that it names."""
    offset = SEGMENT_HEADER_SIZE
    put_block(store, numbered_block(0))
    forged = forged_record(salt_of(folder, 1), offset + RECORD_SIZE + HEADER_SIZE + 8_192, b"f" * 4_096)
    put_block(store, (bytes(8_192) + forged).ljust(524_288, b"\1"))
    store.close()
    again = torn_copy(folder, tmp_path / "torn", lambda path: overwrite(path, offset + RECORD_SIZE, bytes(4_096)))
    assert again.get(ObjectKind.PAGE, address_of(b"forged")) == b"f" * 4_096
    again.close()


def test_recovery_leaves_what_it_does_not_understand_as_it_is(
    folder: Path, tmp_path: Path, store: SegmentStore
) -> None:
    """A damaged header, a record of a later version, anything: another build, or a repair, may make sense of it."""
    for number in range(5):
        put_block(store, numbered_block(number))
    offsets = [place_of(folder, numbered_block(number)).offset for number in range(5)]
    store.close()

    def tear(path: Path) -> None:
        overwrite(path, offsets[1], b"x")
        overwrite(path, offsets[3], later_version_of(path, offsets[3]))
        overwrite(path, offsets[4] + 100_000, b"x")

    again = torn_copy(folder, tmp_path / "torn", tear)
    put_block(again, numbered_block(7))
    again.close()
    content = segment_file(tmp_path / "torn", 1).read_bytes()
    original = segment_file(folder, 1).read_bytes()
    assert content[offsets[1] + 1 : offsets[3]] == original[offsets[1] + 1 : offsets[3]]
    assert content[offsets[3] + HEADER_SIZE : offsets[4]] == original[offsets[3] + HEADER_SIZE : offsets[4]]
    assert content[offsets[4] : offsets[4] + 4_096] == original[offsets[4] : offsets[4] + 4_096]
    again = open_store(tmp_path / "torn")
    assert all_blocks_read(again, [0, 2, 7])
    again.close()


def later_version_of(path: Path, offset: int) -> bytes:
    """A record's header as a later version would write it: version 2, its checksum right."""
    salt = path.read_bytes()[24:40]
    header = bytearray(path.read_bytes()[offset : offset + HEADER_SIZE])
    header[8:10] = (2).to_bytes(2, "little")
    header[-16:] = blake2b(header[:-16], key=place_key(salt, offset), digest_size=16).digest()
    return bytes(header)


def test_a_wrong_checkpoint_costs_no_record(folder: Path, reopen: Callable[[], SegmentStore]) -> None:
    """One that points into a record, of an index whose other rows are whole."""
    store = reopen()
    for number in range(3):
        put_block(store, numbered_block(number))
    inside = place_of(folder, numbered_block(1)).offset + 4_096
    store.close()
    index = Index(folder / "index.db")
    index.add([], {1: inside})
    index.close()
    assert all_blocks_read(reopen(), range(3))
    remove_index_files(folder)
    assert all_blocks_read(reopen(), range(3))


def test_recovery_gives_back_reserved_space_before_the_last_record(
    folder: Path, tmp_path: Path, store: SegmentStore
) -> None:
    for number in range(5):
        put_block(store, numbered_block(number))
    first = place_of(folder, numbered_block(1)).offset
    store.close()
    again = torn_copy(folder, tmp_path / "torn", lambda path: overwrite(path, first, bytes(RECORD_SIZE)))
    again.close()
    assert disk_usage(tmp_path / "torn") <= SEGMENT_HEADER_SIZE + 4 * RECORD_SIZE + EXTENT_BLOCK_SIZE


def test_a_place_that_the_disk_cannot_read_is_reported_and_passed(
    folder: Path, tmp_path: Path, store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        put_block(store, numbered_block(number))
    bad = place_of(folder, numbered_block(1)).offset + 4_096
    store.close()
    real = os.preadv

    def fail(fd: int, buffers: list[memoryview], offset: int) -> int:
        if offset <= bad < offset + sum(map(len, buffers)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", fail)
    again = torn_copy(folder, tmp_path / "torn", lambda path: None)
    assert all_blocks_read(again, [0, 2])
    assert f"4096 bytes at {bad} cannot be read" in (tmp_path / "torn" / "damage.jsonl").read_text()
    put_block(again, numbered_block(1))
    assert all_blocks_read(again, range(3))
    again.close()


def test_no_more_segments_are_kept_open_than_the_limit(
    folder: Path, store: SegmentStore, reopen: Callable[[], SegmentStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_store, "OPEN_SEGMENTS", 2)
    count = 4 * BLOCKS_PER_SEGMENT
    for number in range(count):
        put_block(store, numbered_block(number))
    assert len(segment_names(folder)) >= 4
    assert all_blocks_read(reopen(), range(count))
    opened = {os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}
    own = 1  # the one that is appended to
    assert len([path for path in opened if path.startswith(str(folder / "segments"))]) <= 2 + own


@pytest.mark.parametrize("block_count", [1, BLOCKS_PER_SEGMENT + 1])
def test_a_start_reports_a_damaged_copy_of_a_segments_header_and_reads_on_by_the_other(
    folder: Path, reopen: Callable[[], SegmentStore], store: SegmentStore, block_count: int
) -> None:
    """Of the segment in use, and of one that is full."""
    for number in range(block_count):
        put_block(store, numbered_block(number))
    store.close()
    overwrite(segment_file(folder, 1), 24, bytes(8))
    assert all_blocks_read(reopen(), range(block_count))
    [report] = (folder / "damage.jsonl").read_text().splitlines()
    assert "the copy at 0; the other is whole" in report
    assert str(segment_file(folder, 1)) in report


def test_second_records_that_were_noted_are_forgotten_once_their_object_is_removed(
    folder: Path, store: SegmentStore
) -> None:
    put_pages(store, [numbered_page(1), numbered_page(2)])
    with closing(Index(folder / "index.db")) as index:
        for page in (numbered_page(1), numbered_page(2)):
            place = index.find(address_of(page))
            assert place is not None
            second = NewRecord(address_of(page), place.kind, place.segment_id, place.offset, place.payload_size, 1)
            index.note_leftovers([second])
        store.remove([address_of(numbered_page(1))])
        assert index.leftovers(address_of(numbered_page(1))) == []
        assert len(index.leftovers(address_of(numbered_page(2)))) == 1


def refuse_reads_of(monkeypatch: pytest.MonkeyPatch, place: int, code: int) -> None:
    """Let reads fail that touch a place of any segment."""
    real = os.preadv

    def fail(fd: int, buffers: list[memoryview], offset: int) -> int:
        if offset <= place < offset + sum(map(len, buffers)):
            raise OSError(code, os.strerror(code))
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", fail)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENODATA, errno.EILSEQ, errno.EUCLEAN])
def test_a_block_in_a_sector_that_the_disk_has_lost_is_damage_and_is_stored_again(
    folder: Path, store: SegmentStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The errors by which Linux says that a medium, or the file system's own checksum, gives these bytes up."""
    for number in range(2):
        put_block(store, numbered_block(number))
    refuse_reads_of(monkeypatch, place_of(folder, numbered_block(1)).offset + 4_096, code)
    with pytest.raises(DamageError, match=os.strerror(code)):
        get_block(store, address_of(numbered_block(1)))
    assert os.strerror(code) in (folder / "damage.jsonl").read_text()
    assert put_block(store, numbered_block(1)) is True
    assert all_blocks_read(store, range(2))


def test_a_read_for_which_the_machine_is_out_of_memory_is_no_damage(
    folder: Path, store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_block(store, numbered_block(0))
    refuse_reads_of(monkeypatch, place_of(folder, numbered_block(0)).offset, errno.ENOMEM)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
        get_block(store, address_of(numbered_block(0)))
    monkeypatch.undo()
    assert put_block(store, numbered_block(0)) is False
    assert all_blocks_read(store, range(1))


@pytest.mark.parametrize("step", ["write", "sync"])
def test_a_start_on_a_disk_that_refuses_to_make_records_durable_again_vouches_for_none_of_them(
    folder: Path, tmp_path: Path, store: SegmentStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Neither this start nor the next may acknowledge a put because such a record is there already."""
    put_block(store, numbered_block(0))
    store.close()
    os.truncate(segment_file(folder, 1), SEGMENT_SIZE)

    def fail(segment: Segment, *_: object) -> None:
        raise OSError(errno.EIO, f"{step} failed")

    monkeypatch.setattr(Segment, step, fail)
    again = torn_copy(folder, tmp_path / "torn", lambda path: None)
    assert not again.has(address_of(numbered_block(0)))
    assert "could be synced again" in (tmp_path / "torn" / "damage.jsonl").read_text()
    monkeypatch.undo()
    assert put_block(again, numbered_block(0)) is True
    assert place_of(tmp_path / "torn", numbered_block(0)).segment_id == 2
    again.close()


def test_a_store_of_the_first_index_version_is_converted_and_searched_once_more(
    folder: Path, tmp_path: Path, store: SegmentStore
) -> None:
    """That version called a segment whose file was missing full, and never searched it again."""
    for number in range(BLOCKS_PER_SEGMENT + 3):
        put_block(store, numbered_block(number))
    store.close()
    make_index_of_version_1(folder / "index.db")
    with closing(sqlite3.connect(folder / "index.db")) as connection, connection:
        connection.execute("UPDATE segment SET full = 1, checkpoint = 8192")
        connection.execute("DELETE FROM object WHERE segment_id = 2")
    again = open_store(folder)
    assert all_blocks_read(again, range(BLOCKS_PER_SEGMENT + 3))
    assert put_block(again, numbered_block(BLOCKS_PER_SEGMENT + 1)) is False
    again.close()


def make_index_of_version_1(path: Path) -> None:
    """The schema of the first version (docs/format.md), with the rows of this one."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP INDEX object_manifest")
        connection.execute("ALTER TABLE segment DROP COLUMN size")
        connection.execute("ALTER TABLE segment DROP COLUMN present_size")
        connection.execute("PRAGMA user_version = 1")


def test_a_conversion_that_is_cut_off_is_done_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(folder)
    put_block(store, numbered_block(0))
    store.close()
    make_index_of_version_1(folder / "index.db")
    monkeypatch.setattr(index_module, "_UPGRADES", {1: index_module._UPGRADES[1] + "; SELECT cut_off()"})
    with pytest.raises(sqlite3.OperationalError, match="cut_off"):
        open_store(folder)
    monkeypatch.undo()
    again = open_store(folder)
    assert all_blocks_read(again, [0])
    assert segment_rows(folder)[0].present_size is None
    again.close()


class FailingCopies:
    """A connection to an index whose log cannot be copied into the file: a sync fails."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def execute(self, statement: str, *parameters: Sequence[object]) -> object:
        if "wal_checkpoint" in statement:
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *parameters)


def test_an_index_whose_log_could_not_be_copied_is_made_again_at_the_next_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a sync that failed, a later one that succeeds says nothing about the pages of the first."""
    monkeypatch.setattr(index_module, "COMMITS_PER_LOG_COPY", 1)
    store = open_store(folder)
    put_block(store, numbered_block(1))
    mark = folder / "index.db-distrusted"
    assert not mark.exists()
    store._index._writer = FailingCopies(store._index._writer)  # type: ignore[assignment]
    put_block(store, numbered_block(2))
    assert not mark.exists()
    put_block(store, numbered_block(3))
    assert mark.exists(), "the second try must not begin before the mark is durable"
    store.close()
    overwrite(folder / "index.db", 0, b"torn" * 1_024)
    again = open_store(folder)
    assert not mark.exists()
    assert all_blocks_read(again, [1, 2, 3])
    again.close()


def test_an_index_that_turns_out_to_be_damaged_is_damage_and_made_again_at_the_next_start(folder: Path) -> None:
    store = open_store(folder)
    put_block(store, numbered_block(1))
    store.close()
    with closing(sqlite3.connect(folder / "index.db")) as connection:
        [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'object'").fetchall()
    overwrite(folder / "index.db", (page - 1) * 4_096, b"\xff" * 4_096)
    store = open_store(folder)
    with pytest.raises(DamageError, match="restart the server to rebuild it"):
        store.has(address_of(numbered_block(1)))
    with pytest.raises(DamageError, match="restart the server to rebuild it"):
        put_block(store, numbered_block(2))
    store.close()
    store = open_store(folder)
    assert all_blocks_read(store, [1])
    store.close()


def test_removal_leaves_no_record_that_a_search_could_find(folder: Path, reopen: Callable[[], SegmentStore]) -> None:
    store = reopen()
    for number in range(3):
        put_block(store, numbered_block(number))
    offset = place_of(folder, numbered_block(1)).offset
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segment, "punch", lambda *_: None)  # a file system that cannot
        store.remove([address_of(numbered_block(1))])
        store.close()
    assert segment_file(folder, 1).read_bytes()[offset : offset + HEADER_SIZE] == bytes(HEADER_SIZE)
    remove_index_files(folder)
    assert {entry.address for entry in reopen().walk()} == {address_of(numbered_block(n)) for n in (0, 2)}


def test_a_read_only_store_reads_and_writes_nothing(folder: Path, tmp_path: Path, store: SegmentStore) -> None:
    for number in range(3):
        put_block(store, numbered_block(number))
    store.close()
    working = tmp_path / "working"
    working.mkdir()
    shutil.copy(folder / "index.db", working)
    before = state_of(folder)
    reading = SegmentStore(folder, now_ms=lambda: SUITE_NOW_MS, block_buffers=4, read_only=True, index_folder=working)
    assert all_blocks_read(reading, range(3))
    with pytest.raises(ReadOnlyError):
        put_block(reading, numbered_block(9))
    with pytest.raises(ReadOnlyError):
        put_pages(reading, [b"page"])
    with pytest.raises(ReadOnlyError):
        reading.remove([address_of(numbered_block(0))])
    reading.close()
    assert state_of(folder) == before


def state_of(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """When each file was written last, and what it holds."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_new_records_never_stand_where_torn_ones_stood(folder: Path, tmp_path: Path, store: SegmentStore) -> None:
    for number in range(3):
        put_block(store, numbered_block(number))
    last = place_of(folder, numbered_block(2)).offset
    store.close()
    again = torn_copy(folder, tmp_path / "torn", lambda path: overwrite(path, last, b"x"))
    put_block(again, numbered_block(7))
    again.close()
    assert place_of(tmp_path / "torn", numbered_block(7)).offset == last + RECORD_SIZE


def test_a_record_found_twice_is_kept_once(folder: Path, tmp_path: Path) -> None:
    """Two processes wrote the same block; one was killed before it could give its record back."""
    first = open_store(folder)
    put_block(first, numbered_block(1))
    first.close()
    other = tmp_path / "other"
    second = open_store(other)
    put_block(second, numbered_block(0))
    put_block(second, numbered_block(1))
    second.close()
    target = segment_file(folder, 2)
    shutil.copy(segment_file(other, 1), target)
    renumber(target, 2)
    store = open_store(folder)
    assert all_blocks_read(store, [0, 1])
    assert len(list(store.walk())) == 2
    store.close()
    assert disk_usage(folder) <= 2 * SEGMENT_HEADER_SIZE + 2 * RECORD_SIZE + EXTENT_BLOCK_SIZE


def renumber(path: Path, segment_id: int) -> None:
    """Give a segment file another number; headers of records are keyed by the salt, which stays."""
    salt = path.read_bytes()[24:40]
    fresh = Segment.create(path.with_name(f"{segment_id + 100:08d}.segment"), segment_id, salt)
    overwrite(path, 0, fresh.path.read_bytes()[:SEGMENT_HEADER_SIZE])
    fresh.path.unlink()


def test_what_was_left_of_a_segment_in_the_making_is_cleared(folder: Path, reopen: Callable[[], SegmentStore]) -> None:
    store = reopen()
    put_block(store, numbered_block(1))
    left = folder / "segments" / "00000002.segment.4711.new"
    left.write_bytes(b"half a header")
    assert all_blocks_read(reopen(), [1])
    assert not left.exists()


def test_a_store_that_opens_does_not_disturb_another_that_makes_a_segment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(folder)
    link = os.link

    def open_another_first(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        open_store(folder).close()
        link(source, target)

    monkeypatch.setattr(os, "link", open_another_first)
    assert put_block(store, numbered_block(1)) is True
    assert all_blocks_read(store, [1])
    store.close()


def test_a_segment_removed_by_another_process_during_recovery_is_no_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(folder)
    for number in range(BLOCKS_PER_SEGMENT + 1):
        put_block(store, numbered_block(number))
    segments = Index.segments

    def segments_then_removal(index: Index) -> list[SegmentRow]:
        rows = segments(index)
        monkeypatch.setattr(Index, "segments", segments)
        store.remove([address_of(numbered_block(number)) for number in range(BLOCKS_PER_SEGMENT)])
        return rows

    monkeypatch.setattr(Index, "segments", segments_then_removal)
    other = open_store(folder)
    assert all_blocks_read(other, [BLOCKS_PER_SEGMENT])
    assert not (folder / "damage.jsonl").exists()
    other.close()
    store.close()


# -- full disks --


def refuse_space(monkeypatch: pytest.MonkeyPatch, beyond: int) -> None:
    """Let no file be preallocated beyond a size, as on a disk that is nearly full."""
    preallocate = Segment.preallocate

    def refusing(segment: Segment, start: int, size: int) -> None:
        if size > beyond:
            raise OSError(errno.ENOSPC, "no space left on device")
        preallocate(segment, start, size)

    monkeypatch.setattr(Segment, "preallocate", refusing)


def lose_by_unlinking(path: Path) -> None:
    path.unlink()


def lose_by_moving(path: Path) -> None:
    path.rename(path.parent.parent / path.name)


def lose_by_replacing(path: Path) -> None:
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").rename(path)


@pytest.mark.parametrize("lose", [lose_by_unlinking, lose_by_moving])
def test_blocks_of_a_segment_that_is_taken_away_are_stored_again(
    folder: Path, store: SegmentStore, lose: Callable[[Path], None]
) -> None:
    """Before anybody has read one of them and found it missing."""
    for number in range(BLOCKS_PER_SEGMENT + 1):
        put_block(store, numbered_block(number))
    store.note_lost_segments()
    assert not put_block(store, numbered_block(3))
    lose(folder / "segments" / "00000001.segment")
    store.note_lost_segments()
    assert "disappeared" in (folder / "damage.jsonl").read_text()
    assert put_block(store, numbered_block(3))
    assert get_block(store, address_of(numbered_block(3))) == numbered_block(3)
    assert get_block(store, address_of(numbered_block(BLOCKS_PER_SEGMENT))) == numbered_block(BLOCKS_PER_SEGMENT)


@pytest.mark.parametrize("lose", [lose_by_unlinking, lose_by_moving, lose_by_replacing])
def test_nothing_is_acknowledged_into_a_segment_that_was_taken_away(
    folder: Path, store: SegmentStore, reopen: Callable[[], SegmentStore], lose: Callable[[Path], None]
) -> None:
    put_block(store, numbered_block(0))
    lose(folder / "segments" / "00000001.segment")
    assert put_block(store, numbered_block(1))
    again = reopen()
    assert get_block(again, address_of(numbered_block(1))) == numbered_block(1)


def test_segments_that_come_and_go_as_they_should_are_not_lost(folder: Path, store: SegmentStore) -> None:
    numbers = range(3 * BLOCKS_PER_SEGMENT)
    for number in numbers:
        put_block(store, numbered_block(number))
        store.note_lost_segments()
    assert store.remove([address_of(numbered_block(number)) for number in range(BLOCKS_PER_SEGMENT)])
    store.note_lost_segments()
    assert not (folder / "damage.jsonl").exists()


def test_a_put_on_a_full_disk_is_refused_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(folder)
    refuse_space(monkeypatch, beyond=0)
    for _ in range(3):
        with pytest.raises(StoreFullError):
            put_block(store, numbered_block(1))
    with pytest.raises(StoreFullError):
        put_pages(store, [numbered_page(1)])
    assert segment_names(folder) == []
    assert not store.has(address_of(numbered_block(1)))
    monkeypatch.undo()
    assert put_block(store, numbered_block(1)) is True
    store.close()


def test_a_full_disk_is_no_hindrance_to_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(folder)
    for number in range(BLOCKS_PER_SEGMENT):
        put_block(store, numbered_block(number))
    refuse_space(monkeypatch, beyond=0)
    with pytest.raises(StoreFullError):
        put_block(store, numbered_block(BLOCKS_PER_SEGMENT))
    assert all_blocks_read(store, range(BLOCKS_PER_SEGMENT))
    assert put_block(store, numbered_block(3)) is False
    store.close()


def test_a_store_on_a_full_disk_can_be_opened_and_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(folder)
    put_block(store, numbered_block(1))
    store.close()
    refuse_space(monkeypatch, beyond=0)
    store = open_store(folder)
    assert all_blocks_read(store, [1])
    with pytest.raises(StoreFullError):
        put_block(store, numbered_block(2))
    store.close()


def test_where_the_disk_is_nearly_full_a_smaller_segment_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_space(monkeypatch, beyond=10 << 20)
    store = open_store(folder, segment_size=64 << 20)
    assert put_block(store, numbered_block(1)) is True
    assert segment_file(folder, 1).stat().st_size == 8 << 20
    store.close()


# -- failing syncs --


def fail_next_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    sync = Segment.sync

    def failing(segment: Segment) -> None:
        monkeypatch.setattr(Segment, "sync", sync)
        raise OSError(errno.EIO, "sync failed")

    monkeypatch.setattr(Segment, "sync", failing)


def test_after_a_failed_sync_the_put_and_later_ones_go_to_a_new_segment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(folder)
    put_block(store, numbered_block(0))
    fail_next_sync(monkeypatch)
    assert put_block(store, numbered_block(1)) is True
    assert place_of(folder, numbered_block(1)).segment_id == 2
    assert all_blocks_read(store, [0, 1])
    store.close()
    again = open_store(folder)
    assert all_blocks_read(again, [0, 1])
    again.close()


def test_encrypted_blocks_and_pages_are_written_again_after_a_failed_sync(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = DataKey(bytes(16), bytes(range(32)))
    store = SegmentStore(
        folder,
        now_ms=lambda: SUITE_NOW_MS,
        block_buffers=4,
        segment_size=SEGMENT_SIZE,
        find_data_key=lambda data_key_id: key,
    )
    put_block(store, numbered_block(0))
    fail_next_sync(monkeypatch)
    buffer = store.borrow_block_buffer()
    buffer.payload[:] = numbered_block(1)
    encryption = Encryption(key, Digest(address_of(numbered_block(1))))
    assert store.put_block(address_of(numbered_block(1)), buffer, encryption) is True
    buffer.release()
    fail_next_sync(monkeypatch)
    pages = [(address_of(numbered_page(number)), numbered_page(number)) for number in range(3)]
    assert store.put_many(ObjectKind.PAGE, pages, key) == 3
    assert place_of(folder, numbered_page(0)).segment_id == 3
    assert get_block(store, address_of(numbered_block(1))) == numbered_block(1)
    assert [store.get(ObjectKind.PAGE, address) for address, _ in pages] == [content for _, content in pages]
    store.close()


def test_a_put_fails_if_the_sync_of_the_next_segment_fails_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(folder)
    put_block(store, numbered_block(100))

    def fail(segment: Segment) -> None:
        raise OSError(errno.EIO, "sync failed")

    monkeypatch.setattr(Segment, "sync", fail)

    def put(thread: int) -> bool:
        with pytest.raises(OSError, match="sync failed"):
            put_block(store, numbered_block(thread))
        return store.has(address_of(numbered_block(thread)))

    assert at_once(put) == [False] * THREADS
    monkeypatch.undo()
    assert [put_block(store, numbered_block(thread)) for thread in range(THREADS)] == [True] * THREADS
    assert all_blocks_read(store, [*range(THREADS), 100])
    store.close()


def test_a_put_written_while_a_sync_failed_does_not_rest_on_the_next_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells an error once: the next sync of the file succeeds, and what was written before is gone."""
    store = open_store(folder)
    put_block(store, numbered_block(100))
    written, write, sync = Barrier(THREADS), Segment.write, Segment.sync
    failed: list[int] = []

    def write_together(segment: Segment, offset: int, record: memoryview) -> None:
        write(segment, offset, record)
        if segment.segment_id == 1:
            written.wait(30)

    def failing(segment: Segment) -> None:
        if segment.segment_id == 1 and not failed:
            failed.append(1)
            raise OSError(errno.EIO, "sync failed")
        sync(segment)

    monkeypatch.setattr(Segment, "write", write_together)
    monkeypatch.setattr(Segment, "sync", failing)
    assert at_once(lambda thread: put_block(store, numbered_block(thread))) == [True] * THREADS
    monkeypatch.undo()
    assert {place_of(folder, numbered_block(thread)).segment_id for thread in range(THREADS)} == {2}
    assert all_blocks_read(store, [*range(THREADS), 100])
    store.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_anywhere_on_the_way_of_a_put_is_told_as_such(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    store = open_store(folder)
    put_block(store, numbered_block(0))

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    for owner, name in ((Segment, "write"), (Segment, "create")):
        monkeypatch.setattr(owner, name, fail)
        if name == "create":
            store.close()
            shutil.rmtree(folder)
            store = open_store(folder)
        with pytest.raises(StoreFullError):
            put_block(store, numbered_block(1))
        monkeypatch.undo()
    store.close()


def test_what_was_written_twice_because_a_sync_failed_stays_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first record stands behind the checkpoint of the segment that failed, where the next start searches."""
    address, fails = address_of(b"manifest"), iter([True])
    sync = Segment.sync

    def fail_once(segment: Segment) -> None:
        if next(fails, False):
            raise OSError(errno.EIO, "the first sync fails")
        sync(segment)

    monkeypatch.setattr(Segment, "sync", fail_once)
    store = open_store(tmp_path / "store")
    assert store.put_many(ObjectKind.MANIFEST, [(address, b"manifest")]) == 1
    assert len(segment_names(tmp_path / "store")) == 2
    assert store.remove([address]) == 1
    shutil.copytree(tmp_path / "store", tmp_path / "killed")
    with closing(open_store(tmp_path / "killed")) as reopened:
        assert not reopened.has(address)
        assert list(reopened.manifests()) == []
    store.close()


def test_what_was_written_twice_and_could_not_be_erased_is_erased_with_its_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync after the erasure fails too, and a power cut takes the erasure back."""
    address, folder = address_of(b"manifest"), tmp_path / "store"
    outcomes = iter([False, False])
    sync, erase = Segment.sync, Segment.erase

    def fail_twice(segment: Segment) -> None:
        if not next(outcomes, True):
            raise OSError(errno.EIO, "a sync fails")
        sync(segment)

    monkeypatch.setattr(Segment, "sync", fail_twice)
    monkeypatch.setattr(Segment, "erase", lambda segment, offset: None)  # lost with the sync that failed
    store, other = open_store(folder), open_store(folder)
    assert store.put_many(ObjectKind.MANIFEST, [(address, b"manifest")]) == 1
    monkeypatch.setattr(Segment, "erase", erase)
    assert other.remove([address]) == 1
    other.close()
    store.close()
    remove_index_files(folder)
    with closing(open_store(folder)) as reopened:
        assert list(reopened.manifests()) == []


def test_a_second_record_that_a_recovery_finds_is_erased_durably(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = open_store(folder)
    put_block(store, numbered_block(1))
    store.close()
    other = open_store(tmp_path / "other")
    put_block(other, numbered_block(1))
    other.close()
    shutil.copy(segment_file(tmp_path / "other", 1), segment_file(folder, 2))
    renumber(segment_file(folder, 2), 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segment, "punch", lambda *_: None)
        open_store(folder).close()
    assert segment_file(folder, 2).read_bytes()[SEGMENT_HEADER_SIZE : SEGMENT_HEADER_SIZE + 4_096] == bytes(4_096)
