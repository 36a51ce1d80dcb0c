"""Blocks being put together and sent: pieces and whole blocks go in at any place, whole blocks go out in parallel.

A bounded number is under way at a time, and those of one index one after the other.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from snapstone.client.errors import NoSpaceError, UsageError
from snapstone.client.library.listing import Listing
from snapstone.core.blocks import BLOCK_SIZE


class Sender:
    """Sends blocks by threads of its own. To be used by one thread at a time."""

    def __init__(self, send: Callable[[int, bytearray], None], worker_count: int) -> None:
        self._send = send
        self._worker_count = worker_count
        self._executor = ThreadPoolExecutor(worker_count, thread_name_prefix="send")
        self._on_their_way: dict[int, tuple[bytearray, Future[None]]] = {}

    def send(self, block_index: int, block: bytearray) -> None:
        """Begin to send; waits for room, and for an earlier block of this index. Raises what an earlier block met.

        The block belongs to the sender now, and must not be changed.
        """
        self._reap([future for _, future in self._on_their_way.values() if future.done()])
        if block_index in self._on_their_way:
            self._reap([self._on_their_way[block_index][1]])
        while len(self._on_their_way) >= self._worker_count:
            self._reap(wait([future for _, future in self._on_their_way.values()], return_when=FIRST_COMPLETED).done)
        self._on_their_way[block_index] = (block, self._executor.submit(self._send, block_index, block))

    def on_its_way(self, block_index: int) -> bytearray | None:
        """The block of an index that may not have arrived yet. It must not be changed."""
        found = self._on_their_way.get(block_index)
        return None if found is None else found[0]

    def drain(self) -> None:
        """Wait until every block has arrived; raises what one failed with."""
        while self._on_their_way:
            self._reap(wait([future for _, future in self._on_their_way.values()], return_when=FIRST_COMPLETED).done)

    def close(self) -> None:
        """Begin nothing more, wait for what has begun, and forget how it ended."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._on_their_way.clear()

    def _reap(self, futures: Collection[Future[None]]) -> None:
        """Wait for these, and raise what the first of them failed with."""
        self._on_their_way = {
            index: (block, future) for index, (block, future) in self._on_their_way.items() if future not in futures
        }
        for future in futures:
            future.result()


HELD_BLOCK_COUNT: Final = 64
"""Blocks that are held back, because more may be written into them: 32 MiB. The one not written to for longest goes."""

_ZEROS: Final = bytes(BLOCK_SIZE)


class Spill:
    """A copy of every block that was sent, in a sparse file without a name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with self._failures():
            self._descriptor, name = tempfile.mkstemp(prefix="snapstone-", dir=folder)
            os.unlink(name)

    def put(self, block_index: int, block: bytearray) -> None:
        """Keep a block."""
        with self._failures():
            written = 0
            with memoryview(block) as view:
                while written < len(block):
                    written += os.pwrite(self._descriptor, view[written:], block_index * BLOCK_SIZE + written)

    def get(self, block_index: int) -> bytearray:
        """A block that was put."""
        with self._failures():
            return bytearray(os.pread(self._descriptor, BLOCK_SIZE, block_index * BLOCK_SIZE))

    def close(self) -> None:
        """Let all go."""
        os.close(self._descriptor)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = NoSpaceError if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else UsageError
            raise kind(f"spill folder {self._folder}: {error.strerror}") from error


class Composer:
    """Blocks that are held back until it is the turn of others. To be used by one thread at a time."""

    def __init__(
        self, sender: Sender, was_sent: Callable[[int], bool], parent: Listing | None, spill: Spill | None
    ) -> None:
        """`was_sent` knows blocks that have arrived. `parent` has the bytes of blocks that nothing was written to."""
        self._sender = sender
        self._was_sent = was_sent
        self._parent = parent
        self._spill = spill
        self._held: OrderedDict[int, bytearray] = OrderedDict()

    def put_block(self, block_index: int, block: bytearray) -> None:
        """Replace a block by a whole new one, which belongs to the composer now."""
        self._held[block_index] = block
        self._held.move_to_end(block_index)
        while len(self._held) > HELD_BLOCK_COUNT:
            self._let_go()

    def put_piece(self, block_index: int, begin: int, piece: memoryview) -> None:
        """Write into a block; zeros if nothing is make no block. Raises UsageError if it cannot be changed."""
        if _ZEROS.startswith(piece) and self._is_absent(block_index):
            return
        if len(piece) == BLOCK_SIZE:
            self.put_block(block_index, bytearray(piece))
            return
        block = self._held.get(block_index)
        if block is None:
            block = self._content(block_index)
        block[begin : begin + len(piece)] = piece
        self.put_block(block_index, block)

    def flush(self) -> None:
        """Send everything, and wait until it has arrived."""
        while self._held:
            self._let_go()
        self._sender.drain()

    def close(self) -> None:
        """Drop everything that was not sent."""
        self._held.clear()

    def _let_go(self) -> None:
        block_index, block = self._held.popitem(last=False)
        if self._spill is not None:
            self._spill.put(block_index, block)
        self._sender.send(block_index, block)

    def _is_absent(self, block_index: int) -> bool:
        """Whether nothing was written to a block, here or in the parent."""
        if block_index in self._held or self._sender.on_its_way(block_index) or self._was_sent(block_index):
            return False
        return not self._parent_reaches(block_index) or self._parent_token(block_index) is None

    def _content(self, block_index: int) -> bytearray:
        """A copy of the current content of a block that is not held back."""
        sent = self._sender.on_its_way(block_index)
        if sent is not None:
            return bytearray(sent)
        if self._was_sent(block_index):
            return self._kept(block_index)
        block = bytearray(BLOCK_SIZE)
        if self._parent is not None and self._parent_reaches(block_index):
            with memoryview(block) as into:
                self._parent.read(block_index, into)
        return block

    def _kept(self, block_index: int) -> bytearray:
        if self._spill is None:
            raise UsageError(
                f"block {block_index} was already sent and is no longer in memory, so it cannot be changed in part: "
                "write the whole block, write neighbouring ranges in sequence, or pass a spill_folder"
            )
        return self._spill.get(block_index)

    def _parent_reaches(self, block_index: int) -> bool:
        return self._parent is not None and block_index < self._parent.block_count

    def _parent_token(self, block_index: int) -> str | None:
        return None if self._parent is None else self._parent.token(block_index)
