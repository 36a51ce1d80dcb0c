"""Which blocks of a sparse file may hold data: the file system's extents, rounded outwards to blocks, found lazily."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator

from snapstone.core.blocks import BLOCK_SIZE


def block_count_of(size: int) -> int:
    """Blocks that an image of `size` bytes has, the last one short perhaps."""
    return -(-size // BLOCK_SIZE)


def data_extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end, in bytes, of each extent of a file that is no hole: ascending, all before `size`.

    A hole is jumped over in one call however long it is. A file system that does not know holes shows one extent.
    """
    end = 0
    while end < size:
        start = _seek(fd, end, os.SEEK_DATA)
        if start is None or start >= size:
            return
        hole = _seek(fd, start, os.SEEK_HOLE)
        end = size if hole is None else min(hole, size)
        yield start, end


def block_ranges(extents: Iterable[tuple[int, int]]) -> Iterator[range]:
    """Ranges of block indexes that the extents touch, those that touch or overlap joined."""
    first, last = 0, 0
    for start, end in extents:
        start_index, end_index = start // BLOCK_SIZE, block_count_of(end)
        if last and start_index <= last:
            last = max(last, end_index)
            continue
        if last:
            yield range(first, last)
        first, last = start_index, end_index
    if last:
        yield range(first, last)


def _seek(fd: int, offset: int, whence: int) -> int | None:
    """Where the next data or hole is; None where there is none (past the last data, or the file shrank)."""
    try:
        return os.lseek(fd, offset, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        if error.errno == errno.EINVAL:  # a file system without the call: all of it may be data
            return offset if whence == os.SEEK_DATA else None
        raise
