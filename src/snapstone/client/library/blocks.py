"""The blocks of a snapshot one after the other, fetched in parallel."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Final

from snapstone.client.api.faults import is_refused_token
from snapstone.client.api.values import ListedBlock
from snapstone.client.errors import RemoteError
from snapstone.client.library.contract import Readable
from snapstone.client.library.listing import Listing
from snapstone.client.transfer.pipeline import Stop, ordered
from snapstone.core.blocks import Digest

WORKER_COUNT: Final = 16
"""Blocks that are fetched at the same time."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block that is present in a snapshot."""

    index: int
    data: bytes
    """524,288 bytes."""
    digest: Digest
    """SHA-256 of them: what was received has been held against it."""


def iterate_blocks(
    service: Readable, snapshot_id: str, start: int = 0, stop: int | None = None, *, worker_count: int = WORKER_COUNT
) -> Generator[Block]:
    """The blocks that are present from index `start` to before `stop`, ascending; zero blocks are among them.

    Blocks that are absent, and so read as zeros, are left out. Blocks are fetched ahead of whoever iterates, a bounded
    number of them; the list of blocks is asked for page by page, and anew where a slow caller's tokens have expired.
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
        stop=Stop(),
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
