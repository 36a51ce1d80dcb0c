"""Blocks of an open file, past the page cache and through it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstone.client.errors import DamagedError, NoSpaceError
from snapstone.client.images import block_file, linux
from snapstone.client.images.block_file import BlockFile
from snapstone.core.blocks import BLOCK_SIZE
from tests.unit.client.images.conftest import Mount

SIZE = 3 * BLOCK_SIZE + 1_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.touch()
    os.truncate(path, SIZE)
    return path


@pytest.fixture(params=["direct", "through the cache", "no cachestat"])
def file(path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockFile]:
    if request.param == "through the cache":
        monkeypatch.setattr(block_file, "_open_direct", lambda fd: None)
    if request.param == "no cachestat":
        monkeypatch.setattr(linux, "is_cached", lambda fd, offset, size: None)
    opened = BlockFile(os.open(path, os.O_RDWR), str(path), SIZE, trust_cache=True)
    yield opened
    opened.close()


def test_blocks_land_where_their_index_says(file: BlockFile, path: Path, block: memoryview) -> None:
    file.write(2, block)
    assert path.read_bytes() == bytes(2 * BLOCK_SIZE) + bytes(block) + bytes(1_000)


def test_a_block_is_read_back(file: BlockFile, block: memoryview, into: memoryview) -> None:
    file.write(1, block)
    file.read(1, into)
    assert into == block


def test_a_buffer_that_is_not_aligned_serves_too(file: BlockFile) -> None:
    content = memoryview(b"-" + os.urandom(BLOCK_SIZE))[1:]
    file.write(1, content)
    got = memoryview(bytearray(BLOCK_SIZE + 1))[1:]
    file.read(1, got)
    assert got == content


def test_the_last_block_ends_where_the_image_ends(file: BlockFile, path: Path, block: memoryview) -> None:
    block[1_000:] = bytes(BLOCK_SIZE - 1_000)
    file.write(3, block)
    assert path.read_bytes() == bytes(3 * BLOCK_SIZE) + bytes(block[:1_000])


def test_data_past_the_end_is_refused_and_nothing_is_written(file: BlockFile, path: Path, block: memoryview) -> None:
    block[1_000:] = bytes(BLOCK_SIZE - 1_000)
    block[1_000] = 1
    with pytest.raises(DamagedError, match="block 3 holds data past the end"):
        file.write(3, block)
    with pytest.raises(DamagedError, match="block 4 holds data past the end"):
        file.write(4, block)
    assert path.read_bytes() == bytes(SIZE)


def test_zeros_past_the_end_are_nothing(file: BlockFile, path: Path, into: memoryview) -> None:
    file.write(4, memoryview(bytes(BLOCK_SIZE)))
    file.zero(4)
    file.read(4, into)
    assert bytes(into) == bytes(BLOCK_SIZE)
    assert path.stat().st_size == SIZE


def test_a_zeroed_block_is_a_hole(file: BlockFile, path: Path, block: memoryview) -> None:
    for block_index in range(3):
        file.write(block_index, block)
    file.sync()
    held = path.stat().st_blocks
    file.zero(1)
    file.zero(3)
    assert path.read_bytes() == bytes(block) + bytes(BLOCK_SIZE) + bytes(block) + bytes(1_000)
    assert path.stat().st_blocks <= held - BLOCK_SIZE // 512


def test_zeros_are_written_where_there_are_no_holes(
    file: BlockFile, path: Path, block: memoryview, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux, "punch_hole", lambda fd, offset, size: False)
    for block_index in range(3):
        file.write(block_index, block)
    file.zero(1)
    file.zero(3)
    assert path.read_bytes() == bytes(block) + bytes(BLOCK_SIZE) + bytes(block) + bytes(1_000)


def test_a_full_disk_is_said_with_the_block(mount: Mount, block: memoryview) -> None:
    path = mount("-t", "tmpfs", "-o", "size=256k", "tmpfs") / "image"
    path.touch()
    os.truncate(path, 1 << 30)
    file = BlockFile(os.open(path, os.O_RDWR), str(path), 1 << 30, trust_cache=True)
    try:
        with pytest.raises(NoSpaceError, match=r"cannot be written at block 7 \(offset 3670016\): No space left"):
            file.write(7, block)
    finally:
        file.close()


def test_a_bad_sector_is_damage_and_names_the_block(
    path: Path, into: memoryview, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, "bad sector")

    monkeypatch.setattr(os, "preadv", refuse)
    file = BlockFile(os.open(path, os.O_RDONLY), str(path), SIZE, trust_cache=False)
    try:
        with pytest.raises(DamagedError, match=r"read at block 2 \(offset 1048576\): Input/output error"):
            file.read(2, into)
    finally:
        file.close()


def test_a_write_that_stops_half_way_goes_on(
    file: BlockFile, path: Path, block: memoryview, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, writev = os.pwrite, os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, offset: writev(fd, [buffers[0][:4_096]], offset))
    monkeypatch.setattr(os, "pwrite", lambda fd, content, offset: write(fd, content[:100_000], offset))
    file.write(0, block)
    assert path.read_bytes()[:BLOCK_SIZE] == block


def test_a_read_that_stops_half_way_goes_on(
    file: BlockFile, block: memoryview, into: memoryview, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write(0, block)
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: read(fd, [buffers[0][:8_192]], offset))
    file.read(0, into)
    assert into == block
