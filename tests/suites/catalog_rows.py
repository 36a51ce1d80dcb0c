"""Rows that tests of the catalog work with, and short ways to write and read them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.snapshots import PendingWrite, Snapshot, SnapshotState, StoredAnswer
from snapstone.core.blocks import Address, Digest
from snapstone.core.ids import AccountId, Region, SnapshotId

ALICE = AccountId("111111111111")
BOB = AccountId("222222222222")
FRANKFURT = Region("eu-central-1")
OREGON = Region("us-west-2")

STARTED = 1_000_000
DEADLINE = 4_600_000
"""STARTED and 60 minutes, in milliseconds."""
MINUTE = 60_000
ROOT = Address(b"\x01" * 32)
OTHER_ROOT = Address(b"\x02" * 32)


def name(number: int) -> SnapshotId:
    """The id of the test's snapshot of that number."""
    return SnapshotId(f"snap-{number:017x}")


def pending(number: int = 1, **changes: Any) -> Snapshot:
    """A snapshot as StartSnapshot inserts it: alice's, in Frankfurt, of 1 GiB, with a time-out of 60 minutes."""
    snapshot = Snapshot(
        snapshot_id=name(number),
        account_id=ALICE,
        region=FRANKFURT,
        volume_size_gib=1,
        parent_id=None,
        lineage_id=name(number),
        description=None,
        tags=(),
        state=SnapshotState.PENDING,
        state_message=None,
        started_at_ms=STARTED,
        completed_at_ms=None,
        timeout_minutes=60,
        deadline_at_ms=DEADLINE,
        progress=0,
        root=ROOT,
        block_count=0,
        expected_count=None,
        expected_checksum=None,
        seal_begun_at_ms=None,
    )
    return replace(snapshot, **changes)


def answer(token: str, text: str = "{}", fingerprint: bytes = b"asked") -> StoredAnswer:
    """An answer as stored for a client token."""
    return StoredAnswer(token, fingerprint, text)


def plain(block_index: int, content: str = "a") -> PendingWrite:
    """A write of a block that is not encrypted: its address is its digest."""
    digest = sha256(content.encode()).digest()
    return PendingWrite(block_index, Address(digest), Digest(digest))


def record(catalog: Catalog, number: int, write: PendingWrite, begun: int = STARTED, now: int = STARTED) -> None:
    """Record a write, with what does not matter to the test filled in."""
    catalog.record_write(name(number), write, 0, begun, now)


def record_many(catalog: Catalog, number: int, block_indexes: Iterable[int]) -> None:
    """Record one write at each of the indexes, one after the other."""
    for block_index in block_indexes:
        record(catalog, number, plain(block_index))


def writes(catalog: Catalog, number: int = 1) -> list[PendingWrite]:
    """All pending writes of a snapshot."""
    return list(catalog.pending_writes(name(number)))


def put_in_state(catalog: Catalog, number: int, state: SnapshotState, **changes: Any) -> None:
    """Insert a snapshot with one write, at index 0, and lead it to a state."""
    catalog.insert_snapshot(pending(number, **changes), None)
    record(catalog, number, plain(0))
    if state in (SnapshotState.SEALING, SnapshotState.COMPLETED, SnapshotState.ERROR):
        catalog.begin_seal(name(number), 1, None, STARTED, STARTED)
    if state is SnapshotState.COMPLETED:
        assert catalog.finish_seal(name(number), OTHER_ROOT, 1, STARTED + 5)
    if state is SnapshotState.ERROR:
        assert catalog.fail_seal(name(number), "Checksum mismatch for snapshot")
    if state is SnapshotState.DELETING:
        assert catalog.begin_delete(name(number), STARTED, STARTED)


def state_of(catalog: Catalog, number: int = 1) -> SnapshotState | None:
    """A snapshot's state, None if there is no such snapshot."""
    snapshot = catalog.snapshot(name(number))
    return None if snapshot is None else snapshot.state
