"""Extents of sparse files, rounded to blocks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from snapstone.client.images.block_file import block_count_of, block_ranges, data_extents
from snapstone.core.blocks import BLOCK_SIZE


@pytest.fixture
def sparse(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "image", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(("size", "count"), [(0, 0), (1, 1), (524_288, 1), (524_289, 2), (1 << 43, 16_777_216)])
def test_a_short_last_block_counts(size: int, count: int) -> None:
    assert block_count_of(size) == count


def test_extents_are_rounded_outwards_and_those_in_one_block_are_joined() -> None:
    extents = [
        (4_096, 8_192),
        (100_000, 200_000),
        (3 * BLOCK_SIZE - 1, 3 * BLOCK_SIZE + 1),
        (6 * BLOCK_SIZE, 7 * BLOCK_SIZE),
    ]
    assert list(block_ranges(extents)) == [range(1), range(2, 4), range(6, 7)]


def test_extents_in_neighbouring_blocks_are_one_range() -> None:
    assert list(block_ranges([(0, 1), (BLOCK_SIZE, BLOCK_SIZE + 1), (2 * BLOCK_SIZE, 3 * BLOCK_SIZE)])) == [range(3)]


def test_no_extents_are_no_ranges() -> None:
    assert list(block_ranges([])) == []


def test_ranges_come_before_later_extents_are_looked_for() -> None:
    def extents() -> Iterator[tuple[int, int]]:
        yield 0, BLOCK_SIZE
        yield 2 * BLOCK_SIZE, 3 * BLOCK_SIZE
        raise AssertionError("looked too far")

    with closing(block_ranges(extents())) as ranges:  # type: ignore[type-var]
        assert list(islice(ranges, 1)) == [range(1)]


def test_holes_of_terabytes_are_jumped_over(sparse: int) -> None:
    os.ftruncate(sparse, 12 << 40)
    for offset in (0, 5 << 40, (12 << 40) - 4_096):
        os.pwrite(sparse, b"x" * 4_096, offset)
    assert list(data_extents(sparse, 12 << 40)) == [
        (0, 4_096),
        (5 << 40, (5 << 40) + 4_096),
        ((12 << 40) - 4_096, 12 << 40),
    ]


def test_a_file_that_is_one_hole_has_no_extent(sparse: int) -> None:
    os.ftruncate(sparse, 1 << 30)
    assert list(data_extents(sparse, 1 << 30)) == []


def test_nothing_past_the_size_is_shown(sparse: int) -> None:
    os.pwrite(sparse, b"x" * 8_192, 0)
    os.pwrite(sparse, b"x" * 4_096, 1 << 20)
    assert list(data_extents(sparse, 5_000)) == [(0, 5_000)]


def test_a_file_system_that_does_not_know_holes_shows_one_extent(sparse: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, offset: int, whence: int) -> int:
        raise OSError(errno.EINVAL, "no such whence")

    os.ftruncate(sparse, 1 << 30)
    monkeypatch.setattr(os, "lseek", refuse)
    assert list(data_extents(sparse, 1 << 30)) == [(0, 1 << 30)]


def test_another_refusal_is_an_error(sparse: int) -> None:
    os.ftruncate(sparse, 10)
    with pytest.raises(OSError, match="descriptor"):
        list(data_extents(-1, 10))


def test_a_file_that_shrinks_meanwhile_ends_the_extents(sparse: int) -> None:
    os.ftruncate(sparse, 1 << 30)
    os.pwrite(sparse, b"x" * 4_096, 0)
    os.pwrite(sparse, b"x" * 4_096, 1 << 29)
    extents = data_extents(sparse, 1 << 30)
    assert next(extents) == (0, 4_096)
    os.ftruncate(sparse, 4_096)
    assert list(extents) == []
