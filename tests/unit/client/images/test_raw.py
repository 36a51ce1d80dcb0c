"""Regular files as sources."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from mmap import mmap
from pathlib import Path

import pytest

from snapstone.client.errors import SourceChangedError
from snapstone.client.images.block_file import RawSource
from snapstone.core.blocks import BLOCK_SIZE


def open_raw(path: Path) -> closing[RawSource]:
    return closing(RawSource(os.open(path, os.O_RDONLY), str(path)))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(os.urandom(3 * BLOCK_SIZE + 777))
    return path


def test_every_block_is_what_the_file_holds_and_zeros_follow_its_end(image: Path, into: memoryview) -> None:
    content = image.read_bytes()
    with open_raw(image) as source:
        assert source.size == 3 * BLOCK_SIZE + 777
        for block_index in range(3):
            source.read(block_index, into)
            assert into == content[block_index * BLOCK_SIZE : (block_index + 1) * BLOCK_SIZE]
        source.read(3, into)
        assert bytes(into) == content[3 * BLOCK_SIZE :] + bytes(BLOCK_SIZE - 777)


def test_it_reads_the_same_whether_cached_or_not(image: Path, into: memoryview) -> None:
    content = image.read_bytes()
    with open_raw(image) as source, image.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for block_index in (3, 1):
            source.read(block_index, into)
            expected = content[block_index * BLOCK_SIZE :][:BLOCK_SIZE]
            assert bytes(into[: len(expected)]) == expected


def test_what_was_written_a_moment_ago_is_read(image: Path, into: memoryview) -> None:
    with open_raw(image) as source, image.open("rb+", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(BLOCK_SIZE)
        file.write(b"now")
        source.read(1, into)
        assert bytes(into[:3]) == b"now"


def test_many_threads_read_at_once(image: Path) -> None:
    content = image.read_bytes()

    def matches(block_index: int) -> bool:
        buffer = memoryview(mmap(-1, BLOCK_SIZE))
        source.read(block_index, buffer)
        return buffer == content[block_index * BLOCK_SIZE : (block_index + 1) * BLOCK_SIZE]

    with open_raw(image) as source, ThreadPoolExecutor(8) as threads:
        assert all(threads.map(matches, [0, 1, 2] * 40))


def test_the_blocks_of_eight_tebibytes_are_named_without_reading(tmp_path: Path, into: memoryview) -> None:
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(8 << 40)
        file.seek(4 << 40)
        file.write(b"x")
    with open_raw(path) as source:
        assert list(source.ranges()) == [range(8_388_608, 8_388_609)]
        source.read(8_388_608, into)
        assert bytes(into[:2]) == b"x\0"
        source.read(16_777_215, into)
        assert bytes(into) == bytes(BLOCK_SIZE)


def test_a_file_that_became_shorter_is_said(image: Path, into: memoryview) -> None:
    with open_raw(image) as source:
        os.truncate(image, BLOCK_SIZE + 10)
        with pytest.raises(SourceChangedError, match=f"has {BLOCK_SIZE + 10} bytes now") as caught:
            source.read(1, into)
        assert "block 1 (offset 524288) ended after 10 of" in str(caught.value)
        with pytest.raises(SourceChangedError, match=f"has {BLOCK_SIZE + 10} bytes now"):
            source.read(3, into)


def test_bytes_that_were_added_later_are_no_part_of_it(image: Path, into: memoryview) -> None:
    with open_raw(image) as source:
        with image.open("ab") as file:
            file.write(b"more" * BLOCK_SIZE)
        source.read(3, into)
        assert bytes(into[777:]) == bytes(BLOCK_SIZE - 777)
        assert list(source.ranges()) == [range(4)]


def test_the_state_changes_when_the_file_is_written_to(image: Path) -> None:
    with open_raw(image) as source:
        before = source.state()
        assert source.state() == before
        with image.open("rb+") as file:
            file.write(b"x")
        os.utime(image, ns=(0, os.stat(image).st_mtime_ns + 1))
        assert source.state() != before


def test_setting_the_time_back_does_not_hide_a_change(image: Path) -> None:
    with open_raw(image) as source:
        before = source.state()
        status = os.stat(image)
        os.utime(image, ns=(status.st_atime_ns, 5))
        os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert source.state()["mtime_ns"] == before["mtime_ns"]
        assert source.state() != before


def test_closing_twice_does_nothing(image: Path) -> None:
    source = RawSource(os.open(image, os.O_RDONLY), str(image))
    source.close()
    source.close()
    with pytest.raises(OSError, match="descriptor"):
        source.state()
