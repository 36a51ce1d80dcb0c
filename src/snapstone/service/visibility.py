"""Which snapshot a caller may name for what: everything else does not exist for it (api-ebs.md, sections 3.5 and 4)."""

from __future__ import annotations

from typing import Final

from snapstone.catalog.rows import Snapshot, SnapshotState
from snapstone.core.errors import ParentNotCompleteError, SnapshotAlreadyCompletedError, SnapshotNotFoundError
from snapstone.core.ids import SnapshotId
from snapstone.core.sharing_errors import PublicSnapshotError
from snapstone.service.engine import Caller, Engine

EVERYBODY: Final = "all"
"""In place of an account id: the snapshot is public."""


def owned(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot | None:
    """The caller's snapshot in the caller's region in any state but deleted, or None.

    Its deadline may be an earlier one than it has now.
    """
    snapshot = _existing(engine, caller, snapshot_id)
    return snapshot if snapshot is not None and snapshot.account_id == caller.account_id else None


def visible(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot | None:
    """A snapshot in the caller's region in any state but deleted that the caller owns or that is shared with it."""
    snapshot = _existing(engine, caller, snapshot_id)
    if snapshot is None or (snapshot.account_id != caller.account_id and not _is_shared(snapshot, caller)):
        return None
    return snapshot


def readable(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot | None:
    """A completed snapshot that the caller may read, or None: for readers a pending snapshot does not exist.

    Raises PublicSnapshotError for another account's public snapshot, even where it is shared with the caller too.
    """
    snapshot = visible(engine, caller, snapshot_id)
    if snapshot is None or snapshot.state is not SnapshotState.COMPLETED:
        return None
    if snapshot.account_id != caller.account_id and EVERYBODY in snapshot.shared_with:
        raise PublicSnapshotError(snapshot_id)
    return snapshot


def require_readable(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot:
    """As `readable`; raises SnapshotNotFoundError where that is None."""
    snapshot = readable(engine, caller, snapshot_id)
    if snapshot is None:
        raise SnapshotNotFoundError((snapshot_id,))
    return snapshot


def require_writable(engine: Engine, caller: Caller, snapshot_id: str, now_ms: int) -> Snapshot:
    """The caller's pending snapshot. Raises SnapshotNotFoundError, SnapshotAlreadyCompletedError."""
    snapshot = owned(engine, caller, snapshot_id)
    if snapshot is not None and snapshot.state is SnapshotState.PENDING and now_ms > snapshot.deadline_at_ms:
        snapshot = engine.catalog.snapshot(snapshot.snapshot_id)  # puts have moved the deadline since, perhaps
    state = None if snapshot is None else snapshot.state
    if snapshot is not None and state is SnapshotState.PENDING and now_ms <= snapshot.deadline_at_ms:
        return snapshot
    raise not_writable(snapshot_id, state)


def not_writable(
    snapshot_id: str, state: SnapshotState | None
) -> SnapshotNotFoundError | SnapshotAlreadyCompletedError:
    """What a put to a snapshot in this state is answered."""
    if state in (SnapshotState.SEALING, SnapshotState.COMPLETED):
        return SnapshotAlreadyCompletedError(snapshot_id)
    return SnapshotNotFoundError((snapshot_id,))


def require_parent(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot:
    """A completed snapshot of the caller's to build on: one that is shared with the caller is none.

    Raises SnapshotNotFoundError, ParentNotCompleteError.
    """
    snapshot = owned(engine, caller, snapshot_id)
    if snapshot is None or snapshot.state is SnapshotState.ERROR:
        raise SnapshotNotFoundError((snapshot_id,))
    if snapshot.state is not SnapshotState.COMPLETED:
        raise ParentNotCompleteError(snapshot_id)
    return snapshot


def _existing(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot | None:
    """Whoever's snapshot in the caller's region, in any state but deleted."""
    snapshot = engine.catalog.remembered_snapshot(SnapshotId(snapshot_id))
    if snapshot is None or snapshot.state is SnapshotState.DELETING or snapshot.region != caller.region:
        return None
    return snapshot


def _is_shared(snapshot: Snapshot, caller: Caller) -> bool:
    return EVERYBODY in snapshot.shared_with or caller.account_id in snapshot.shared_with
