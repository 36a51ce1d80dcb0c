"""The index: what it finds, what it takes for a duplicate, and how it is put away when it is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstone.core.blocks import Address
from snapstone.storage.contract import ObjectEntry, ObjectKind
from snapstone.storage.index import (
    Index,
    IndexVersionError,
    NewRecord,
    RecordPlace,
    SegmentRow,
    is_index,
    remove_index,
)


def address(number: int) -> Address:
    return Address(number.to_bytes(32, "big"))


def record(number: int, offset: int = 4_096, *, segment_id: int = 1, stored_at_ms: int = 5) -> NewRecord:
    return NewRecord(address(number), ObjectKind.BLOCK, segment_id, offset, 524_288, stored_at_ms)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    index = Index(path)
    yield index
    index.close()


def test_an_added_record_is_found_at_its_place(index: Index) -> None:
    assert index.add([record(1), record(2, 8_192)], {}) == []
    assert index.find(address(1)) == RecordPlace(ObjectKind.BLOCK, 1, 4_096, 524_288, damaged=False)
    assert index.find(address(2)) == RecordPlace(ObjectKind.BLOCK, 1, 8_192, 524_288, damaged=False)
    assert index.find(address(3)) is None


def test_what_is_missing_is_told_from_any_number_of_addresses(index: Index) -> None:
    index.add([record(number, 4_096 * number) for number in range(0, 1_200, 2)], {})
    asked = [address(number) for number in range(1_200)]
    assert index.find_missing(asked) == {address(number) for number in range(1, 1_200, 2)}
    assert index.find_missing([]) == set()


def test_a_record_of_an_address_that_stands_elsewhere_is_a_duplicate_and_changes_nothing(index: Index) -> None:
    index.add([record(1)], {})
    duplicate = record(1, 8_192, stored_at_ms=9)
    assert index.add([duplicate, record(2, 12_288)], {}) == [duplicate]
    place = index.find(address(1))
    assert place is not None
    assert place.offset == 4_096
    assert index.find(address(2)) is not None


def test_of_two_records_of_one_address_in_one_batch_the_second_is_the_duplicate(index: Index) -> None:
    assert index.add([record(1), record(1, 8_192)], {}) == [record(1, 8_192)]


def test_a_record_that_is_added_again_is_no_duplicate_of_itself(index: Index) -> None:
    index.add([record(1)], {})
    assert index.add([record(1)], {}) == []


def test_a_damaged_place_is_missing_and_gives_way_to_a_new_record(index: Index) -> None:
    index.add([record(1)], {})
    place = index.find(address(1))
    assert place is not None
    index.mark_damaged(address(1), place)
    assert index.find(address(1)) == RecordPlace(ObjectKind.BLOCK, 1, 4_096, 524_288, damaged=True)
    assert index.find_missing([address(1)]) == {address(1)}
    assert index.add([record(1, 8_192, segment_id=2)], {}) == []
    assert index.find(address(1)) == RecordPlace(ObjectKind.BLOCK, 2, 8_192, 524_288, damaged=False)


def test_damage_seen_at_an_old_place_does_not_stain_the_new_one(index: Index) -> None:
    index.add([record(1)], {})
    old = index.find(address(1))
    assert old is not None
    index.remove([address(1)])
    index.add([record(1, 8_192)], {})
    index.mark_damaged(address(1), old)
    assert index.find_missing([address(1)]) == set()


def test_removal_tells_the_places_that_were_there(index: Index) -> None:
    index.add([record(1), record(2, 8_192)], {})
    assert index.remove([address(1), address(3), address(1)]) == [
        RecordPlace(ObjectKind.BLOCK, 1, 4_096, 524_288, False)
    ]
    assert index.find(address(1)) is None
    assert index.find(address(2)) is not None


@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 1_001, 2_000])
def test_a_walk_passes_every_object_once_in_order(index: Index, count: int) -> None:
    index.add([record(number, 4_096 * number) for number in range(count)], {})
    assert list(index.walk()) == [ObjectEntry(address(number), ObjectKind.BLOCK, 524_288, 5) for number in range(count)]


def test_a_walk_goes_on_beside_writes(index: Index) -> None:
    index.add([record(number, 4_096 * number) for number in range(1_500)], {})
    walk = index.walk()
    first = next(walk)
    index.remove([address(number) for number in range(1_000, 1_500)])
    assert [first, *walk] == [ObjectEntry(address(number), ObjectKind.BLOCK, 524_288, 5) for number in range(1_000)]


def test_segments_are_known_with_their_checkpoints(index: Index) -> None:
    index.add_segment(2, 4_096)
    index.add_segment(1, 4_096)
    index.add([record(1)], {1: 532_480})
    index.add_segment(1, 4_096)
    index.set_full(2)
    assert index.segments() == [SegmentRow(1, 532_480, full=False), SegmentRow(2, 4_096, full=True)]
    index.forget_segment(2)
    assert index.segments() == [SegmentRow(1, 532_480, full=False)]


def test_records_and_checkpoint_are_added_together_or_not_at_all(index: Index) -> None:
    index.add_segment(1, 4_096)
    bad = NewRecord(Address(b"too short"), ObjectKind.BLOCK, 1, 8_192, 1, 1)
    with pytest.raises(sqlite3.IntegrityError):
        index.add([record(1), bad], {1: 532_480})
    assert index.find(address(1)) is None
    assert index.segments() == [SegmentRow(1, 4_096, full=False)]
    index.add([record(1)], {1: 532_480})
    assert index.find(address(1)) is not None


def test_an_index_is_readable_by_its_owner_alone(index: Index, path: Path) -> None:
    files = [path, path.with_name("index.db-lock")]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]


def test_a_reopened_index_knows_what_it_knew(path: Path) -> None:
    index = Index(path)
    index.add_segment(1, 4_096)
    index.add([record(1)], {1: 532_480})
    index.close()
    again = Index(path)
    assert again.find(address(1)) == RecordPlace(ObjectKind.BLOCK, 1, 4_096, 524_288, damaged=False)
    assert again.segments() == [SegmentRow(1, 532_480, full=False)]
    again.close()


def test_an_index_of_another_version_is_refused(path: Path) -> None:
    Index(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(IndexVersionError, match="has version 3, this Snapstone knows versions up to 2"):
        Index(path)


def test_only_an_index_is_taken_for_one(path: Path) -> None:
    assert not is_index(path)
    path.write_bytes(b"")
    assert not is_index(path)
    path.write_bytes(b"not a database" * 1_000)
    assert not is_index(path)
    path.unlink()
    Index(path).close()
    assert is_index(path)


def test_a_damaged_index_is_put_out_of_the_way_with_its_log(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).write_bytes(b"damaged" + suffix.encode())
    remove_index(path)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "index.db-shm.damaged",
        "index.db-wal.damaged",
        "index.db.damaged",
    ]
    Index(path).close()
    assert is_index(path)
