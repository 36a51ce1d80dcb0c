"""Full volumes, too large to be put block by block: every leaf page another one, every block from a few stored ones.

Built with the server's own block map pages and stores while no server runs; what a client then sees of such a snapshot
cannot be told from one that was put.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.core.block_map import LEVELS
from snapstone.core.blocks import BLOCKS_PER_GIB, Address
from snapstone.core.ids import SnapshotId
from snapstone.core.page import EMPTY_PAGE, FANOUT, Page
from snapstone.server.folder.data_folder import DataFolder
from snapstone.service.sealing import manifest_of
from snapstone.storage.contract import ObjectKind
from snapstone.storage.pages import PageStore
from snapstone.storage.segment_store import SegmentStore

CONTENT_COUNT: Final = 61
"""Blocks to choose from: three of them, taken as digits, number 226,981 leaf pages."""

DIGITS: Final = 3


def seal_as_full(data: Path, snapshot_ids: Sequence[str], contents: Sequence[Address]) -> None:
    """Complete pending snapshots of a stopped server as full volumes that have no page in common.

    Takes the steps of the server's own seal, with a map made here in place of one made from pending writes.
    """
    folder = DataFolder(data)
    catalog = SqliteCatalog(folder.catalog)
    objects = SegmentStore(folder.objects, now_ms=_now_ms, block_buffers=4)
    pages = PageStore(objects, cache_bytes=64 << 20)
    first_leaf_number = 0
    for snapshot_id in snapshot_ids:
        snapshot = catalog.begin_seal(SnapshotId(snapshot_id), CONTENT_COUNT, None, _now_ms(), due_running_ms=0)
        assert snapshot is not None
        block_count = snapshot.volume_size_gib * BLOCKS_PER_GIB
        root = build_full_map(pages, block_count, contents, first_leaf_number)
        objects.put_many(ObjectKind.MANIFEST, [manifest_of(snapshot, root, block_count)])
        assert catalog.finish_seal(snapshot.snapshot_id, root, block_count, _now_ms())
        first_leaf_number += block_count // FANOUT
    objects.close()
    catalog.close()


def build_full_map(pages: PageStore, block_count: int, contents: Sequence[Address], first_leaf_number: int) -> Address:
    """Store the pages of a volume whose every block is present; returns its root.

    Leaf pages are numbered from `first_leaf_number` on: two volumes share no page where their numbers do not overlap.
    """
    assert len(contents) == CONTENT_COUNT
    leaf_count, rest = divmod(block_count, FANOUT)
    assert rest == 0
    assert first_leaf_number + leaf_count <= CONTENT_COUNT**DIGITS
    addresses: list[Address] = []
    pages.store(_noting(addresses, _leaves(contents, range(first_leaf_number, first_leaf_number + leaf_count))))
    for _ in range(LEVELS - 1):
        parents: list[Address] = []
        pages.store(_noting(parents, _parents(addresses)))
        addresses = parents
    (root,) = addresses
    return root


def _leaves(contents: Sequence[Address], leaf_numbers: range) -> Iterator[Page]:
    pattern = EMPTY_PAGE.with_children({slot: contents[slot % CONTENT_COUNT] for slot in range(FANOUT)})
    for leaf_number in leaf_numbers:
        digits = [leaf_number // CONTENT_COUNT**place % CONTENT_COUNT for place in range(DIGITS)]
        yield pattern.with_children({slot: contents[digit] for slot, digit in enumerate(digits)})


def _parents(children: Sequence[Address]) -> Iterator[Page]:
    for first in range(0, len(children), FANOUT):
        yield EMPTY_PAGE.with_children(dict(enumerate(children[first : first + FANOUT])))


def _noting(addresses: list[Address], pages: Iterator[Page]) -> Iterator[tuple[Address, Page]]:
    for page in pages:
        addresses.append(page.address)
        yield page.address, page


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
