"""A service that counts what it is requested, and can be made slow or faulty; the real one does the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from snapstone.client.api.retrying import Interruption
from snapstone.client.api.service import Service
from snapstone.client.api.values import BlockPage, ListedBlock, StartRequest
from snapstone.client.errors import ClientError
from snapstone.client.events import Observer
from snapstone.core.blocks import Digest

LIMIT_SECONDS: Final = 30.0


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when it holds; fail where it never does."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Counting:
    """The library's contract, in front of a real service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.options = service.options
        self.observer: Observer = service.observer
        self.page_starts: list[int] = []
        self.page_count = 0
        self.got: list[int] = []
        self.getters: list[str] = []
        """In which thread each was got."""
        self.put: list[tuple[int, Digest]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.doubled: list[int] = []
        """Blocks that were requested, or sent, while they were on their way."""
        self._on_their_way: set[int] = set()
        self.failures: dict[int, ClientError] = {}
        """What getting or putting a block meets, once."""
        self.hold = threading.Event()
        """Blocks are got and put once this is set."""
        self.hold.set()
        self._lock = threading.Lock()

    def block_pages(self, snapshot_id: str, starting_block_index: int = 0) -> Iterator[BlockPage]:
        self.page_starts.append(starting_block_index)
        for page in self.service.block_pages(snapshot_id, starting_block_index):
            self.page_count += 1
            yield page

    def volume_size_gib(self, snapshot_id: str) -> int:
        return self.service.volume_size_gib(snapshot_id)

    def get_block(self, snapshot_id: str, block_index: int, token: str, into: memoryview) -> Digest:
        self._enter(block_index)
        try:
            with self._lock:
                self.got.append(block_index)
                self.getters.append(threading.current_thread().name)
            return self.service.get_block(snapshot_id, block_index, token, into)
        finally:
            self._leave(block_index)

    def start_snapshot(self, request: StartRequest) -> str:
        return self.service.start_snapshot(request)

    def put_block(
        self,
        snapshot_id: str,
        block_index: int,
        block: memoryview,
        digest: Digest,
        *,
        stop: Interruption | None = None,
        recent: bool = False,
    ) -> None:
        self._enter(block_index)
        try:
            self.service.put_block(snapshot_id, block_index, block, digest, stop=stop, recent=recent)
            self.put.append((block_index, digest))
        finally:
            self._leave(block_index)

    def complete_snapshot(self, snapshot_id: str, changed_block_count: int, aggregate: Digest) -> str:
        return self.service.complete_snapshot(snapshot_id, changed_block_count, aggregate)

    def wait_completed(self, snapshot_id: str, seconds: float) -> None:
        self.service.wait_completed(snapshot_id, seconds)

    def delete_snapshot(self, snapshot_id: str) -> None:
        self.service.delete_snapshot(snapshot_id)

    def _enter(self, block_index: int) -> None:
        with self._lock:
            self.in_flight += 1
            if block_index in self._on_their_way:
                self.doubled.append(block_index)
            self._on_their_way.add(block_index)
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            failure = self.failures.pop(block_index, None)
        self.hold.wait(LIMIT_SECONDS)
        if failure is not None:
            self._leave(block_index)
            raise failure

    def _leave(self, block_index: int) -> None:
        with self._lock:
            self.in_flight -= 1
            self._on_their_way.discard(block_index)


class Misleading(Counting):
    """Lists tokens that the endpoint refuses, so many times."""

    bad_listing_count = 1

    def block_pages(self, snapshot_id: str, starting_block_index: int = 0) -> Iterator[BlockPage]:
        for page in super().block_pages(snapshot_id, starting_block_index):
            if len(self.page_starts) <= self.bad_listing_count:
                page = replace(page, blocks=tuple(ListedBlock(one.block_index, "00") for one in page.blocks))
            yield page
