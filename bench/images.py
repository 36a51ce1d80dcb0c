"""Images to move: of distinct blocks throughout, or with few of them far apart and holes between."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from bench.blocks import BLOCK_SIZE, DistinctBlocks
from bench.connection import WrongAnswerError
from bench.run import new_seed

GIB = 1 << 30


def make_full(image: Path, block_count: int) -> None:
    """An image of distinct, incompressible blocks; its bytes are in memory afterwards, and on the disk."""
    blocks = DistinctBlocks(new_seed())
    with image.open("wb") as file:
        for number in range(block_count):
            file.writelines(blocks.pieces(number))
        os.fsync(file.fileno())


def make_sparse(image: Path, size_gib: int, block_count: int) -> None:
    """An image that is a hole but for blocks at random places."""
    blocks = DistinctBlocks(new_seed())
    with image.open("wb") as file:
        file.truncate(size_gib * GIB)
        for number, block_index in enumerate(_some_of(size_gib * GIB // BLOCK_SIZE, block_count)):
            file.seek(block_index * BLOCK_SIZE)
            file.writelines(blocks.pieces(number))
        os.fsync(file.fileno())


def change_blocks(image: Path, changed_count: int) -> set[int]:
    """Write new content at random places; returns the block indexes."""
    blocks = DistinctBlocks(new_seed())
    chosen = _some_of(image.stat().st_size // BLOCK_SIZE, changed_count)
    with image.open("r+b") as file:
        for number, block_index in enumerate(chosen):
            file.seek(block_index * BLOCK_SIZE)
            file.writelines(blocks.pieces(number))
        os.fsync(file.fileno())
    return set(chosen)


def check_equal(image: Path, copy: Path) -> None:
    """Raise WrongAnswerError unless both have the same size, data in the same blocks, and the same bytes there.

    So a copy of a sparse image has to be as sparse, and nothing is read that is a hole in both.
    """
    if image.stat().st_size != copy.stat().st_size:
        raise WrongAnswerError(f"{copy.name} has {copy.stat().st_size:,} bytes in place of {image.stat().st_size:,}")
    with image.open("rb") as one, copy.open("rb") as other:
        expected, found = list(_data_blocks(one.fileno())), list(_data_blocks(other.fileno()))
        if expected != found:
            raise WrongAnswerError(f"{copy.name} has data in {len(found):,} blocks in place of {len(expected):,}")
        for block_index in expected:
            place = block_index * BLOCK_SIZE
            if os.pread(one.fileno(), BLOCK_SIZE, place) != os.pread(other.fileno(), BLOCK_SIZE, place):
                raise WrongAnswerError(f"block {block_index} of {copy.name} has other bytes")


def _data_blocks(descriptor: int) -> Iterator[int]:
    """Block indexes that are not a hole as a whole, ascending."""
    size, place = os.fstat(descriptor).st_size, 0
    while place < size:
        try:
            begin = os.lseek(descriptor, place, os.SEEK_DATA)
        except OSError:  # No data from here to the end.
            return
        end = os.lseek(descriptor, begin, os.SEEK_HOLE)
        first, place = max(begin // BLOCK_SIZE, place // BLOCK_SIZE), -(-end // BLOCK_SIZE) * BLOCK_SIZE
        yield from range(first, place // BLOCK_SIZE)


def _some_of(block_count: int, chosen_count: int) -> list[int]:
    return sorted(random.Random(new_seed()).sample(range(block_count), chosen_count))
