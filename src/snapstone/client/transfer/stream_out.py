"""A snapshot as a stream of bytes, in order: blocks fetched in parallel, zeros between them, written one by one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from snapstone.client.api.service import Service
from snapstone.client.api.values import BlockPage, ChangePage
from snapstone.client.events import Observer, Tally
from snapstone.client.transfer.pipeline import StopSignal, ordered
from snapstone.client.transfer.reading import ZERO_BLOCK
from snapstone.core.blocks import BLOCK_SIZE, Digest


@dataclass(frozen=True, slots=True)
class Fetch:
    """One block of the target: to be received by `token`, or, if that is None, to be zeros."""

    block_index: int
    token: str | None


def listed(pages: Iterable[BlockPage]) -> Iterator[Fetch]:
    """The blocks that are present in a snapshot."""
    return (Fetch(block.block_index, block.token) for page in pages for block in page.blocks)


def changed(pages: Iterable[ChangePage]) -> Iterator[Fetch]:
    """The changes to an image of the first snapshot: a block that only the first one has becomes zeros."""
    return (Fetch(block.block_index, block.second_token) for page in pages for block in page.blocks)


def with_gaps(fetches: Iterable[Fetch], block_count: int) -> Iterator[Fetch]:
    """These, and zeros for every other block of the volume: for a target that holds something else now."""
    next_index = 0
    for fetch in fetches:
        yield from (Fetch(block_index, None) for block_index in range(next_index, fetch.block_index))
        yield fetch
        next_index = fetch.block_index + 1
    yield from (Fetch(block_index, None) for block_index in range(next_index, block_count))


WINDOW: Final = 64
"""Blocks that are fetched ahead of the one that is given out, at most: 32 MiB."""


def write_out(service: Service, snapshot_id: str, size: int, descriptor: int, tally: Tally, observer: Observer) -> None:
    """Write the first `size` bytes of a snapshot to an open file, pipes included; absent blocks are zeros.

    Raises ClientError, and BrokenPipeError if nobody reads any more.
    """
    stop = StopSignal()

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
