"""ListSnapshotsInRecycleBin and RestoreSnapshotFromRecycleBin: how a deletion is undone while a rule's time runs."""

from __future__ import annotations

from collections.abc import Sequence

from snapstone.catalog.contract.snapshots import Snapshot
from snapstone.core.errors import DryRunPassedError, SnapshotNotFoundError
from snapstone.core.ids import DIRECT_VOLUME_ID, SnapshotId
from snapstone.service.ec2.filters import check_page_size, require_ids
from snapstone.service.engine import Caller, Engine
from snapstone.service.manifests import require_no_manifest
from snapstone.service.paging import page_of

Answer = dict[str, object]


def list_snapshots_in_recycle_bin(
    engine: Engine,
    caller: Caller,
    *,
    snapshot_ids: Sequence[str] | None = None,
    max_results: int | None = None,
    next_token: str | None = None,
    dry_run: bool = False,
) -> Answer:
    """The snapshots in the caller's bin that can still be restored, in the order in which they were recycled."""
    wanted = require_ids(snapshot_ids)
    check_page_size(max_results, snapshot_ids)
    if dry_run:
        raise DryRunPassedError
    due_ms = engine.timekeeper.due_ms()
    recycled = [each for each in engine.catalog.recycled(caller.account_id, caller.region) if _is_there(each, due_ms)]
    if wanted is not None:
        for missing in sorted(wanted - {each.snapshot_id for each in recycled}):
            require_no_manifest(engine, caller, missing)
            raise SnapshotNotFoundError((missing,))
        recycled = [each for each in recycled if each.snapshot_id in wanted]
    call = ("ListSnapshotsInRecycleBin", caller.account_id, caller.region, repr(snapshot_ids))
    page, token = page_of(engine, call, recycled, _place, max_results, next_token)
    return {"Snapshots": [_item(each) for each in page], "NextToken": token}


def restore_snapshot_from_recycle_bin(
    engine: Engine, caller: Caller, *, snapshot_id: str, dry_run: bool = False
) -> Answer:
    """Take a snapshot out of the bin: from here it is what it was before it was deleted."""
    require_ids((snapshot_id,))
    if dry_run:
        raise DryRunPassedError
    snapshot = engine.catalog.restore_recycled(
        caller.account_id, caller.region, SnapshotId(snapshot_id), engine.timekeeper.due_ms()
    )
    if snapshot is None:
        require_no_manifest(engine, caller, snapshot_id)
        raise SnapshotNotFoundError((snapshot_id,))
    return {
        "SnapshotId": snapshot.snapshot_id,
        "Description": snapshot.description or "",
        "Encrypted": snapshot.kms_key_arn is not None,
        "OwnerId": snapshot.account_id,
        "Progress": "100%",
        "StartTime": snapshot.started_at_ms,
        "State": snapshot.state.value,
        "VolumeId": DIRECT_VOLUME_ID,
        "VolumeSize": snapshot.volume_size_gib,
    }


def _is_there(snapshot: Snapshot, due_ms: int) -> bool:
    """Whether it has not expired; upkeep deletes it permanently soon after that."""
    return snapshot.recycled_until_ms is not None and due_ms < snapshot.recycled_until_ms


def _place(snapshot: Snapshot) -> tuple[int, str]:
    return snapshot.recycled_at_ms or 0, snapshot.snapshot_id


def _item(snapshot: Snapshot) -> Answer:
    return {
        "SnapshotId": snapshot.snapshot_id,
        "RecycleBinEnterTime": snapshot.recycled_at_ms,
        "RecycleBinExitTime": snapshot.recycled_until_ms,
        "Description": snapshot.description or "",
        "VolumeId": DIRECT_VOLUME_ID,
    }
