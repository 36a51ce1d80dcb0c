"""Blocks on their way to an endpoint: a bounded number at a time, and those of one index one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait


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
        """The block of an index, where it may not have arrived yet. Not to be changed."""
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
