"""ModifySnapshotTier, RestoreSnapshotTier and DescribeSnapshotTierStatus: snapshots archived and restored.

Both moves are complete when answered: nothing is copied; archived means that reads are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from snapstone.catalog.contract.snapshots import Snapshot, SnapshotState, StorageTier, Tiering
from snapstone.core.errors import (
    DryRunPassedError,
    InvalidParameterCombinationError,
    InvalidParameterError,
    SnapshotNotFoundError,
    SnapshotStateError,
)
from snapstone.core.ids import DIRECT_VOLUME_ID, SnapshotId
from snapstone.core.protection import DAY_MS
from snapstone.service.ec2.filters import Facts, Filter, check_page_size, require_ids, select
from snapstone.service.engine import Caller, Engine
from snapstone.service.paging import page_of
from snapstone.service.visibility import owned

MAX_RESTORE_DAYS: Final = 180

ARCHIVED: Final = "archival-completed"
RESTORED_FOR_A_TIME: Final = "temporary-restore-completed"
RESTORED_FOR_GOOD: Final = "permanent-restore-completed"

Answer = dict[str, object]


def modify_snapshot_tier(
    engine: Engine, caller: Caller, *, snapshot_id: str, storage_tier: str | None = None, dry_run: bool = False
) -> Answer:
    """Put a completed snapshot into the archive: it cannot be read, built on or copied until it is restored."""
    require_ids((snapshot_id,))
    if storage_tier not in (None, StorageTier.ARCHIVE):
        raise InvalidParameterError(f"Value ({storage_tier}) for parameter StorageTier is invalid.")
    if dry_run:
        raise DryRunPassedError
    now_ms = engine.now_ms()

    def archive(snapshot: Snapshot) -> Tiering:
        if snapshot.state is not SnapshotState.COMPLETED:
            raise SnapshotStateError(f"The snapshot '{snapshot_id}' is not completed and cannot be archived.")
        if snapshot.tiering.tier is StorageTier.ARCHIVE or snapshot.tiering.restore_expires_at_ms is not None:
            raise SnapshotStateError(f"The snapshot '{snapshot_id}' is in the archive tier already.")
        return Tiering(StorageTier.ARCHIVE, None, now_ms, now_ms, ARCHIVED)

    _change(engine, caller, snapshot_id, archive)
    return {"SnapshotId": snapshot_id, "TieringStartTime": now_ms}


def restore_snapshot_tier(
    engine: Engine,
    caller: Caller,
    *,
    snapshot_id: str,
    temporary_restore_days: int | None = None,
    permanent_restore: bool | None = None,
    dry_run: bool = False,
) -> Answer:
    """Restore a snapshot, permanently or for some days; a temporary restore can be changed."""
    require_ids((snapshot_id,))
    _check_restore(temporary_restore_days, permanent_restore)
    if dry_run:
        raise DryRunPassedError
    now_ms = engine.now_ms()

    def restore(snapshot: Snapshot) -> Tiering:
        before = snapshot.tiering
        if before.tier is StorageTier.STANDARD and before.restore_expires_at_ms is None:
            raise SnapshotStateError(f"The snapshot '{snapshot_id}' is not in the archive tier.")
        if temporary_restore_days is None:
            return Tiering(StorageTier.STANDARD, None, before.archived_at_ms, now_ms, RESTORED_FOR_GOOD)
        expires_at_ms = engine.timekeeper.dated_ms() + temporary_restore_days * DAY_MS
        return Tiering(StorageTier.STANDARD, expires_at_ms, before.archived_at_ms, now_ms, RESTORED_FOR_A_TIME)

    _change(engine, caller, snapshot_id, restore)
    return {
        "SnapshotId": snapshot_id,
        "RestoreStartTime": now_ms,
        "RestoreDuration": temporary_restore_days,
        "IsPermanentRestore": temporary_restore_days is None,
    }


def describe_snapshot_tier_status(
    engine: Engine,
    caller: Caller,
    *,
    filters: Sequence[Filter] | None = None,
    max_results: int | None = None,
    next_token: str | None = None,
    dry_run: bool = False,
) -> Answer:
    """Where the caller's snapshots are stored, and the last move of each."""
    check_page_size(max_results)
    if dry_run:
        raise DryRunPassedError
    snapshots = engine.catalog.snapshots(caller.account_id, caller.region)
    snapshots = select(snapshots, filters or (), _FACTS, lambda each: each.tags)
    call = ("DescribeSnapshotTierStatus", caller.account_id, caller.region, repr(filters))
    page, token = page_of(engine, call, snapshots, _place, max_results, next_token)
    return {"SnapshotTierStatuses": [_item(each) for each in page], "NextToken": token}


def _check_restore(days: int | None, permanent: bool | None) -> None:
    if (days is None) == (not permanent):
        raise InvalidParameterCombinationError("Specify either TemporaryRestoreDays or PermanentRestore, and not both.")
    if days is not None and not 1 <= days <= MAX_RESTORE_DAYS:
        raise InvalidParameterError(
            f"Value ({days}) for parameter TemporaryRestoreDays is invalid. Expecting 1 to {MAX_RESTORE_DAYS}."
        )


def _change(engine: Engine, caller: Caller, snapshot_id: str, change: Callable[[Snapshot], Tiering]) -> None:
    if (
        owned(engine, caller, snapshot_id) is None
        or engine.catalog.change_tiering(SnapshotId(snapshot_id), change) is None
    ):
        raise SnapshotNotFoundError((snapshot_id,))


def _place(snapshot: Snapshot) -> tuple[int, str]:
    return snapshot.started_at_ms, snapshot.snapshot_id


def _item(snapshot: Snapshot) -> Answer:
    tiering = snapshot.tiering
    moved = tiering.status is not None
    return {
        "SnapshotId": snapshot.snapshot_id,
        "VolumeId": DIRECT_VOLUME_ID,
        "Status": "pending" if snapshot.state is SnapshotState.SEALING else snapshot.state.value,
        "OwnerId": snapshot.account_id,
        "Tags": [{"Key": key, "Value": value} for key, value in snapshot.tags] or None,
        "StorageTier": tiering.tier.value,
        "LastTieringStartTime": tiering.started_at_ms,
        "LastTieringProgress": 100 if moved else None,
        "LastTieringOperationStatus": tiering.status,
        "ArchivalCompleteTime": tiering.archived_at_ms,
        "RestoreExpiryTime": tiering.restore_expires_at_ms,
    }


_FACTS: Final[Facts[Snapshot]] = {
    "snapshot-id": lambda each: (each.snapshot_id,),
    "volume-id": lambda each: (DIRECT_VOLUME_ID,),
    "last-tiering-operation": lambda each: () if each.tiering.status is None else (each.tiering.status,),
    "last-tiering-operation-status": lambda each: () if each.tiering.status is None else (each.tiering.status,),
}
