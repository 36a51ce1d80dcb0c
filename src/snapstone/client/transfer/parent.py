"""A parent's content, as a table of digests: from the local index, or by reading its blocks.

An incremental upload leaves out what the index has, so the index is not believed because of its name: a few blocks,
spread over the volume, are read from the snapshot first.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from snapstone.client.api.control_calls import SHORTEST_PAGE
from snapstone.client.api.service import Service
from snapstone.client.api.values import ListedBlock
from snapstone.client.events import Note, Tally
from snapstone.client.transfer.digests import DigestTable
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.index import IndexStore
from snapstone.client.transfer.pipeline import StopSignal, run
from snapstone.core.blocks import BLOCK_SIZE, BLOCKS_PER_GIB

PROBE_COUNT: Final = 4
"""Places that are checked, the volume's beginning among them."""


def probes(service: Service, snapshot_id: str, block_count: int) -> Iterator[tuple[int, ListedBlock | None]]:
    """Places in a volume, each with the first present block at or after it, if there is one."""
    for start in range(0, block_count, -(-block_count // PROBE_COUNT)):
        pages = service.block_pages(snapshot_id, start, SHORTEST_PAGE)
        yield start, next((block for page in pages for block in page.blocks), None)


@dataclass(frozen=True)
class Parent:
    """A parent snapshot, as an upload sees it."""

    snapshot_id: str
    volume_size_gib: int
    table: DigestTable | None
    """Its digests; None if only a dirty bitmap lists what changed."""
    known_from: str
    """`index`, `blocks`, or `dirty bitmap`."""


def find_parent(service: Service, snapshot_id: str, folders: Folders, *, may_read: bool, stop: StopSignal) -> Parent:
    """The parent with the digests of its blocks; reads all of them if no index is here and `may_read`."""
    volume_size_gib = service.volume_size_gib(snapshot_id)
    store = IndexStore(folders.indexes, service.observer)
    table = store.find(snapshot_id, volume_size_gib)
    if table is not None and not _agrees(service, snapshot_id, table):
        table.close()
        store.forget(snapshot_id)
        table = None
        service.observer.note(
            Note("warning", f"removed the digest index of {snapshot_id}: it does not match the snapshot")
        )
    if table is not None:
        return Parent(snapshot_id, volume_size_gib, table, "index")
    if not may_read:
        return Parent(snapshot_id, volume_size_gib, None, "dirty bitmap")
    table = read_digests(service, snapshot_id, volume_size_gib, folders, stop)
    return Parent(snapshot_id, volume_size_gib, table, "blocks")


def read_digests(
    service: Service, snapshot_id: str, volume_size_gib: int, folders: Folders, stop: StopSignal
) -> DigestTable:
    """The digests of all blocks of a snapshot, by reading each; kept as its index."""
    text = f"no local digest index of {snapshot_id}; reading its blocks to compare"
    service.observer.note(Note("plan", text, {"snapshot_id": snapshot_id}))
    path = folders.indexes / f"{snapshot_id}.{secrets.token_hex(8)}.new"
    with DigestTable.create(path, volume_size_gib * BLOCKS_PER_GIB, {}) as table:
        try:
            _read_into(table, service, snapshot_id, stop)
            return IndexStore(folders.indexes, service.observer).merge(None, table, snapshot_id, volume_size_gib)
        finally:
            path.unlink(missing_ok=True)


def _read_into(table: DigestTable, service: Service, snapshot_id: str, stop: StopSignal) -> None:
    """Read every block of a snapshot, and enter its digest."""
    tally = Tally("read")

    def perform(block: ListedBlock, buffer: memoryview) -> None:
        digest = service.get_block(snapshot_id, block.block_index, block.token, buffer, stop=stop)
        table.record(block.block_index, digest)
        tally.add(moved=1)

    blocks = (block for page in service.block_pages(snapshot_id) for block in page.blocks)
    options = service.options
    service.observer.begin(tally)
    try:
        run(blocks, perform, worker_count=service.get_workers, stall_seconds=options.stall_seconds, stop=stop)
    finally:
        service.observer.end(tally)


def _agrees(service: Service, snapshot_id: str, table: DigestTable) -> bool:
    """Whether blocks here and there of the snapshot are those of the table, and it lists none that the table lacks."""
    buffer = memoryview(bytearray(BLOCK_SIZE))
    for start, block in probes(service, snapshot_id, table.block_count):
        expected = next(islice(table.items(start), 1), None)
        if block is None or expected is None:
            if block is not None or expected is not None:
                return False
            continue
        if block.block_index != expected[0]:
            return False
        if service.get_block(snapshot_id, block.block_index, block.token, buffer) != expected[1]:
            return False
    return True
