"""EC2's view of snapshots: DescribeSnapshots and DeleteSnapshot (api-control-plane.md, sections 2.4 and 2.5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from snapstone.catalog.rows import Snapshot, SnapshotState
from snapstone.core.blocks import BLOCK_SIZE
from snapstone.core.errors import (
    DryRunPassedError,
    InvalidParameterCombinationError,
    InvalidParameterError,
    MalformedAccountIdError,
    MalformedSnapshotIdError,
    SnapshotNotFoundError,
)
from snapstone.core.ids import SnapshotId, is_minted_snapshot_id
from snapstone.core.tokens import PAGE_TOKEN_LIFE_SECONDS
from snapstone.service.deletion import delete
from snapstone.service.ec2.filters import Facts, Filter, select
from snapstone.service.engine import Caller, Engine
from snapstone.service.visibility import owned

MIN_RESULTS: Final = 5
MAX_RESULTS: Final = 1_000
"""A larger MaxResults is cut to this."""

DIRECT_VOLUME_ID: Final = "vol-ffffffff"
"""What AWS shows as the volume of a snapshot that came through the EBS direct APIs."""

Answer = dict[str, object]

_ACCOUNT_ID = re.compile(r"\d{12}")


def describe_snapshots(
    engine: Engine,
    caller: Caller,
    *,
    snapshot_ids: Sequence[str] | None = None,
    owner_ids: Sequence[str] | None = None,
    restorable_by_user_ids: Sequence[str] | None = None,
    filters: Sequence[Filter] | None = None,
    max_results: int | None = None,
    next_token: str | None = None,
    dry_run: bool = False,
) -> Answer:
    """The caller's snapshots in a region, ordered by start time, then id; all of them where MaxResults is not given."""
    _check_ids(snapshot_ids or ())
    _check_page_size(snapshot_ids, max_results)
    if dry_run:
        raise DryRunPassedError
    wanted = None if not snapshot_ids else {SnapshotId(each) for each in snapshot_ids}
    snapshots = engine.catalog.snapshots(caller.account_id, caller.region, wanted)
    if wanted is not None:
        for missing in sorted(wanted - {snapshot.snapshot_id for snapshot in snapshots}):
            raise SnapshotNotFoundError((missing,))
    if not _includes(caller, owner_ids) or not _includes(caller, restorable_by_user_ids):
        snapshots = []
    snapshots = select(snapshots, filters or (), _FACTS, lambda snapshot: snapshot.tags)
    call = (
        "DescribeSnapshots",
        caller.account_id,
        caller.region,
        repr((snapshot_ids, owner_ids, restorable_by_user_ids, filters)),
    )
    return _page(engine, snapshots, call, max_results, next_token)


def delete_snapshot(engine: Engine, caller: Caller, *, snapshot_id: str, dry_run: bool = False) -> Answer:
    """Delete a snapshot in any state. Its children keep every block."""
    _check_ids((snapshot_id,))
    if dry_run:
        raise DryRunPassedError
    snapshot = owned(engine, caller, snapshot_id)
    if snapshot is None or not delete(engine, snapshot.snapshot_id):
        raise SnapshotNotFoundError((snapshot_id,))
    return {}


def _check_ids(snapshot_ids: Sequence[str]) -> None:
    for snapshot_id in snapshot_ids:
        if not snapshot_id.startswith("snap-"):
            raise InvalidParameterError(f'Invalid id: "{snapshot_id}" (expecting "snap-...")')
        if not is_minted_snapshot_id(snapshot_id):
            raise MalformedSnapshotIdError(snapshot_id)


def _check_page_size(snapshot_ids: Sequence[str] | None, max_results: int | None) -> None:
    if max_results is None:
        return
    if snapshot_ids:
        raise InvalidParameterCombinationError("The parameter snapshotSet cannot be used with the parameter maxResults")
    if max_results < MIN_RESULTS:
        raise InvalidParameterError(
            f"Value ( {max_results} ) for parameter maxResults is invalid. Expecting at least {MIN_RESULTS}."
        )


def _includes(caller: Caller, account_ids: Sequence[str] | None) -> bool:
    """Whether a list of owners or readers lets the caller's own snapshots through."""
    for account_id in account_ids or ():
        if account_id not in ("self", "amazon", "aws-marketplace", "all") and not _ACCOUNT_ID.fullmatch(account_id):
            raise MalformedAccountIdError(account_id)
    return not account_ids or "self" in account_ids or caller.account_id in account_ids


def _page(
    engine: Engine, snapshots: list[Snapshot], call: tuple[str, ...], max_results: int | None, next_token: str | None
) -> Answer:
    """One page. The token stands for the start time and id of the snapshot to go on with, not for a count."""
    now_seconds = engine.now_ms() // 1000
    if next_token is not None:
        id_part, _, sealed = next_token.partition("0x")
        position = engine.tokens.open_page_token(sealed, (*call, id_part), now_seconds)
        snapshots = [
            each for each in snapshots if (each.started_at_ms, each.snapshot_id) >= (position, f"snap-{id_part}")
        ]
    size = len(snapshots) if max_results is None else min(max_results, MAX_RESULTS)
    answer: Answer = {"Snapshots": [_item(snapshot) for snapshot in snapshots[:size]]}
    if len(snapshots) > size:
        following = snapshots[size]
        id_part = following.snapshot_id.removeprefix("snap-")
        expires_at_seconds = now_seconds + PAGE_TOKEN_LIFE_SECONDS
        token = engine.tokens.page_token((*call, id_part), following.started_at_ms, expires_at_seconds)
        answer["NextToken"] = f"{id_part}0x{token}"
    return answer


def _item(snapshot: Snapshot) -> Answer:
    """One snapshot as EC2 shows it."""
    completed = snapshot.state is SnapshotState.COMPLETED
    return {
        "SnapshotId": snapshot.snapshot_id,
        "VolumeId": DIRECT_VOLUME_ID,
        "State": _state(snapshot),
        "StateMessage": snapshot.state_message,
        "StartTime": snapshot.started_at_ms,
        "CompletionTime": snapshot.completed_at_ms,
        "Progress": _progress(snapshot),
        "OwnerId": snapshot.account_id,
        "Description": snapshot.description or "",
        "VolumeSize": snapshot.volume_size_gib,
        "Encrypted": False,
        "StorageTier": "standard",
        "FullSnapshotSizeInBytes": snapshot.block_count * BLOCK_SIZE if completed else None,
        "Tags": [{"Key": key, "Value": value} for key, value in snapshot.tags] or None,
    }


def _state(snapshot: Snapshot) -> str:
    """A sealing snapshot is shown as pending."""
    return "pending" if snapshot.state is SnapshotState.SEALING else str(snapshot.state)


def _progress(snapshot: Snapshot) -> str:
    """`0%` until completed, whatever x-amz-Progress said."""
    return "100%" if snapshot.state is SnapshotState.COMPLETED else "0%"


def _only(text: Callable[[Snapshot], str | None]) -> Callable[[Snapshot], Sequence[str]]:
    """The one text of a fact, or none."""

    def texts(snapshot: Snapshot) -> Sequence[str]:
        value = text(snapshot)
        return () if value is None else (value,)

    return texts


def _start_time(snapshot: Snapshot) -> str:
    moment = datetime.fromtimestamp(snapshot.started_at_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{snapshot.started_at_ms % 1000:03d}Z"


_FACTS: Final[Facts[Snapshot]] = {
    "description": _only(lambda snapshot: snapshot.description or ""),
    "encrypted": _only(lambda snapshot: "false"),
    "owner-alias": _only(lambda snapshot: None),
    "owner-id": _only(lambda snapshot: snapshot.account_id),
    "progress": _only(_progress),
    "snapshot-id": _only(lambda snapshot: snapshot.snapshot_id),
    "start-time": _only(_start_time),
    "status": _only(_state),
    "storage-tier": _only(lambda snapshot: "standard"),
    "transfer-type": _only(lambda snapshot: None),
    "volume-id": _only(lambda snapshot: DIRECT_VOLUME_ID),
    "volume-size": _only(lambda snapshot: str(snapshot.volume_size_gib)),
}
