"""Which blocks of a snapshot are present, by which token each is read, and all of them in order, fetched in parallel.

Listings are requested in pieces, never as a whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Final

from snapstone.client.api.faults import is_refused_token
from snapstone.client.api.values import ListedBlock
from snapstone.client.errors import RemoteError
from snapstone.client.library.contract import Readable
from snapstone.client.transfer.pipeline import StopSignal, ordered
from snapstone.core.blocks import BLOCKS_PER_GIB, Digest

MAX_WINDOW_COUNT: Final = 8
"""Windows that are remembered: at most eight pages of 10,000 tokens."""

WINDOW_ALIGNMENT: Final = 1_024
"""Windows begin at multiples of this, so that reading backwards does not list again for every block."""

TOKEN_LIFETIME_SECONDS: Final = 6 * 3600.0
"""Older tokens are fetched again. AWS's live for about seven days (docs/aws-behaviour/ebs-direct.md, EBS-LIST-4)."""


@dataclass(frozen=True, slots=True)
class _Window:
    """The present blocks in a range of block indexes."""

    start: int
    stop: int
    tokens: dict[int, str]
    fetched_at: float

    def covers(self, block_index: int, now: float) -> bool:
        return self.start <= block_index < self.stop and now - self.fetched_at < TOKEN_LIFETIME_SECONDS


class Listing:
    """The blocks of one completed snapshot. Safe from any thread."""

    def __init__(self, service: Readable, snapshot_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Asks for the volume size, and so whether the snapshot can be read; raises NotFoundError if it cannot."""
        self.snapshot_id = snapshot_id
        self.block_count = service.volume_size_gib(snapshot_id) * BLOCKS_PER_GIB
        self._service = service
        self._clock = clock
        self._windows: list[_Window] = []
        """The one used last comes first."""
        self._lock = threading.Lock()
        self._fetching = threading.Lock()

    def token(self, block_index: int) -> str | None:
        """The token of a block, or None if the block is absent and so reads as zeros."""
        window = self._known(block_index) or self._fetched(block_index)
        return window.tokens.get(block_index)

    def is_known_absent(self, block_index: int) -> bool:
        """Whether a block is known to be absent, without asking the endpoint."""
        window = self._known(block_index)
        return window is not None and block_index not in window.tokens

    def forget(self, block_index: int) -> None:
        """Drop the tokens around a block, because one of them was refused."""
        with self._lock:
            self._windows = [window for window in self._windows if not window.start <= block_index < window.stop]

    def read(self, block_index: int, into: memoryview) -> Digest | None:
        """Read a block into 524,288 bytes; None, and `into` as it was, where the block is absent.

        A token that the endpoint no longer takes is fetched again, once.
        """
        try:
            return self._read(block_index, into)
        except RemoteError as error:
            if not is_refused_token(error):
                raise
        self.forget(block_index)
        return self._read(block_index, into)

    def _read(self, block_index: int, into: memoryview) -> Digest | None:
        token = self.token(block_index)
        return None if token is None else self._service.get_block(self.snapshot_id, block_index, token, into)

    def _known(self, block_index: int) -> _Window | None:
        now = self._clock()
        with self._lock:
            for place, window in enumerate(self._windows):
                if window.covers(block_index, now):
                    if place:
                        self._windows.insert(0, self._windows.pop(place))
                    return window
        return None

    def _fetched(self, block_index: int) -> _Window:
        with self._fetching:
            window = self._known(block_index)
            if window is None:
                window = self._fetch(block_index)
                with self._lock:
                    self._windows = [window, *self._windows[: MAX_WINDOW_COUNT - 1]]
            return window

    def _fetch(self, block_index: int) -> _Window:
        """List from the beginning of the window on, until a page reaches the block or there are no more."""
        start = block_index - block_index % WINDOW_ALIGNMENT
        now = self._clock()
        tokens: dict[int, str] = {}
        for page in self._service.block_pages(self.snapshot_id, start):
            tokens.update((block.block_index, block.token) for block in page.blocks)
            if page.blocks and page.blocks[-1].block_index >= block_index:
                return _Window(start, page.blocks[-1].block_index + 1, tokens, now)
        return _Window(start, self.block_count, tokens, now)


WORKER_COUNT: Final = 16
"""Blocks that are fetched at the same time."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block that is present in a snapshot."""

    index: int
    data: bytes
    """524,288 bytes."""
    digest: Digest
    """SHA-256 of them, verified with what was received."""


def iterate_blocks(
    service: Readable, snapshot_id: str, start: int = 0, stop: int | None = None, *, worker_count: int = WORKER_COUNT
) -> Generator[Block]:
    """The blocks that are present from index `start` to before `stop`, ascending; zero blocks are among them.

    Blocks that are absent, and so read as zeros, are left out. Blocks are fetched ahead of the iteration, a bounded
    number of them; the list of blocks is requested page by page, and again if a slow caller's tokens have expired.
    Raises ClientError.
    """

    listing = cache(lambda: Listing(service, snapshot_id))

    def fetch(listed: ListedBlock, buffer: memoryview) -> Digest:
        try:
            return service.get_block(snapshot_id, listed.block_index, listed.token, buffer)
        except RemoteError as error:
            if not is_refused_token(error):
                raise
            digest = listing().read(listed.block_index, buffer)
            if digest is None:
                raise
            return digest

    fetched = ordered(
        _listed(service, snapshot_id, start, stop),
        fetch,
        worker_count=worker_count,
        window=2 * worker_count,
        stall_seconds=service.options.stall_seconds,
        stop=StopSignal(),
    )
    with closing(fetched):
        for listed, buffer, digest in fetched:
            yield Block(listed.block_index, bytes(buffer), digest)


def _listed(service: Readable, snapshot_id: str, start: int, stop: int | None) -> Generator[ListedBlock]:
    for page in service.block_pages(snapshot_id, start):
        for block in page.blocks:
            if stop is not None and block.block_index >= stop:
                return
            yield block
