"""One segment: its file, its owner, its holes, and the scan that finds whole records among whatever a crash left."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

import pytest

from snapstone.core.blocks import Address
from snapstone.storage.contract import ObjectKind
from snapstone.storage.record import HEADER_SIZE, BadRecordError, record_size, write_header
from snapstone.storage.segment import MAX_PAYLOAD_SIZE, SEGMENT_HEADER_SIZE, SEGMENT_SIZE, Segment

SALT: Final = bytes(range(16))
NOW_MS: Final = 1_790_337_440_328


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "00000007.segment"


@pytest.fixture
def segment(path: Path) -> Segment:
    return Segment.create(path, 7, SALT)


def address(number: int) -> Address:
    return Address(number.to_bytes(32, "big"))


def record(number: int, payload: bytes, offset: int, salt: bytes = SALT) -> bytes:
    """A record for an offset, padded."""
    content = bytearray(record_size(len(payload)))
    view = memoryview(content)
    view[HEADER_SIZE : HEADER_SIZE + len(payload)] = payload
    key = salt + offset.to_bytes(8, "little")
    stored = view[HEADER_SIZE : HEADER_SIZE + len(payload)]
    write_header(view[:HEADER_SIZE], key, ObjectKind.PAGE, address(number), stored, NOW_MS)
    return bytes(content)


def write(path: Path, offset: int, content: bytes | bytearray) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def found(segment: Segment, start: int = SEGMENT_HEADER_SIZE) -> list[tuple[int, int]]:
    """Offset and number of each record of a scan."""
    return [(offset, int.from_bytes(header.address, "big")) for offset, header in segment.scan(start)]


def test_the_limits_are_those_of_the_format() -> None:
    assert (SEGMENT_SIZE, SEGMENT_HEADER_SIZE, MAX_PAYLOAD_SIZE) == (1_073_741_824, 4_096, 16_777_216)


def test_a_new_segment_is_its_header_alone_and_readable_by_its_owner(segment: Segment, path: Path) -> None:
    assert path.stat().st_size == 4_096
    assert path.stat().st_mode & 0o777 == 0o600
    again = Segment.open(path)
    assert (again.segment_id, again.salt) == (7, SALT)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_taken_number_is_not_overwritten(segment: Segment, path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        Segment.create(path, 7, bytes(16))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_segment_cannot_be_made_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Segment.create(tmp_path / "gone" / "00000001.segment", 1, SALT)


def test_a_flipped_bit_in_any_byte_of_the_header_is_noticed(segment: Segment, path: Path) -> None:
    whole = path.read_bytes()
    for position in range(4_096):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        with pytest.raises(BadRecordError):
            Segment.open(path)
    path.write_bytes(whole[:4_095])
    with pytest.raises(BadRecordError):
        Segment.open(path)


def test_a_segment_under_another_number_is_refused(segment: Segment, path: Path) -> None:
    moved = path.rename(path.with_name("00000008.segment"))
    with pytest.raises(BadRecordError, match="the file holds segment 7"):
        Segment.open(moved)


def test_a_segment_has_one_owner_at_a_time(segment: Segment, path: Path) -> None:
    other = Segment.open(path)
    assert segment.try_own()
    assert not other.try_own()
    segment.disown()
    assert other.try_own()
    del other
    assert segment.try_own()


def test_preallocation_reserves_space_and_leaves_holes_before_it(segment: Segment, path: Path) -> None:
    write(path, 4_096, b"x" * 12_288)
    segment.sync()
    segment.punch(4_096, 8_192)
    used = path.stat().st_blocks * 512
    segment.preallocate(16_384, 1 << 20)
    assert path.stat().st_size == 1 << 20
    assert path.stat().st_blocks * 512 >= used + (1 << 20) - 16_384
    assert segment.end_of_data() == 16_384
    segment.preallocate(1 << 20, 16_384)
    assert path.stat().st_size == 1 << 20
    segment.truncate(16_384)
    assert path.stat().st_blocks * 512 <= used


def test_a_record_is_read_where_it_was_written_and_nowhere_else(segment: Segment, path: Path) -> None:
    write(path, 4_096, record(1, b"payload", 4_096))
    view = memoryview(bytearray(HEADER_SIZE + 7))
    header = segment.read(4_096, view)
    assert (header.address, bytes(view[HEADER_SIZE:])) == (address(1), b"payload")
    write(path, 12_288, record(1, b"payload", 4_096))
    with pytest.raises(BadRecordError):
        segment.read(12_288, view)


def test_a_record_of_another_size_than_asked_for_is_refused(segment: Segment, path: Path) -> None:
    write(path, 4_096, record(1, b"payload", 4_096))
    for size in (6, 8):
        with pytest.raises(BadRecordError, match="has 7 bytes"):
            segment.read(4_096, memoryview(bytearray(HEADER_SIZE + size)))
    with pytest.raises(BadRecordError, match="ends before"):
        segment.read(4_096, memoryview(bytearray(HEADER_SIZE + 100_000)))


def test_a_write_that_the_disk_cuts_short_is_an_error(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda fd, content, offset: len(content) - 1)
    with pytest.raises(OSError, match="wrote 4095 of 4096 bytes") as raised:
        segment.write(4_096, memoryview(bytes(4_096)))
    assert raised.value.errno == errno.EIO


def test_a_punched_stretch_reads_as_zeros_and_its_neighbours_stay(segment: Segment, path: Path) -> None:
    write(path, 4_096, b"x" * 12_288)
    segment.punch(8_192, 4_096)
    assert path.read_bytes()[4_096:] == b"x" * 4_096 + bytes(4_096) + b"x" * 4_096


def test_a_scan_finds_whole_records_between_gaps_and_holes(segment: Segment, path: Path) -> None:
    for number, offset in ((1, 4_096), (2, 12_288), (3, 1 << 20), (4, (1 << 20) + 8_192)):
        write(path, offset, record(number, b"payload", offset))
    segment.sync()
    segment.punch(12_288, 8_192)
    assert found(segment) == [(4_096, 1), (1 << 20, 3), ((1 << 20) + 8_192, 4)]
    assert found(segment, 8_192) == [(1 << 20, 3), ((1 << 20) + 8_192, 4)]
    assert found(segment, (1 << 20) + 16_384) == []


def test_a_scan_goes_on_behind_torn_records(segment: Segment, path: Path) -> None:
    write(path, 4_096, record(1, b"a" * 20_000, 4_096)[:8_192])
    torn = bytearray(record(2, b"b" * 4_096, 28_672))
    torn[HEADER_SIZE + 1] ^= 1
    write(path, 28_672, torn)
    write(path, 36_864, b"\xff" * 4_096)
    write(path, 40_960, record(3, b"c", 40_960))
    assert found(segment) == [(40_960, 3)]


def test_a_scan_believes_no_record_inside_a_record(segment: Segment, path: Path) -> None:
    inner = record(2, b"inner", 4_096 + HEADER_SIZE)
    write(path, 4_096, record(1, inner, 4_096))
    assert found(segment) == [(4_096, 1)]


def test_a_scan_believes_no_record_of_another_segment(segment: Segment, path: Path) -> None:
    write(path, 4_096, record(1, b"payload", 4_096, salt=bytes(16)))
    assert found(segment) == []


def test_a_record_that_ends_behind_the_file_is_torn(segment: Segment, path: Path) -> None:
    write(path, 4_096, record(1, b"a" * 20_000, 4_096)[:-8_192])
    assert found(segment) == []


def test_an_empty_payload_is_a_record(segment: Segment, path: Path) -> None:
    write(path, 4_096, record(1, b"", 4_096))
    assert found(segment) == [(4_096, 1)]


def test_the_end_of_data_is_behind_the_last_byte_written(segment: Segment, path: Path) -> None:
    assert segment.end_of_data() == 4_096
    segment.preallocate(4_096, 1 << 20)
    assert segment.end_of_data() == 4_096
    write(path, 40_960, b"x")
    segment.sync()
    assert segment.end_of_data() == 45_056
    segment.punch(40_960, 4_096)
    assert segment.end_of_data() == 4_096


def test_a_segment_that_is_let_go_closes_its_files(segment: Segment, path: Path) -> None:
    def open_count() -> int:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return sum(1 for link in links if link.is_symlink() and os.path.realpath(link) == str(path.resolve()))

    before = open_count()
    other = Segment.open(path)
    assert open_count() == before + 2
    del other
    assert open_count() == before
