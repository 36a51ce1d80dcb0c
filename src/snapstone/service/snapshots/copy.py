"""Copies under another key: blocks are decrypted, re-encrypted and recorded as pending writes; then the seal follows.

An interrupted copy is resumed by the next holder of its lease, after the writes that it has: each block is
a pending write of the copy before the next is begun, in batches. Deleting the copy ends the work; the source is not
needed any more but for its blocks, whose map was noted when the copy was requested.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from threading import Event
from typing import Final

from snapstone.catalog.contract.catalog import NotWritableError
from snapstone.catalog.contract.keys import KeyState, KmsKey
from snapstone.catalog.contract.snapshots import CopyWork, PendingWrite, Snapshot, SnapshotState
from snapstone.core.block_map import list_blocks
from snapstone.core.blocks import BLOCKS_PER_GIB, ZERO_ADDRESS, ZERO_DIGEST, Address
from snapstone.core.data_key import DataKey, Domain
from snapstone.core.errors import DamageError, KeyHiddenError
from snapstone.core.ids import SnapshotId
from snapstone.service.background import BackgroundWork, RetrySchedule
from snapstone.service.engine import Engine
from snapstone.service.manifests import hold_copy_source
from snapstone.service.sealing import KEY_NOT_ACCESSIBLE
from snapstone.storage.contract import Encryption

LEASE_MS: Final = 30_000
"""How long a copy is left alone that shows no progress, as `sealing.LEASE_MS`."""

COPIES_AT_ONCE: Final = 2
"""Copies that one process works on at a time."""

BLOCKS_AT_ONCE: Final = 4
"""Blocks of one copy on their way at a time: they share the syncs that make them durable."""

BATCH_SIZE: Final = 64
"""Blocks between two checks of the keys, the lease and the stop signal."""


class Copier:
    """Works on copies in threads of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        attempts = RetrySchedule("copy", engine.catalog, engine.timekeeper.running_ms, engine.catalog.fail_copy)
        self._copies = BackgroundWork("copy", COPIES_AT_ONCE, self._claim, self._copy, attempts.note)
        self._stopped = Event()

    @property
    def is_busy(self) -> bool:
        """Whether as many copies are under way here as are worked on at a time."""
        return self._copies.is_busy

    def start(self, snapshot_id: SnapshotId) -> None:
        """Start working on a copy in the background, unless it is under way here, or copies have been stopped."""
        if not self._stopped.is_set():
            self._copies.start(snapshot_id)

    def wait_until_idle(self, wait_seconds: float) -> bool:
        """Wait for the copies of this process; False if one is still running after that time."""
        return self._copies.wait_until_idle(wait_seconds)

    def stop(self, wait_seconds: float) -> bool:
        """Stop between two batches; what is left is resumed at the next start. False if that takes longer."""
        self._stopped.set()
        return self.wait_until_idle(wait_seconds)

    def _claim(self, snapshot_id: SnapshotId) -> tuple[Snapshot, CopyWork] | None:
        """A pending copy whose lease was free, and is taken then."""
        catalog, running_ms = self._engine.catalog, self._engine.timekeeper.running_ms()
        work = catalog.claim_copy(snapshot_id, running_ms, running_ms + LEASE_MS)
        snapshot = catalog.snapshot(snapshot_id)
        if work is None or snapshot is None or snapshot.state is not SnapshotState.PENDING:
            return None
        return snapshot, work

    def _copy(self, claimed: tuple[Snapshot, CopyWork]) -> None:
        """Work on a copy, to its seal or its error."""
        snapshot, work = claimed
        snapshot_id, catalog = snapshot.snapshot_id, self._engine.catalog
        try:
            hold_copy_source(self._engine, snapshot, work.source_root)
            block_count = self._copy_blocks(snapshot, work)
        except KeyHiddenError:
            catalog.fail_copy(snapshot_id, KEY_NOT_ACCESSIBLE)
        except DamageError:
            self._engine.gate.require_open()  # a folder that is gone is not damage
            raise
        except NotWritableError:
            return  # it was deleted in the middle
        else:
            if block_count is not None:
                due_running_ms = self._engine.timekeeper.due_running_ms()
                catalog.begin_seal(snapshot_id, block_count, None, self._engine.now_ms(), due_running_ms)
                self._engine.sealer.start(snapshot_id)

    def _copy_blocks(self, snapshot: Snapshot, work: CopyWork) -> int | None:
        """Copy what is missing; how many blocks there are then, or None if the work was stopped before its end."""
        with self._engine.keys.under(work.source_kms_key_arn):
            count = sum(1 for _ in list_blocks(self._engine.pages, work.source_root))
        missing = self._missing(snapshot, work)
        with ThreadPoolExecutor(BLOCKS_AT_ONCE, thread_name_prefix="copied block") as threads:
            while batch := list(islice(missing, BATCH_SIZE)):
                if self._stopped.is_set():
                    return None
                list(threads.map(self._task(snapshot, work).copy_block, *zip(*batch, strict=True)))
                self._engine.catalog.renew_copy(snapshot.snapshot_id, self._engine.timekeeper.running_ms() + LEASE_MS)
        return count

    def _missing(self, snapshot: Snapshot, work: CopyWork) -> Iterator[tuple[int, Address]]:
        """The source's blocks that are not pending writes of the copy yet."""
        written = bytearray(snapshot.volume_size_gib * BLOCKS_PER_GIB // 8)  # a bit for each block: 16 MiB at most
        for write in self._engine.catalog.pending_writes(snapshot.snapshot_id):
            written[write.block_index // 8] |= 1 << write.block_index % 8
        with self._engine.keys.under(work.source_kms_key_arn):
            for block_index, address in list_blocks(self._engine.pages, work.source_root):
                if not written[block_index // 8] >> block_index % 8 & 1:
                    yield block_index, address

    def _task(self, snapshot: Snapshot, work: CopyWork) -> _BlockCopy:
        """The keys for copying a block. Raises KeyHiddenError if one may not be used now."""
        engine = self._engine
        source_zero = ZERO_ADDRESS
        if work.source_kms_key_arn is not None:
            source_zero = engine.keys.domain(_usable_key(engine, work.source_kms_key_arn)).zero_address
        if snapshot.kms_key_arn is None or snapshot.data_key_id is None:
            raise KeyHiddenError
        domain = engine.keys.domain(_usable_key(engine, snapshot.kms_key_arn))
        with engine.keys.under(snapshot.kms_key_arn):
            data_key = engine.keys.data_key(snapshot.data_key_id)
        return _BlockCopy(engine, work, source_zero, domain, data_key)


class _BlockCopy:
    """Copies single blocks, with the keys as they were a moment ago."""

    def __init__(self, engine: Engine, work: CopyWork, source_zero: Address, domain: Domain, data_key: DataKey) -> None:
        self._engine = engine
        self._work = work
        self._source_zero = source_zero
        self._domain = domain
        self._data_key = data_key

    def copy_block(self, block_index: int, address: Address) -> None:
        """Read a block, store it under the new key, and make it a pending write of the copy."""
        if address == self._source_zero:
            write = PendingWrite(block_index, self._domain.zero_address, ZERO_DIGEST)
        else:
            write = self._stored(block_index, address)
        timekeeper = self._engine.timekeeper
        begun_at_ms, running_ms = timekeeper.due_running_ms(), timekeeper.running_ms()
        self._engine.catalog.record_write(self._work.snapshot_id, write, 0, begun_at_ms, running_ms)

    def _stored(self, block_index: int, address: Address) -> PendingWrite:
        with self._engine.keys.under(self._work.source_kms_key_arn):
            buffer = self._engine.objects.get_block(address)
        try:
            digest = buffer.digest
            new_address = self._domain.address_of(digest)
            self._engine.objects.put_block(new_address, buffer, Encryption(self._data_key, digest))
        finally:
            buffer.release()
        return PendingWrite(block_index, new_address, digest)


def _usable_key(engine: Engine, arn: str) -> KmsKey:
    """The key of an ARN, if it is enabled. Raises KeyHiddenError."""
    key = engine.keys.stored_key(arn)
    if key is None or key.state is not KeyState.ENABLED:
        raise KeyHiddenError
    return key
