"""The appender: places are handed out once, and the checkpoint never passes one that is under way."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from snapstone.core.blocks import Address
from snapstone.core.errors import StoreFullError
from snapstone.storage.appender import END_GAP, Appender, Reservation, SegmentFailedError, segment_path
from snapstone.storage.contract import ObjectKind
from snapstone.storage.index import Index, NewRecord, SegmentRow
from snapstone.storage.segment import SEGMENT_HEADER_SIZE, Segment
from tests.suites.object_store_suite import THREADS, at_once

SEGMENT_SIZE: Final = 8 << 20
SIZE: Final = 8_192


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "segments"
    folder.mkdir()
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path / "index.db")
    yield index
    index.close()


@pytest.fixture
def appender(index: Index, folder: Path) -> Appender:
    return Appender(index, folder, SEGMENT_SIZE, os.urandom, checkpoint_interval=0)


def record(number: int, reservation: Reservation) -> NewRecord:
    address = Address(number.to_bytes(32, "big"))
    return NewRecord(address, ObjectKind.PAGE, reservation.segment.segment_id, reservation.offset, 100, 1)


def checkpoint(index: Index) -> int:
    return index.segments()[0].checkpoint


def test_the_checkpoint_stays_before_a_place_that_is_under_way(appender: Appender, index: Index) -> None:
    with appender.reserve(SIZE) as slow:
        with appender.reserve(SIZE) as quick:
            appender.commit(quick, [record(1, quick)])
        assert index.find(Address((1).to_bytes(32, "big"))) is not None
        assert checkpoint(index) == slow.offset == SEGMENT_HEADER_SIZE
        appender.commit(slow, [record(2, slow)])
    assert checkpoint(index) == SEGMENT_HEADER_SIZE + 2 * SIZE


def test_the_checkpoint_moves_when_a_recovery_would_have_its_interval_to_search(index: Index, folder: Path) -> None:
    appender = Appender(index, folder, SEGMENT_SIZE, os.urandom, checkpoint_interval=2 * SIZE)
    seen = []
    for number in range(1, 4):
        with appender.reserve(SIZE) as reservation:
            appender.commit(reservation, [record(number, reservation)])
        seen.append(checkpoint(index) - SEGMENT_HEADER_SIZE)
    assert seen == [0, 2 * SIZE, 2 * SIZE]


def test_the_checkpoint_passes_a_place_that_was_given_up(appender: Appender, index: Index) -> None:
    with appender.reserve(SIZE):
        pass
    with appender.reserve(SIZE) as written:
        appender.commit(written, [record(1, written)])
    assert written.offset == SEGMENT_HEADER_SIZE + SIZE
    assert checkpoint(index) == SEGMENT_HEADER_SIZE + 2 * SIZE


def test_the_checkpoint_stays_before_the_lowest_of_several_places(appender: Appender, index: Index) -> None:
    with ExitStack() as held:
        places = [held.enter_context(appender.reserve(SIZE)) for _ in range(4)]
        for number in (3, 1, 2):
            appender.commit(places[number], [record(number, places[number])])
            assert checkpoint(index) == places[0].offset
        appender.commit(places[0], [record(0, places[0])])
    assert checkpoint(index) == SEGMENT_HEADER_SIZE + 4 * SIZE


def test_places_never_overlap(appender: Appender, folder: Path) -> None:
    def reserve(thread: int) -> list[tuple[int, int]]:
        taken = []
        for _ in range(200):
            with appender.reserve(SIZE) as place:
                taken.append((place.segment.segment_id, place.offset))
        return taken

    taken = [place for places in at_once(reserve) for place in places]
    assert len(set(taken)) == len(taken) == THREADS * 200
    assert all(offset % SIZE == SEGMENT_HEADER_SIZE % SIZE and offset + SIZE <= SEGMENT_SIZE for _, offset in taken)
    # The header takes one place: a segment has 1,023 whole ones.
    assert sorted(path.name for path in folder.iterdir()) == ["00000001.segment", "00000002.segment"]


def test_a_record_that_fits_exactly_is_appended_to_the_segment_in_use(appender: Appender) -> None:
    with appender.reserve(SIZE) as first, appender.reserve(SEGMENT_SIZE - END_GAP - SEGMENT_HEADER_SIZE - SIZE) as rest:
        assert (first.segment.segment_id, rest.segment.segment_id) == (1, 1)
    with appender.reserve(END_GAP) as next_one:
        assert next_one.segment.segment_id == 2


def test_a_segment_is_full_once_nothing_is_under_way_in_it(appender: Appender, index: Index, folder: Path) -> None:
    with appender.reserve(SIZE) as slow:
        with appender.reserve(SEGMENT_SIZE - SEGMENT_HEADER_SIZE) as other:
            assert other.segment.segment_id == 2
            appender.commit(other, [record(1, other)])
        assert index.segments()[0] == SegmentRow(1, SEGMENT_HEADER_SIZE, full=False, size=SEGMENT_SIZE)
        appender.commit(slow, [record(2, slow)])
    assert index.segments()[0] == SegmentRow(1, SEGMENT_HEADER_SIZE + SIZE, full=True, size=SEGMENT_HEADER_SIZE + SIZE)
    assert segment_path(folder, 1).stat().st_size == SEGMENT_HEADER_SIZE + SIZE


def test_after_a_failed_sync_the_checkpoint_stays_and_the_segment_is_left(
    appender: Appender, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(segment: Segment) -> None:
        raise OSError(errno.EIO, "sync failed")

    monkeypatch.setattr(Segment, "sync", fail)
    with appender.reserve(SIZE) as place, pytest.raises(SegmentFailedError) as raised:
        appender.commit(place, [record(1, place)])
    assert str(raised.value.cause) == "[Errno 5] sync failed"
    monkeypatch.undo()
    assert index.find(Address((1).to_bytes(32, "big"))) is None
    assert checkpoint(index) == SEGMENT_HEADER_SIZE
    with appender.reserve(SIZE) as place:
        assert place.segment.segment_id == 2
        appender.commit(place, [record(1, place)])
    assert [row.full for row in index.segments()] == [True, False]


def test_a_record_that_another_process_stored_meanwhile_is_told(appender: Appender, index: Index) -> None:
    with appender.reserve(SIZE) as first:
        appender.commit(first, [record(1, first)])
    with appender.reserve(2 * SIZE) as second:
        again, fresh = record(1, second), record(2, second)
        assert appender.commit(second, [again, fresh]) == [again]


def test_closing_lets_another_append(appender: Appender, index: Index, folder: Path) -> None:
    with appender.reserve(SIZE) as place:
        appender.commit(place, [record(1, place)])
    other = Segment.open(segment_path(folder, 1))
    assert not other.try_own()
    appender.close()
    assert other.try_own()
    assert segment_path(folder, 1).stat().st_size == SEGMENT_HEADER_SIZE + SIZE
    assert checkpoint(index) == SEGMENT_HEADER_SIZE + SIZE


def test_an_adopted_segment_is_appended_to_from_the_given_place(index: Index, folder: Path) -> None:
    segment = Segment.create(segment_path(folder, 5), 5, bytes(16))
    assert segment.try_own()
    appender = Appender(index, folder, SEGMENT_SIZE, os.urandom)
    appender.adopt(segment, 40_960)
    with appender.reserve(SIZE) as place:
        assert (place.segment.segment_id, place.offset) == (5, 40_960)
    assert segment_path(folder, 5).stat().st_size == SEGMENT_SIZE


def test_a_number_that_only_the_index_knows_is_not_given_again(appender: Appender, index: Index) -> None:
    """Its file is lost, and places in it are still named."""
    index.add_segment(9, 4_096)
    with appender.reserve(SIZE) as place:
        assert place.segment.segment_id == 10


def test_a_disk_without_space_for_a_segment_refuses_the_reservation(
    appender: Appender, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(segment: Segment, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Segment, "preallocate", full)
    with pytest.raises(StoreFullError, match="no space"), appender.reserve(SIZE):
        raise AssertionError("a place was handed out")
    assert list(folder.iterdir()) == []


def failing_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next sync of a segment fails; what comes after "succeeds", as it does with a real kernel."""
    sync = Segment.sync

    def fail(segment: Segment) -> None:
        monkeypatch.setattr(Segment, "sync", sync)
        raise OSError(errno.EIO, "sync failed")

    monkeypatch.setattr(Segment, "sync", fail)


def test_what_was_reserved_before_a_failed_sync_is_never_committed_by_a_later_one(
    appender: Appender, index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with appender.reserve(SIZE) as earlier:
        failing_once(monkeypatch)
        with appender.reserve(SIZE) as place, pytest.raises(SegmentFailedError):
            appender.commit(place, [record(1, place)])
        with pytest.raises(SegmentFailedError):
            appender.commit(earlier, [record(2, earlier)])
    assert index.find(Address((2).to_bytes(32, "big"))) is None
    assert checkpoint(index) == SEGMENT_HEADER_SIZE
    with appender.reserve(SIZE) as place:
        appender.commit(place, [record(2, place)])
    assert [row.full for row in index.segments()] == [True, False]
    assert segment_path(folder, 1).stat().st_size == SEGMENT_HEADER_SIZE + 2 * SIZE + END_GAP


def test_a_close_whose_sync_fails_does_not_move_the_checkpoint(
    appender: Appender, index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with appender.reserve(SIZE) as place:
        appender.commit(place, [record(1, place)])
    before = checkpoint(index)
    with appender.reserve(SIZE):
        pass
    failing_once(monkeypatch)
    appender.close()
    assert checkpoint(index) == before
    assert segment_path(folder, 1).stat().st_size == SEGMENT_HEADER_SIZE + 2 * SIZE + END_GAP


def test_a_segment_in_use_never_ends_with_its_last_record(appender: Appender, folder: Path) -> None:
    """So a file that does was closed well, and recovery need not write its records again."""
    for _ in range(2_000):
        with appender.reserve(SIZE) as place:
            assert place.offset + SIZE < segment_path(folder, place.segment.segment_id).stat().st_size


def test_a_removed_file_is_not_written_to_any_longer(appender: Appender, folder: Path) -> None:
    with appender.reserve(SIZE) as place:
        segment_path(folder, 1).unlink()
        with pytest.raises(SegmentFailedError) as raised:
            appender.commit(place, [record(1, place)])
    assert raised.value.cause.errno == errno.ENOENT
    with appender.reserve(SIZE) as place:
        assert place.segment.segment_id == 2


def test_a_segment_that_the_index_cannot_note_gives_its_space_back(
    appender: Appender, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreFullError("no space for the index")

    monkeypatch.setattr(Index, "add_segment", fail)
    with pytest.raises(StoreFullError), appender.reserve(SIZE):
        raise AssertionError("a place was handed out")
    assert list(folder.iterdir()) == []


class TightSpace:
    """Room for essential segments only."""

    def refuse_block_if_low(self) -> None:
        raise StoreFullError("full")

    def largest_segment(self, wanted: int, *, essential: bool = False) -> int:
        return 1 << 20 if essential else 0


def test_on_a_full_disk_only_what_is_essential_gets_a_segment(index: Index, folder: Path) -> None:
    appender = Appender(index, folder, SEGMENT_SIZE, os.urandom, space=TightSpace())
    with pytest.raises(StoreFullError), appender.reserve(SIZE):
        raise AssertionError("a place was handed out")
    with appender.reserve(SIZE, essential=True) as place:
        assert place.segment.path.stat().st_size == 1 << 20


def test_what_is_left_of_a_segment_serves_small_records_when_there_is_no_space_for_another(
    appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    with appender.reserve(SEGMENT_SIZE - SEGMENT_HEADER_SIZE - 4 * SIZE) as place:
        assert place.segment.segment_id == 1

    def full(segment: Segment, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Segment, "preallocate", full)
    with pytest.raises(StoreFullError), appender.reserve(8 * SIZE):
        raise AssertionError("a place was handed out")
    with appender.reserve(SIZE) as small:
        assert small.segment.segment_id == 1
