"""Which snapshot a caller may name for what: everything else does not exist for it.

Block public access is an account's guard, region by region, against sharing snapshots with everybody.
"""

from __future__ import annotations

from typing import Final

from snapstone.catalog.contract.snapshots import PublicAccess, Snapshot, SnapshotState, StorageTier
from snapstone.core.errors import (
    ParentNotCompleteError,
    PublicSnapshotError,
    SnapshotAlreadyCompletedError,
    SnapshotArchivedError,
    SnapshotNotFoundError,
)
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.service.engine import Caller, Engine
from snapstone.service.manifests import hold_against_manifest, require_no_manifest


def public_access_blocked(engine: Engine, account_id: AccountId, region: Region) -> bool:
    """Whether what an account has shared with everybody in a region is hidden now. Cheap: asked at every read."""
    return engine.catalog.public_access(account_id, region) is PublicAccess.BLOCK_ALL


EVERYBODY: Final = "all"
"""In place of an account id: the snapshot is public."""


def owned(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot | None:
    """The caller's snapshot in the caller's region in any state but deleted, or None.

    Its deadline may be an earlier one than it has now.
    """
    snapshot = _existing(engine, caller, snapshot_id)
    return snapshot if snapshot is not None and snapshot.account_id == caller.account_id else None


def written_by_caller(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot | None:
    """As `owned`, without copies, which only the server writes."""
    snapshot = owned(engine, caller, snapshot_id)
    return None if snapshot is None or snapshot.copied_from is not None else snapshot


def visible(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot | None:
    """A snapshot in the caller's region in any state but deleted that the caller owns or that is shared with it."""
    snapshot = _existing(engine, caller, snapshot_id)
    if snapshot is None or (snapshot.account_id != caller.account_id and not _is_shared(engine, snapshot, caller)):
        return None
    return snapshot


def readable(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot | None:
    """A completed snapshot that the caller may read, or None: for readers a pending snapshot does not exist.

    Raises PublicSnapshotError for another account's public snapshot, even if it is shared with the caller too, and
    SnapshotArchivedError for one that lies in the archive tier.
    """
    snapshot = visible(engine, caller, snapshot_id)
    if snapshot is None or snapshot.state is not SnapshotState.COMPLETED:
        return None
    if snapshot.account_id != caller.account_id and is_public(engine, snapshot):
        raise PublicSnapshotError(snapshot_id)
    require_standard_tier(snapshot)
    return snapshot


def require_readable(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot:
    """As `readable`; raises SnapshotNotFoundError if that is None."""
    snapshot = readable(engine, caller, snapshot_id)
    if snapshot is None:
        raise SnapshotNotFoundError((snapshot_id,))
    return snapshot


def require_writable(engine: Engine, caller: Caller, snapshot_id: str, due_running_ms: int) -> Snapshot:
    """The caller's pending snapshot. Raises SnapshotNotFoundError, SnapshotAlreadyCompletedError."""
    snapshot = written_by_caller(engine, caller, snapshot_id)
    if snapshot is not None and snapshot.state is SnapshotState.PENDING and due_running_ms > snapshot.deadline_at_ms:
        snapshot = engine.catalog.snapshot(snapshot.snapshot_id)  # puts have moved the deadline since, perhaps
    state = None if snapshot is None else snapshot.state
    if snapshot is not None and state is SnapshotState.PENDING and due_running_ms <= snapshot.deadline_at_ms:
        return snapshot
    raise not_writable(snapshot_id, state)


def not_writable(
    snapshot_id: str, state: SnapshotState | None
) -> SnapshotNotFoundError | SnapshotAlreadyCompletedError:
    """The error for a put to a snapshot in this state."""
    if state in (SnapshotState.SEALING, SnapshotState.COMPLETED):
        return SnapshotAlreadyCompletedError(snapshot_id)
    return SnapshotNotFoundError((snapshot_id,))


def require_parent(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot:
    """The caller's own completed snapshot to build on; a shared one cannot be a parent.

    Raises SnapshotNotFoundError, ParentNotCompleteError, SnapshotArchivedError.
    """
    snapshot = owned(engine, caller, snapshot_id)
    if snapshot is None or snapshot.state is SnapshotState.ERROR:
        raise SnapshotNotFoundError((snapshot_id,))
    if snapshot.state is not SnapshotState.COMPLETED:
        raise ParentNotCompleteError(snapshot_id)
    require_standard_tier(snapshot)
    hold_against_manifest(engine, snapshot)
    return snapshot


def require_standard_tier(snapshot: Snapshot) -> None:
    """Raises SnapshotArchivedError: what lies in the archive is read again once it has been restored."""
    if snapshot.tiering.tier is StorageTier.ARCHIVE:
        raise SnapshotArchivedError(snapshot.snapshot_id)


def is_public(engine: Engine, snapshot: Snapshot) -> bool:
    """Whether a snapshot is shared with everybody, and its owner does not block that now."""
    return EVERYBODY in snapshot.shared_with and not public_access_blocked(engine, snapshot.account_id, snapshot.region)


def _existing(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot | None:
    """Anyone's snapshot in the caller's region, in any state but deleted, and not in the recycle bin.

    Raises DamageError if only a manifest is left of the caller's.
    """
    snapshot = engine.catalog.remembered_snapshot(SnapshotId(snapshot_id))
    if snapshot is None:
        require_no_manifest(engine, caller, snapshot_id)
        return None
    if snapshot.state is SnapshotState.DELETING or snapshot.region != caller.region:
        return None
    return snapshot if snapshot.recycled_until_ms is None else None


def _is_shared(engine: Engine, snapshot: Snapshot, caller: Caller) -> bool:
    return caller.account_id in snapshot.shared_with or is_public(engine, snapshot)
