"""A bounded pool of page-aligned buffers, each with room for one block and, in front of it, its record's header."""

from __future__ import annotations

from collections import deque
from mmap import mmap
from threading import Condition
from time import monotonic
from typing import Final

from snapstone.core.blocks import BLOCK_SIZE, ZERO_DIGEST, Digest
from snapstone.core.errors import OverloadedError
from snapstone.storage.record import HEADER_SIZE

DEFAULT_BUFFER_COUNT: Final = 64
"""Buffers of one process: 33 MiB when all have been used."""

BORROW_WAIT_SECONDS: Final = 30.0
"""How long a caller waits for a buffer before it is told that the server is overloaded."""


class RecordBuffer:
    """A borrowed buffer: `record` is what is written to disk, `payload` the block inside it."""

    __slots__ = ("_mapping", "_pool", "digest", "header", "payload", "record")

    def __init__(self, pool: BufferPool) -> None:
        self._pool: BufferPool | None = pool
        self._mapping = mmap(-1, HEADER_SIZE + BLOCK_SIZE)
        self.record = memoryview(self._mapping)
        self.header = self.record[:HEADER_SIZE]
        self.payload = self.record[HEADER_SIZE:]
        self.digest = Digest(b"")

    def release(self) -> None:
        """Hand the buffer back to its pool; calling it twice is harmless."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.take_back(self)

    def lend(self, pool: BufferPool) -> None:
        """Mark the buffer as borrowed from `pool`."""
        self._pool = pool


class ZeroBlock:
    """The zero block, for reading: known, never stored, never given back."""

    payload = memoryview(bytes(BLOCK_SIZE))
    digest = ZERO_DIGEST

    def release(self) -> None:
        """Nothing was borrowed."""


ZERO_BLOCK: Final = ZeroBlock()


class BufferPool:
    """Makes buffers when they are first needed, up to `limit`; the last one handed back is lent first."""

    def __init__(self, limit: int = DEFAULT_BUFFER_COUNT, wait_seconds: float = BORROW_WAIT_SECONDS) -> None:
        self._limit = limit
        self._wait_seconds = wait_seconds
        self._idle: deque[RecordBuffer] = deque()
        self._changed = Condition()
        self._made_count = 0
        self._waiting_count = 0

    def borrow(self) -> RecordBuffer:
        """A buffer with undefined content. Raises OverloadedError where none comes free in time."""
        try:
            buffer = self._idle.pop()
        except IndexError:
            buffer = self._make_or_wait()
        buffer.lend(self)
        return buffer

    def take_back(self, buffer: RecordBuffer) -> None:
        """Called by a buffer's `release`."""
        self._idle.append(buffer)
        if self._waiting_count:
            with self._changed:
                self._changed.notify()

    def _make_or_wait(self) -> RecordBuffer:
        with self._changed:
            if self._made_count < self._limit:
                self._made_count += 1
                return RecordBuffer(self)
            self._waiting_count += 1
            try:
                return self._wait(monotonic() + self._wait_seconds)
            finally:
                self._waiting_count -= 1

    def _wait(self, deadline: float) -> RecordBuffer:
        """The next buffer handed back; the lock is held, and `take_back` knows that somebody waits."""
        while True:
            try:
                return self._idle.pop()
            except IndexError:
                if not self._changed.wait(deadline - monotonic()):
                    raise OverloadedError(f"all {self._limit} block buffers are in use") from None


def aligned_buffer(size: int) -> memoryview:
    """A page-aligned buffer of zeros, freed with the last view of it."""
    return memoryview(mmap(-1, size))
