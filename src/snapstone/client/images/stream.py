"""Standard input as a source: read once, front to back, up to a size that was said beforehand."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Final

from snapstone.client.errors import UsageError
from snapstone.client.images.contract import State
from snapstone.client.images.extents import block_count_of
from snapstone.client.images.refusals import refusal
from snapstone.core.blocks import BLOCK_SIZE

RANGE_BLOCK_COUNT: Final = 128
"""Blocks in one of the ranges that a stream names: 64 MiB. They touch; where the stream ends, no more follow."""


class StreamSource:
    """Owns an open descriptor, read in order. Where it ends early zeros follow; it must not be longer than said."""

    sequential = True

    def __init__(self, fd: int, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._fd = fd
        self._next_index = 0
        self._ended = False
        self._lock = threading.Lock()

    def ranges(self) -> Iterator[range]:
        """All blocks, a few at a time, for as long as the stream has not ended."""
        block_count = block_count_of(self.size)
        for start in range(0, block_count, RANGE_BLOCK_COUNT):
            if self._ended:
                return
            yield range(start, min(start + RANGE_BLOCK_COUNT, block_count))

    def read(self, block_index: int, into: memoryview) -> None:
        """Fill `into` with the next block; blocks that are left out are read and thrown away.

        Raises UsageError for a block that has gone by, and where the stream goes on past its size.
        """
        with self._lock:
            if block_index < self._next_index:
                raise UsageError(f"block {block_index} of {self.name} has gone by: a stream is read once, in order")
            while self._next_index <= block_index:
                self._read_next(into)

    def state(self) -> State:
        """Nothing can be known."""
        return {}

    def close(self) -> None:
        """Close the descriptor; again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _read_next(self, into: memoryview) -> None:
        wanted_size = max(0, min(BLOCK_SIZE, self.size - self._next_index * BLOCK_SIZE))
        got_size = self._fill(into[:wanted_size])
        into[got_size:] = bytes(len(into) - got_size)
        self._next_index += 1
        if self._next_index >= block_count_of(self.size) and self._fill(memoryview(bytearray(1))):
            raise UsageError(f"{self.name} holds more than the {self.size} bytes that were said: give its whole size")

    def _fill(self, into: memoryview) -> int:
        got_size = 0
        while got_size < len(into) and not self._ended:
            try:
                count = os.readv(self._fd, [into[got_size:]])
            except OSError as error:
                raise refusal(error, self.name, "be read") from error
            self._ended = count == 0
            got_size += count
        return got_size
