"""The cache of blocks: those used last are kept, and one that is on its way is waited for instead of fetched twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Final

from snapstone.client.errors import ClientError, InterruptedTransferError, UsageError

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
        """The block that is there or on its way; True where the caller has to fetch it."""
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
