"""A snapshot as a stream of bytes, in order: fetched in parallel, given out one block after the other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from snapstone.client.api.service import Service
from snapstone.client.events import Observer, Tally
from snapstone.client.transfer.fetches import Fetch, listed
from snapstone.client.transfer.pipeline import Stop, ordered
from snapstone.client.transfer.zeros import ZERO_BLOCK
from snapstone.core.blocks import BLOCK_SIZE, Digest

WINDOW: Final = 64
"""Blocks that are fetched ahead of the one that is given out, at most: 32 MiB."""


def write_out(service: Service, snapshot_id: str, size: int, descriptor: int, tally: Tally, observer: Observer) -> None:
    """Write the first `size` bytes of a snapshot to an open file, pipes included; absent blocks are zeros.

    Raises ClientError, and BrokenPipeError where nobody reads any more.
    """
    stop = Stop()

    def fetch(item: Fetch, buffer: memoryview) -> Digest:
        assert item.token is not None
        return service.get_block(snapshot_id, item.block_index, item.token, buffer, stop=stop)

    options = service.options
    blocks = ordered(
        listed(service.block_pages(snapshot_id)),
        fetch,
        worker_count=service.get_workers,
        window=WINDOW,
        stall_seconds=options.stall_seconds,
        stop=stop,
    )
    observer.begin(tally)
    try:
        for piece in _pieces(blocks, size, tally):
            _write(descriptor, piece)
    finally:
        blocks.close()
        observer.end(tally)


def _pieces(blocks: Iterable[tuple[Fetch, memoryview, Digest]], size: int, tally: Tally) -> Iterator[memoryview]:
    zeros, offset = memoryview(ZERO_BLOCK), 0
    for item, block, _ in blocks:
        start = item.block_index * BLOCK_SIZE
        while offset < min(start, size):
            yield zeros[: size - offset]
            offset += BLOCK_SIZE
        if offset < size:
            yield block[: size - offset]
            offset += BLOCK_SIZE
        tally.add(moved=1)
    while offset < size:
        yield zeros[: size - offset]
        offset += BLOCK_SIZE


def _write(descriptor: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]
