"""The seal: from a snapshot's pending writes to its immutable map and manifest. Every step can be done again.

Pages are stored first, then the manifest, then one catalog transaction turns the snapshot to completed. A seal that was
interrupted is simply repeated by the next holder of its lease; two that run at once store the same objects, and one of
them turns the snapshot. One that fails is tried again, for as long as `attempts` says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from threading import Event
from typing import Final

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.snapshots import PendingWrite, Snapshot, SnapshotState
from snapstone.core.block_map import AppliedWrites, apply_writes
from snapstone.core.blocks import Address, linear_aggregate
from snapstone.core.errors import KeyHiddenError
from snapstone.core.ids import SnapshotId
from snapstone.core.manifest import Manifest, manifest_address
from snapstone.core.page import Page
from snapstone.service.background import BackgroundWork, RetrySchedule
from snapstone.service.timekeeper import Timekeeper
from snapstone.storage.contract import FindDataKey, ObjectKind, ObjectStore
from snapstone.storage.pages import PageStore

log = logging.getLogger(__name__)

Guard = Callable[[Snapshot], AbstractContextManager[None]]

COUNT_MISMATCH: Final = "Changed blocks count mismatch for snapshot"
CHECKSUM_MISMATCH: Final = "Checksum mismatch for snapshot"

KEY_NOT_ACCESSIBLE: Final = "Given key ID is not accessible"
"""State message if the KMS key was destroyed before the seal, or refuses a copy (ENC-COPY-3)."""

LEASE_MS: Final = 10_000
"""How long a seal is left alone that shows no progress: if its process has died, another takes it over then, or one
that starts with the server at once. In running time, so that setting the machine's clock changes nothing."""

PAGE_BATCH: Final = 256
"""Pages that are gathered before they are stored."""

WRITES_PER_RENEWAL: Final = 50_000
"""Pending writes that are read between two renewals of the lease."""

SEALS_AT_ONCE: Final = 2
"""Seals that one process works on at a time; the others wait their turn."""


class Sealer:
    """Seals snapshots in threads of its own, at most `SEALS_AT_ONCE` at a time."""

    def __init__(
        self,
        catalog: Catalog,
        objects: ObjectStore,
        pages: PageStore,
        timekeeper: Timekeeper,
        now_ms: Callable[[], int],
        find_data_key: FindDataKey,
        guard: Guard,
        require_store: Callable[[], None] = lambda: None,
    ) -> None:
        """`guard` is around the work on a snapshot's map (manifests.seal_guard).

        `require_store` raises StoreLostError if what was stored may be lost: no seal ends then.
        """
        self._require_store = require_store
        self._catalog = catalog
        self._objects = objects
        self._pages = pages
        self._running_ms = timekeeper.running_ms
        self._now_ms = now_ms
        self._find_data_key = find_data_key
        self._guard = guard
        attempts = RetrySchedule("seal", catalog, timekeeper.running_ms, catalog.fail_seal)
        self._seals = BackgroundWork("seal", SEALS_AT_ONCE, self._claim, self._seal, attempts.note)

    def seal_and_wait(self, snapshot_id: SnapshotId, wait_seconds: float) -> None:
        """Start sealing, unless it is under way here, and wait a while for the end of it."""
        self.start(snapshot_id).wait(wait_seconds)

    def start(self, snapshot_id: SnapshotId) -> Event:
        """Start sealing in the background, unless it is under way here; the event is set when it has ended."""
        return self._seals.start(snapshot_id)

    @property
    def is_busy(self) -> bool:
        """Whether as many seals are under way here as are worked on at a time."""
        return self._seals.is_busy

    def wait_until_idle(self, wait_seconds: float) -> bool:
        """Wait for the seals of this process; False if one is still running after that time."""
        return self._seals.wait_until_idle(wait_seconds)

    def seal(self, snapshot_id: SnapshotId) -> None:
        """Seal in this thread, if the state is sealing and the lease is free; anything else is left as it is."""
        self._seals.run(snapshot_id)

    def _claim(self, snapshot_id: SnapshotId) -> Snapshot | None:
        """The snapshot if its state is sealing and its lease was free, which is taken then."""
        running_ms = self._running_ms()
        if not self._catalog.claim_seal(snapshot_id, running_ms, running_ms + LEASE_MS):
            return None
        snapshot = self._catalog.snapshot(snapshot_id)
        return snapshot if snapshot is not None and snapshot.state is SnapshotState.SEALING else None

    def _seal(self, snapshot: Snapshot) -> None:
        snapshot_id = snapshot.snapshot_id
        mismatch = self._mismatch(snapshot)
        if mismatch is not None:
            self._require_store()
            self._catalog.fail_seal(snapshot_id, mismatch)
            log.warning("seal refused", extra={"fields": {"snapshot": snapshot_id, "why": mismatch}})
            return
        try:
            with self._guard(snapshot):
                applied = self._build(snapshot)
        except KeyHiddenError:
            self._catalog.fail_seal(snapshot_id, KEY_NOT_ACCESSIBLE)
            return
        if applied is None:
            return
        if not self._is_sealing(snapshot_id):
            return  # so that no manifest is made for it: the row may be gone already
        block_count = snapshot.block_count + applied.added_count
        self._objects.put_many(ObjectKind.MANIFEST, [manifest_of(snapshot, applied.root, block_count)])
        self._require_store()
        if not self._catalog.finish_seal(snapshot_id, applied.root, block_count, self._now_ms()):
            self._remove_orphan(snapshot_id)

    def _mismatch(self, snapshot: Snapshot) -> str | None:
        """The mismatch between what CompleteSnapshot declared and the writes, or None."""
        writes = _CountedWrites(self._writes(snapshot.snapshot_id))
        aggregate = linear_aggregate(write.digest for write in writes)
        if writes.count != snapshot.expected_count:
            return COUNT_MISMATCH
        if snapshot.expected_checksum is not None and aggregate != snapshot.expected_checksum:
            return CHECKSUM_MISMATCH
        return None

    def _build(self, snapshot: Snapshot) -> AppliedWrites | None:
        """Store the pages of the snapshot's map; None if its writes are gone, because somebody else ended it."""
        data_key = None if snapshot.data_key_id is None else self._find_data_key(snapshot.data_key_id)
        gathered: list[tuple[Address, Page]] = []

        def emit(address: Address, page: Page) -> None:
            gathered.append((address, page))
            if len(gathered) == PAGE_BATCH:
                self._pages.store(gathered, data_key)
                gathered.clear()

        writes = _CountedWrites(self._writes(snapshot.snapshot_id))
        entries = ((write.block_index, write.address) for write in writes)
        applied = apply_writes(self._pages, snapshot.root, entries, emit)
        self._pages.store(gathered, data_key)
        return applied if writes.count == snapshot.expected_count else None

    def _writes(self, snapshot_id: SnapshotId) -> Iterator[PendingWrite]:
        """The pending writes in order, while the lease is kept."""
        for count, write in enumerate(self._catalog.pending_writes(snapshot_id), 1):
            if count % WRITES_PER_RENEWAL == 0:
                self._catalog.renew_seal(snapshot_id, self._running_ms() + LEASE_MS)
            yield write

    def _is_sealing(self, snapshot_id: SnapshotId) -> bool:
        snapshot = self._catalog.snapshot(snapshot_id)
        return snapshot is not None and snapshot.state is SnapshotState.SEALING

    def _remove_orphan(self, snapshot_id: SnapshotId) -> None:
        """Take back the manifest of a snapshot that was deleted while it was sealed."""
        snapshot = self._catalog.snapshot(snapshot_id)
        if snapshot is None or snapshot.state is SnapshotState.DELETING:
            self._objects.remove([manifest_address(snapshot_id)])


class _CountedWrites:
    """Pending writes that are counted while they are gone through."""

    def __init__(self, writes: Iterator[PendingWrite]) -> None:
        self._writes = writes
        self.count = 0

    def __iter__(self) -> Iterator[PendingWrite]:
        for write in self._writes:
            self.count += 1
            yield write


def manifest_of(snapshot: Snapshot, root: Address, block_count: int) -> tuple[Address, bytes]:
    """The place and the content of a sealing snapshot's manifest; the same whenever the seal is done again."""
    manifest = Manifest(
        snapshot_id=snapshot.snapshot_id,
        account_id=snapshot.account_id,
        region=snapshot.region,
        volume_size_gib=snapshot.volume_size_gib,
        parent_id=snapshot.parent_id,
        lineage_id=snapshot.lineage_id,
        root=root,
        block_count=block_count,
        description=snapshot.description,
        tags=snapshot.tags,
        started_at_ms=snapshot.started_at_ms,
        sealed_at_ms=snapshot.seal_begun_at_ms or snapshot.started_at_ms,
        kms_key_arn=snapshot.kms_key_arn,
        data_key_id=snapshot.data_key_id,
    )
    return manifest_address(snapshot.snapshot_id), manifest.encode()
