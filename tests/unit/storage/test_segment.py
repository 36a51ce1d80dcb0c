"""One segment: its file, its owner, its holes, and the scan that finds whole records among whatever a crash left."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from mmap import mmap
from pathlib import Path
from typing import Final

import pytest

from snapstone.core.blocks import Address
from snapstone.storage.contract import ObjectKind
from snapstone.storage.record import HEADER_SIZE, BadRecordError, RecordHeader, record_size, write_header
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
    assert (SEGMENT_SIZE, SEGMENT_HEADER_SIZE, MAX_PAYLOAD_SIZE) == (1_073_741_824, 8_192, 16_777_216)


def test_a_new_segment_is_its_header_twice_and_readable_by_its_owner(segment: Segment, path: Path) -> None:
    content = path.read_bytes()
    assert len(content) == 8_192
    assert content[:4_096] == content[4_096:]
    assert path.stat().st_mode & 0o777 == 0o600
    again = Segment.open(path)
    assert (again.segment_id, again.salt, again.header_damage) == (7, SALT, None)
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


def test_a_flipped_bit_in_any_byte_of_either_copy_of_the_header_is_noticed_and_harmless(
    segment: Segment, path: Path
) -> None:
    write(path, 8_192, record(1, b"payload", 8_192))
    whole = path.read_bytes()
    for position in range(8_192):
        write(path, position, bytes([whole[position] ^ 1 << position % 8]))
        damaged = Segment.open(path)
        write(path, position, whole[position : position + 1])
        assert damaged.header_damage is not None
        assert f"the copy at {position // 4_096 * 4_096};" in damaged.header_damage
        assert (damaged.segment_id, damaged.salt, found(damaged)) == (7, SALT, [(8_192, 1)])


def test_a_segment_with_neither_copy_of_its_header_whole_is_refused(segment: Segment, path: Path) -> None:
    whole = path.read_bytes()
    for position in range(0, 4_096, 5):
        changed = bytearray(whole)
        for place in (position, 4_096 + (position + 2_000) % 4_096):
            changed[place] ^= 1 << position % 8
        path.write_bytes(changed)
        with pytest.raises(BadRecordError, match="the segment's header is damaged"):
            Segment.open(path)


def test_a_segment_cut_within_its_header_is_read_by_what_is_left(segment: Segment, path: Path) -> None:
    for size in (8_191, 4_096):
        os.truncate(path, size)
        damage = "the segment's header is damaged: the copy at 4096; the other is whole"
        assert Segment.open(path).header_damage == damage
    for size in (4_095, 0):
        os.truncate(path, size)
        with pytest.raises(BadRecordError):
            Segment.open(path)


@pytest.mark.parametrize("offset", [0, 4_096])
def test_a_copy_of_another_segments_header_is_damage_to_that_copy(segment: Segment, path: Path, offset: int) -> None:
    other = Segment.create(path.with_name("00000008.segment"), 8, bytes(16))
    write(path, offset, other.path.read_bytes()[:4_096])
    again = Segment.open(path)
    assert again.header_damage == f"the file holds segment 8: the copy at {offset}; the other is whole"
    assert again.salt == SALT


def test_two_whole_copies_that_contradict_each_other_are_not_believed(segment: Segment, path: Path) -> None:
    other = Segment.create(path.with_name("00000008.segment"), 7, bytes(16))
    write(path, 4_096, other.path.read_bytes()[:4_096])
    with pytest.raises(BadRecordError, match="contradict"):
        Segment.open(path)


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, *offsets: int, code: int = errno.EIO) -> None:
    """Let os.preadv or os.pwrite fail at some offsets."""
    real = getattr(os, name)

    def fail(fd: int, what: object, offset: int) -> object:
        if offset in offsets:
            raise OSError(code, os.strerror(code))
        return real(fd, what, offset)

    monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize("offset", [0, 4_096])
def test_a_copy_of_the_header_that_the_disk_cannot_read_is_damage_to_that_copy(
    segment: Segment, path: Path, offset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(monkeypatch, "preadv", offset)
    again = Segment.open(path)
    assert again.header_damage == f"the segment's header is damaged: the copy at {offset}; the other is whole"
    assert again.salt == SALT


def test_a_header_that_the_disk_cannot_read_at_all_is_damage_and_other_errors_are_not(
    segment: Segment, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(monkeypatch, "preadv", 0, 4_096)
    with pytest.raises(BadRecordError):
        Segment.open(path)
    monkeypatch.undo()
    fail_at(monkeypatch, "preadv", 0, code=errno.ENOMEM)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
        Segment.open(path)


@pytest.mark.parametrize("position", [24, 4_095, 4_096, 8_191])
def test_a_damaged_copy_of_the_header_is_mended_from_the_other(segment: Segment, path: Path, position: int) -> None:
    write(path, 8_192, record(1, b"payload", 8_192))
    whole = path.read_bytes()
    write(path, position, bytes([whole[position] ^ 1]))
    Segment.open(path).mend_header()
    assert path.read_bytes() == whole
    assert Segment.open(path).header_damage is None


def test_a_mended_header_is_synced_and_a_whole_one_is_not_written(
    segment: Segment, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[object] = []
    monkeypatch.setattr(os, "pwrite", lambda fd, content, offset: steps.append(offset))
    monkeypatch.setattr(os, "fdatasync", lambda fd: steps.append("sync"))
    write(path, 4_100, b"x")
    Segment.open(path).mend_header()
    assert steps == [4_096, "sync"]


def test_a_header_that_the_disk_does_not_let_mend_goes_on_serving(
    segment: Segment, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, 30, b"x")
    again = Segment.open(path)
    fail_at(monkeypatch, "pwrite", 0)
    again.mend_header()
    assert Segment.open(path).salt == SALT


def test_a_mended_header_whose_sync_fails_goes_on_serving(
    segment: Segment, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing rests on that sync: what a recovery vouches for is written again after it."""

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "sync failed")

    write(path, 30, b"x")
    again = Segment.open(path)
    monkeypatch.setattr(os, "fdatasync", fail)
    again.mend_header()
    assert Segment.open(path).salt == SALT


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
    write(path, 8_192, b"x" * 8_192)
    segment.sync()
    segment.punch(8_192, 4_096)
    used = path.stat().st_blocks * 512
    segment.preallocate(16_384, 1 << 20)
    assert path.stat().st_size == 1 << 20
    assert path.stat().st_blocks * 512 >= used + (1 << 20) - 16_384
    segment.preallocate(1 << 20, 16_384)
    assert path.stat().st_size == 1 << 20
    segment.truncate(16_384)
    assert path.stat().st_blocks * 512 <= used


def test_a_record_is_read_where_it_was_written_and_nowhere_else(segment: Segment, path: Path) -> None:
    write(path, 8_192, record(1, b"payload", 8_192))
    view = memoryview(bytearray(HEADER_SIZE + 7))
    header = segment.read(8_192, view)
    assert (header.address, bytes(view[HEADER_SIZE:])) == (address(1), b"payload")
    write(path, 16_384, record(1, b"payload", 8_192))
    with pytest.raises(BadRecordError):
        segment.read(16_384, view)


def test_a_record_of_another_size_than_asked_for_is_refused(segment: Segment, path: Path) -> None:
    write(path, 8_192, record(1, b"payload", 8_192))
    for size in (6, 8):
        with pytest.raises(BadRecordError, match="has 7 bytes"):
            segment.read(8_192, memoryview(bytearray(HEADER_SIZE + size)))
    with pytest.raises(BadRecordError, match="ends before"):
        segment.read(8_192, memoryview(bytearray(HEADER_SIZE + 100_000)))


@pytest.mark.parametrize(("read", "least"), [(Segment.read, 1_000), (Segment.read_aligned, 4_096)])
def test_a_read_that_the_kernel_cuts_short_is_continued(
    segment: Segment,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Segment, int, memoryview], RecordHeader],
    least: int,
) -> None:
    payload = bytes(range(256)) * 64
    write(path, 8_192, record(1, payload, 8_192))
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, into, offset: real(fd, [into[0][:least]], offset))
    view = memoryview(mmap(-1, HEADER_SIZE + len(payload)))
    read(segment, 8_192, view)
    assert view[HEADER_SIZE:] == payload
    assert Segment.open(path).salt == SALT
    if read is Segment.read_aligned:  # as a scan reads
        assert found(segment) == [(8_192, 1)]


def test_a_write_that_the_disk_cuts_short_is_an_error(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda fd, content, offset: len(content) - 1)
    with pytest.raises(OSError, match="wrote 4095 of 4096 bytes") as raised:
        segment.write(8_192, memoryview(bytes(4_096)))
    assert raised.value.errno == errno.EIO


def test_a_punched_stretch_reads_as_zeros_and_its_neighbours_stay(segment: Segment, path: Path) -> None:
    write(path, 8_192, b"x" * 12_288)
    segment.punch(12_288, 4_096)
    assert path.read_bytes()[8_192:] == b"x" * 4_096 + bytes(4_096) + b"x" * 4_096


def test_a_scan_finds_whole_records_between_gaps_and_holes(segment: Segment, path: Path) -> None:
    for number, offset in ((1, 8_192), (2, 16_384), (3, 1 << 20), (4, (1 << 20) + 8_192)):
        write(path, offset, record(number, b"payload", offset))
    segment.sync()
    segment.punch(16_384, 8_192)
    assert found(segment) == [(8_192, 1), (1 << 20, 3), ((1 << 20) + 8_192, 4)]
    assert found(segment, 12_288) == [(1 << 20, 3), ((1 << 20) + 8_192, 4)]
    assert found(segment, (1 << 20) + 16_384) == []


def test_a_scan_goes_on_behind_torn_records(segment: Segment, path: Path) -> None:
    write(path, 8_192, record(1, b"a" * 20_000, 8_192)[:8_192])
    torn = bytearray(record(2, b"b" * 4_096, 32_768))
    torn[HEADER_SIZE + 1] ^= 1
    write(path, 32_768, torn)
    write(path, 40_960, b"\xff" * 4_096)
    write(path, 45_056, record(3, b"c", 45_056))
    assert found(segment) == [(45_056, 3)]


def test_a_scan_believes_no_record_inside_a_record(segment: Segment, path: Path) -> None:
    inner = record(2, b"inner", 8_192 + HEADER_SIZE)
    write(path, 8_192, record(1, inner, 8_192))
    assert found(segment) == [(8_192, 1)]


def test_a_scan_believes_no_record_of_another_segment(segment: Segment, path: Path) -> None:
    write(path, 8_192, record(1, b"payload", 8_192, salt=bytes(16)))
    assert found(segment) == []


def test_a_record_that_ends_behind_the_file_is_torn(segment: Segment, path: Path) -> None:
    write(path, 8_192, record(1, b"a" * 20_000, 8_192)[:-8_192])
    assert found(segment) == []


def test_an_empty_payload_is_a_record(segment: Segment, path: Path) -> None:
    write(path, 8_192, record(1, b"", 8_192))
    assert found(segment) == [(8_192, 1)]


def test_a_segment_that_is_let_go_closes_its_files(segment: Segment, path: Path) -> None:
    def open_count() -> int:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return sum(1 for link in links if link.is_symlink() and os.path.realpath(link) == str(path.resolve()))

    before = open_count()
    other = Segment.open(path)
    assert open_count() == before + 2
    del other
    assert open_count() == before


def test_a_scan_tells_gaps_from_remains_and_ends_behind_the_last_byte(segment: Segment, path: Path) -> None:
    segment.preallocate(8_192, 4 << 20)
    write(path, 16_384, record(1, b"payload", 16_384))
    write(path, 40_960, b"torn")
    write(path, 2 << 20, record(2, b"payload", 2 << 20))
    scan = segment.scan(SEGMENT_HEADER_SIZE)
    assert [offset for offset, _ in scan] == [16_384, 2 << 20]
    assert scan.end == (2 << 20) + 8_192
    assert scan.gaps == [(8_192, 8_192), (24_576, 16_384), (45_056, (2 << 20) - 45_056)]
    assert scan.unreadable == []


def test_zeros_that_stand_in_a_record_are_no_gap(segment: Segment, path: Path) -> None:
    write(path, 8_192, record(1, bytes(100_000), 8_192))
    write(path, 8_192 + HEADER_SIZE + 102_400, record(2, b"x", 8_192 + HEADER_SIZE + 102_400))
    scan = segment.scan(SEGMENT_HEADER_SIZE)
    assert len(list(scan)) == 2
    assert scan.gaps == []


def test_a_scan_passes_over_what_the_disk_cannot_read_and_tells_where(
    segment: Segment, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsets = {1: 8_192, 2: 16_384, 3: 32_768}
    for number, offset in offsets.items():
        write(path, offset, record(number, b"a" * (8_000 if number == 2 else 10), offset))
    real = os.preadv

    def fail(fd: int, buffers: list[memoryview], offset: int) -> int:
        if any(offset <= bad < offset + len(buffers[0]) for bad in (16_384, 20_480)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", fail)
    scan = segment.scan(SEGMENT_HEADER_SIZE)
    assert [offset for offset, _ in scan] == [8_192, 32_768]
    assert scan.unreadable == [(16_384, 8_192)]


def test_an_error_that_says_nothing_of_the_medium_ends_a_scan(
    segment: Segment, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, buffers: list[memoryview], offset: int) -> int:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    write(path, 8_192, record(1, b"a", 8_192))
    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(OSError, match="memory"):
        list(segment.scan(SEGMENT_HEADER_SIZE))


def test_a_scan_reads_no_reserved_space_through_the_page_cache(segment: Segment, path: Path) -> None:
    """Pages that a reader has brought into the cache count as data for the file system: the scan goes on by content."""
    segment.preallocate(8_192, 64 << 20)
    write(path, 8_192, record(1, b"payload", 8_192))
    segment.sync()
    path.read_bytes()
    reads: list[int] = []
    real = segment.read_into
    segment.read_into = lambda buffer, offset: reads.append(offset) or real(buffer, offset)  # type: ignore[method-assign,func-returns-value]
    scan = segment.scan(SEGMENT_HEADER_SIZE)
    assert len(list(scan)) == 1
    assert scan.end == 16_384
    assert len(reads) <= 64 + 2


def test_a_failed_reservation_leaves_the_file_as_long_as_it_was(
    segment: Segment, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ext4 keeps what it had allocated before it ran out of space."""

    def partly(fd: int, mode: int, start: int, size: int) -> int:
        os.ftruncate(fd, start + size // 2)
        ctypes.set_errno(errno.ENOSPC)
        return -1

    monkeypatch.setattr("snapstone.storage.file_system._libc.fallocate", partly)
    with pytest.raises(OSError, match="cannot reserve"):
        segment.preallocate(8_192, 1 << 20)
    assert path.stat().st_size == 8_192


def test_an_erased_record_is_found_by_no_scan(segment: Segment, path: Path) -> None:
    write(path, 8_192, record(1, b"payload", 8_192))
    segment.erase(8_192)
    assert found(segment) == []
    assert path.read_bytes()[8_192:12_288] == bytes(4_096)


def test_a_segment_is_read_without_permission_to_write(segment: Segment, path: Path) -> None:
    write(path, 8_192, record(1, b"payload", 8_192))
    modes = []
    real = os.open

    def noting(target: object, flags: int, *rest: int) -> int:
        modes.append(flags & os.O_ACCMODE)
        return real(target, flags, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", noting)
        again = Segment.open(path)
        assert found(again) == [(8_192, 1)]
    assert set(modes) == {os.O_RDONLY}
