"""The part of the catalog's contract about locks, public access, the recycle bin, the archive tier and copies.

If a call takes a function `change`, it runs inside the transaction, sees the row as it is there, and returns
what takes its place; an error raised in it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from snapstone.catalog.contract.snapshots import CopyWork, PublicAccess, RetentionRule, Snapshot, Tiering
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.protection import SnapshotLock


class RuleLimitError(Exception):
    """The account has as many retention rules in the region as it may have."""


class SourceGoneError(Exception):
    """The source of a copy is not a completed snapshot in the standard tier any more."""


class CopiesLimitError(Exception):
    """The account has as many copies under way in the region as it may have."""


class ProtectionCatalog(Protocol):
    """Rows of what keeps snapshots, durable when a call returns."""

    # -- locks --

    def change_lock(
        self, snapshot_id: SnapshotId, change: Callable[[Snapshot, SnapshotLock | None], SnapshotLock | None]
    ) -> tuple[Snapshot, SnapshotLock | None] | None:
        """Put a lock in place of a snapshot's lock, expired or not; None takes it off.

        Returns the snapshot and its lock afterwards, or None if the snapshot is gone or in the recycle bin.
        """

    def locks(
        self, account_id: AccountId, region: Region, snapshot_ids: Collection[SnapshotId] | None = None
    ) -> list[tuple[Snapshot, SnapshotLock]]:
        """An account's locks in a region, expired ones included, ordered by the snapshots' start time, then id.

        Those of snapshots that are being deleted or lie in the recycle bin are left out.
        """

    # -- block public access --

    def public_access(self, account_id: AccountId, region: Region) -> PublicAccess:
        """What an account allows to be shared with everybody; cheap, and never stale."""

    def set_public_access(self, account_id: AccountId, region: Region, state: PublicAccess) -> None:
        """When this returns, `public_access` returns it in every process."""

    # -- the recycle bin --

    def insert_rule(self, rule: RetentionRule, limit: int) -> None:
        """Insert a rule. Raises RuleLimitError if the account has `limit` of them in the region, and RowRefusedError
        if the ID exists already, in any account.
        """

    def rule(self, account_id: AccountId, region: Region, rule_id: str) -> RetentionRule | None:
        """One rule."""

    def rules(self, account_id: AccountId, region: Region, resource_type: str) -> list[RetentionRule]:
        """An account's rules for a type of resource, oldest first."""

    def change_rule(
        self,
        account_id: AccountId,
        region: Region,
        rule_id: str,
        change: Callable[[RetentionRule], RetentionRule | None],
    ) -> RetentionRule | None:
        """Put a rule in place of a rule; None deletes it. Returns the new one (or the deleted), None if none is."""

    def recycled(self, account_id: AccountId, region: Region) -> list[Snapshot]:
        """The snapshots in the bin, in the order in which they were recycled."""

    def restore_recycled(
        self, account_id: AccountId, region: Region, snapshot_id: SnapshotId, due_ms: int
    ) -> Snapshot | None:
        """Take a snapshot out of the bin; None if it is not there, or has expired at `due_ms`."""

    def empty_recycle_bin(self, due_ms: int) -> list[SnapshotId]:
        """Begin the deletion of all that have expired; returns which."""

    # -- the archive tier --

    def change_tiering(self, snapshot_id: SnapshotId, change: Callable[[Snapshot], Tiering]) -> Tiering | None:
        """Change where a snapshot is stored; returns that, or None if it is gone or in the recycle bin."""

    def end_temporary_restores(self, due_ms: int) -> int:
        """Return snapshots whose temporary restore has ended to the archive; returns how many."""

    # -- copies --

    def insert_copy(self, snapshot: Snapshot, work: CopyWork | None, limit: int) -> None:
        """Insert a copy's row, and the work that is to be done for it.

        Raises SourceGoneError if the source (`copied_from`) cannot be copied any more, and CopiesLimitError if
        `limit` copies are under way to the account's region. Raises RowRefusedError if the id exists already.
        """

    def claim_copy(self, snapshot_id: SnapshotId, running_ms: int, lease_until_ms: int) -> CopyWork | None:
        """Take a free or expired lease on a pending copy; None if somebody else works on it, or it has ended."""

    def renew_copy(self, snapshot_id: SnapshotId, lease_until_ms: int) -> None:
        """Extend the lease of a copy in progress, never back; without effect if nobody holds one."""

    def copies_due(self, running_ms: int) -> list[SnapshotId]:
        """Pending copies that nobody works on, oldest first."""

    def fail_copy(self, snapshot_id: SnapshotId, state_message: str) -> bool:
        """Turn a pending copy to error and drop its pending writes; False if it was not pending any more."""
