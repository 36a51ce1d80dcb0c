"""The contract of a catalog: every transaction that the service needs, named after what it does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from snapstone.catalog.contract.clock import ClockCatalog
from snapstone.catalog.contract.identities import IdentityCatalog
from snapstone.catalog.contract.inventory import InventoryCatalog
from snapstone.catalog.contract.keys import DataKeyCatalog, KeyCatalog
from snapstone.catalog.contract.protection import ProtectionCatalog
from snapstone.catalog.contract.sharing import SharingCatalog
from snapstone.catalog.contract.snapshots import (
    Deletion,
    FailingWork,
    PendingWrite,
    Snapshot,
    SnapshotState,
    StoredAnswer,
)
from snapstone.core.blocks import Address, Digest
from snapstone.core.ids import AccountId, Region, SnapshotId

TIMED_OUT: Final = "Snapshot timed out"
"""State message of a pending snapshot past its deadline (docs/aws-behaviour/ebs-direct.md, EBS-STATE-8)."""


class ParentGoneError(Exception):
    """The parent was deleted between its reading and the start of its child."""


class PendingLimitError(Exception):
    """The account has as many pending snapshots in the region as it may have."""


@dataclass(eq=False)
class NotWritableError(Exception):
    """A write came to a snapshot that takes none: `state` tells why, None if there is no such snapshot.

    A pending snapshot past its deadline is reported as ERROR.
    """

    state: SnapshotState | None


class Catalog(
    ClockCatalog,
    DataKeyCatalog,
    KeyCatalog,
    IdentityCatalog,
    SharingCatalog,
    ProtectionCatalog,
    InventoryCatalog,
    Protocol,
):
    """Mutable rows, durable when a call returns. Safe from many threads, and from many processes on one catalog.

    Times called `running_ms` are running time (`clock_contract.ClockRow`). Those called `due_ms` and `due_running_ms`
    stand still while the wall clock is not trusted: what they have reached may end permanently.

    Every call that reads or changes a row that defines a snapshot's bytes raises DamageError if that row is not
    as it was written; so does a look-up that finds nothing because of damage. Sweeps (`seals_due`, `expire_pending`,
    ...) report damaged rows and leave them as they are. Every call that changes something raises StoreFullError if
    there is no room, and RowRefusedError if it would store a row that cannot be: one whose id is taken (if nothing
    else is said of that), one with the same tag twice, ... Every call raises CatalogUnavailableError if the catalog is
    closed or its engine fails; then it is not known whether a change took effect. After any other error nothing has
    changed. No other error of an engine leaves the catalog (`contract_errors`).
    """

    # -- the server's own secrets, and its first account --

    def secret(self, name: str, candidate: bytes) -> bytes:
        """The sealed secret of that name; `candidate`, sealed by the root key for the purpose `secret NAME`, becomes it
        if there is none yet. One winner among racing callers."""

    def seal_plain_secrets(self, seal: Callable[[bytes, str], bytes]) -> None:
        """Seal what a version before the root key left in plain text; `seal` takes it and its purpose."""

    def first_account(self, candidate: AccountId) -> AccountId:
        """The account made at first start; stores `candidate` if missing."""

    # -- snapshots --

    def insert_snapshot(
        self, snapshot: Snapshot, answer: StoredAnswer | None, pending_limit: int | None = None
    ) -> StoredAnswer | None:
        """Insert a pending snapshot and the answer for its client token, both or neither.

        Returns None if it was inserted, or the answer already stored for the token (account, region, token),
        in which case nothing changed, whatever has become of the parent. Raises ParentGoneError if `parent_id` is
        not a completed snapshot any more. Raises RowRefusedError if the id exists already. With a limit it
        raises PendingLimitError if the account has so many in the region that are shown as pending, apart from
        copies and from those past their deadline when this one starts.
        """

    def stored_answer(self, account_id: AccountId, region: Region, client_token: str) -> StoredAnswer | None:
        """The answer stored for a client token, until `drop_expired_answers` removes it."""

    def snapshot(self, snapshot_id: SnapshotId) -> Snapshot | None:
        """One snapshot in any state, of any owner."""

    def remembered_snapshot(self, snapshot_id: SnapshotId) -> Snapshot | None:
        """As `snapshot`, and cheap: `deadline_at_ms` and `progress` may be those of an earlier moment, nothing else."""

    def snapshots(
        self, account_id: AccountId, region: Region, snapshot_ids: Collection[SnapshotId] | None = None
    ) -> list[Snapshot]:
        """An account's snapshots in a region (all, or those of the given ids), ordered by start time, then id.

        Those being deleted are left out.
        """

    # -- writes --

    def record_write(
        self,
        snapshot_id: SnapshotId,
        write: PendingWrite,
        progress: int,
        begun_at_ms: int,
        running_ms: int,
    ) -> None:
        """Make a stored block the snapshot's content at an index, in place of an earlier write; group-committed.

        Extends the deadline to `running_ms` plus the snapshot's time-out (never back) and keeps the largest `progress`.
        A write whose `begun_at_ms` is not after the deadline may finish after it, as long as the snapshot has not
        turned to error. Raises NotWritableError and changes nothing if the snapshot is not pending.
        """

    def pending_writes(self, snapshot_id: SnapshotId) -> Iterator[PendingWrite]:
        """A snapshot's writes in ascending order of block index, as of one moment: that of the first one requested.

        Only a pending or sealing snapshot has any. Streams, so close it (or read it to its end) to free its reader.
        """

    # -- sealing --

    def begin_seal(
        self,
        snapshot_id: SnapshotId,
        expected_count: int,
        expected_checksum: Digest | None,
        now_ms: int,
        due_running_ms: int,
    ) -> Snapshot | None:
        """Turn a pending snapshot to sealing; from here no write is accepted. Returns the row as it is afterwards.

        A pending snapshot past its deadline (`due_running_ms` is after it) turns to error, TIMED_OUT, instead. In any
        other state nothing changes. None if there is no such snapshot.
        """

    def claim_seal(self, snapshot_id: SnapshotId, running_ms: int, lease_until_ms: int) -> bool:
        """Take a free or expired lease (`running_ms` has reached its end) on a sealing snapshot; True if taken."""

    def renew_seal(self, snapshot_id: SnapshotId, lease_until_ms: int) -> None:
        """Extend the lease of a seal in progress, never back; without effect if nobody holds one."""

    def release_leases(self) -> None:
        """Free every lease, of seals and of copies.

        For a start, when no other server works on the catalog: every holder of a lease is gone.
        """

    def seals_due(self, running_ms: int) -> list[SnapshotId]:
        """Sealing snapshots that nobody holds a lease on, in the order in which their seals were begun."""

    def finish_seal(self, snapshot_id: SnapshotId, root: Address, block_count: int, completed_at_ms: int) -> bool:
        """Turn a sealing snapshot to completed and drop its pending writes; False if it was not sealing any more."""

    def fail_seal(self, snapshot_id: SnapshotId, state_message: str) -> bool:
        """Turn a sealing snapshot to error and drop its pending writes; False if it was not sealing any more."""

    # -- seals and copies that fail --

    def note_failure(
        self, snapshot_id: SnapshotId, message: str, now_ms: int, pause_ms: Callable[[int], int]
    ) -> FailingWork | None:
        """A seal or a copy failed at `now_ms` (running time): no process retries for `pause_ms(failures so far)`.

        The message becomes the snapshot's state message until it succeeds. Returns what is known of its failures, or
        None if it is neither sealing nor a pending copy any more. The history ends with the snapshot's state.
        """

    def failing_work(self) -> list[FailingWork]:
        """Seals and copies that failed and are tried again, the longest failing one first."""

    # -- time-out and deletion --

    def expire_pending(self, due_running_ms: int, state_message: str) -> list[SnapshotId]:
        """Turn pending snapshots past their deadline to error and drop their writes; returns which.

        Also drops what was left if a process died while it dropped the writes of another snapshot.
        """

    def begin_delete(self, snapshot_id: SnapshotId, now_ms: int, due_ms: int) -> Deletion | None:
        """Turn a snapshot of any state to deleting and drop its pending writes; None if it was gone already.

        One that is being deleted, or lies in the recycle bin, is gone already. A completed one that a retention rule
        applies to goes into the bin at `now_ms` instead. Raises LockHoldsError if a lock is in force at `due_ms`:
        one in error has nothing that a lock could keep, and is deleted.
        """

    def finish_delete(self, snapshot_id: SnapshotId, answer_expires_at_ms: int) -> None:
        """Remove the row of a snapshot being deleted; its stored answer stays until the given time.

        Without effect if `begin_delete` did not come before, or the row is gone.
        """

    def deletions_due(self) -> list[SnapshotId]:
        """Snapshots whose deletion was begun and not finished."""

    def drop_expired_answers(self, due_ms: int) -> int:
        """Remove stored answers whose time is before `due_ms`; returns how many."""

    # -- the catalog itself --

    def check(self) -> None:
        """Raise CatalogUnavailableError if the catalog cannot answer."""

    def is_in_place(self) -> bool:
        """Whether what is committed goes where the next start will look for it: cheap, to be asked every second.

        False once a file of the catalog has been removed, moved or replaced under the running process.
        """

    def structure(self) -> Iterator[str]:
        """Look at the pages of the catalog, and at its indexes against their rows; yields a sentence for each fault.

        An index that lacks a row hides it from lists. A part of what `integrity` does.
        """

    def integrity(self) -> Iterator[str]:
        """Check everything for damage, as of one moment; yields a sentence for each problem."""

    def close(self) -> None:
        """Close files and connections after the calls in progress. Calling it twice is harmless."""
