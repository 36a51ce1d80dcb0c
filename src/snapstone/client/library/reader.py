"""A snapshot as a read-only file: blocks are fetched when needed, cached, and read ahead for sequential readers.

The cache keeps the blocks used last; one that is being fetched is waited for instead of fetched twice.
"""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from snapstone.client.errors import ClientError, InterruptedTransferError, UsageError
from snapstone.client.library.contract import Readable
from snapstone.client.library.listing import Listing
from snapstone.core.blocks import BLOCK_SIZE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DEFAULT_BLOCK_COUNT: Final = 64
"""32 MiB of blocks."""

Block = memoryview
"""524,288 bytes, read-only."""


class BlockCache:
    """Blocks by index. Safe from any thread."""

    def __init__(self, load: Callable[[int], Block], max_block_count: int = DEFAULT_BLOCK_COUNT) -> None:
        """`load` fetches a block; it raises ClientError alone."""
        self._load = load
        self._max_block_count = max_block_count
        self._blocks: OrderedDict[int, Future[Block]] = OrderedDict()
        """The one used last comes last."""
        self._lock = threading.Lock()

    def get(self, block_index: int) -> Block:
        """The block, fetched in the caller's thread where nobody fetches it yet. Raises what `load` raises."""
        future, is_ours = self._claim(block_index)
        if is_ours:
            self._fulfil(block_index, future)
        return future.result()

    def prefetch(self, block_indexes: Iterable[int], executor: Executor) -> None:
        """Begin to fetch blocks by `executor`. One that cannot be fetched is forgotten: `get` tries it again."""
        for block_index in block_indexes:
            future, is_ours = self._claim(block_index)
            if is_ours:
                try:
                    executor.submit(self._fulfil, block_index, future)
                except RuntimeError as error:  # it was shut down meanwhile
                    self._fail(block_index, future, UsageError(f"block {block_index}: {error}"))

    def clear(self) -> None:
        """Let all blocks go."""
        with self._lock:
            self._blocks.clear()

    def _claim(self, block_index: int) -> tuple[Future[Block], bool]:
        """The block that is there or on its way; True if the caller has to fetch it."""
        with self._lock:
            future = self._blocks.get(block_index)
            if future is not None:
                self._blocks.move_to_end(block_index)
                return future, False
            future = self._blocks[block_index] = Future()
            while len(self._blocks) > self._max_block_count:
                self._blocks.popitem(last=False)
            return future, True

    def _fulfil(self, block_index: int, future: Future[Block]) -> None:
        """Fetch; what goes wrong is told to those who wait and then forgotten, so that the next one tries again."""
        try:
            block = self._load(block_index)
        except ClientError as error:
            self._fail(block_index, future, error)
        except BaseException as error:
            # It belongs to this thread alone (Ctrl-C, say); the others must not wait for ever.
            self._fail(
                block_index, future, InterruptedTransferError(f"block {block_index}: {error!r} in another thread")
            )
            raise
        else:
            future.set_result(block)

    def _fail(self, block_index: int, future: Future[Block], error: ClientError) -> None:
        with self._lock:
            if self._blocks.get(block_index) is future:
                del self._blocks[block_index]
        future.set_exception(error)


DEFAULT_READ_AHEAD_COUNT: Final = 16
"""Blocks that are fetched at the same time, for one read and ahead of it."""

ZEROS: Final = memoryview(bytes(BLOCK_SIZE))


class SnapshotReader(io.RawIOBase):
    """A completed snapshot, from its first byte to the last of the volume; absent blocks read as zeros.

    `pread` may be called from many threads; position and `read` are for one at a time, as with any file. Every read
    gives all the bytes that were asked for, up to the end. Raises ClientError: DamagedError where bytes do not have the
    checksum that came with them.
    """

    def __init__(
        self,
        service: Readable,
        snapshot_id: str,
        *,
        cache_block_count: int = DEFAULT_BLOCK_COUNT,
        read_ahead_count: int = DEFAULT_READ_AHEAD_COUNT,
    ) -> None:
        """Open a snapshot; raises NotFoundError if it cannot be read, because it is pending, for example."""
        super().__init__()
        # These come first: whatever goes wrong behind them, `close` will be called and needs them.
        self._cache = BlockCache(self._load, cache_block_count)
        self._executor = ThreadPoolExecutor(max(1, read_ahead_count), thread_name_prefix=f"read-{snapshot_id}")
        # Who reads in order keeps as many blocks that were read as blocks that wait to be: the cache has to hold both.
        if not 0 <= 2 * read_ahead_count < cache_block_count:
            raise UsageError(
                f"read ahead of {read_ahead_count} blocks: must be less than half of the cache's {cache_block_count}"
            )
        self.name = snapshot_id
        self.mode = "rb"
        self._listing = Listing(service, snapshot_id)
        self.size: Final = self._listing.block_count * BLOCK_SIZE
        """Bytes of the volume."""
        self._position = 0
        self._read_ahead_count = read_ahead_count
        self._lock = threading.Lock()
        self._expected_offset = -1
        """Where a read begins that goes on from the last one."""
        self._run_size = 0
        """Bytes read in order up to there."""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position; behind the end there is nothing to read."""
        self._check_open()
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        position = offset + (0, self._position, self.size)[whence]
        if position < 0:
            raise ValueError(f"a position before the beginning: {position}")
        self._position = position
        return position

    def tell(self) -> int:
        """The position."""
        self._check_open()
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer from the position on; fewer bytes only at the end."""
        with memoryview(buffer) as view, view.cast("B") as into:
            size = self._fill(self._position, into)
        self._position += size
        return size

    def readall(self) -> bytes:
        """Everything from the position to the end."""
        content = self.pread(self._position, max(0, self.size - self._position))
        self._position += len(content)
        return content

    def pread(self, offset: int, length: int) -> bytes:
        """Bytes at an offset, the position left alone; fewer than `length` only at the end. Safe from any thread."""
        if offset < 0 or length < 0:
            raise ValueError(f"offset and length must not be negative: {offset}, {length}")
        content = bytearray(max(0, min(length, self.size - offset)))
        with memoryview(content) as into:
            self._fill(offset, into)
        return bytes(content)

    def close(self) -> None:
        """Let the cache go, and fetch nothing more."""
        if not self.closed:
            super().close()
            self._executor.shutdown(wait=False)
            self._cache.clear()

    def _fill(self, offset: int, into: memoryview) -> int:
        self._check_open()
        size = max(0, min(len(into), self.size - offset))
        end = offset + size
        first, stop = offset // BLOCK_SIZE, -(-end // BLOCK_SIZE)
        reached = first + 1
        wanted_stop = min(stop + self._ahead(offset, end), self._listing.block_count)
        for block_index in range(first, stop):
            reach = min(block_index + 1 + self._read_ahead_count, wanted_stop)
            self._prefetch(range(reached, reach))
            reached = max(reached, reach)
            block_offset = block_index * BLOCK_SIZE
            begin, finish = max(offset, block_offset), min(end, block_offset + BLOCK_SIZE)
            block = self._block(block_index)
            into[begin - offset : finish - offset] = block[begin - block_offset : finish - block_offset]
        return size

    def _ahead(self, offset: int, end: int) -> int:
        """How many blocks to fetch behind a read: twice as many as were read in order before it."""
        with self._lock:
            run_size = self._run_size if offset == self._expected_offset else 0
            self._run_size = run_size + end - offset
            self._expected_offset = end
        return min(self._read_ahead_count, 2 * (run_size // BLOCK_SIZE))

    def _prefetch(self, block_indexes: range) -> None:
        self._cache.prefetch(
            (index for index in block_indexes if not self._listing.is_known_absent(index)), self._executor
        )

    def _block(self, block_index: int) -> Block:
        return ZEROS if self._listing.is_known_absent(block_index) else self._cache.get(block_index)

    def _load(self, block_index: int) -> Block:
        if self.closed:
            raise UsageError(f"{self.name} was closed while it was read")
        block = bytearray(BLOCK_SIZE)
        with memoryview(block) as into:
            digest = self._listing.read(block_index, into)
        return ZEROS if digest is None else memoryview(block).toreadonly()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.name} is closed")
