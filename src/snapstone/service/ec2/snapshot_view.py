"""How EC2 shows a snapshot: the members of its answers, and the facts that filters are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from snapstone.catalog.rows import Snapshot, SnapshotState
from snapstone.core.blocks import BLOCK_SIZE
from snapstone.core.ids import AccountId
from snapstone.service.ec2.filters import Facts
from snapstone.service.ec2.snapshots import DIRECT_VOLUME_ID


def snapshot_item(snapshot: Snapshot, reader: AccountId) -> dict[str, object]:
    """One snapshot as an account sees it (docs/aws-behaviour/snapshots.md, DESC)."""
    completed = snapshot.state is SnapshotState.COMPLETED
    return {
        "SnapshotId": snapshot.snapshot_id,
        "VolumeId": DIRECT_VOLUME_ID,
        "State": shown_state(snapshot),
        "StateMessage": snapshot.state_message,
        "StartTime": snapshot.started_at_ms,
        "CompletionTime": snapshot.completed_at_ms,
        "Progress": _progress(snapshot),
        "OwnerId": snapshot.account_id,
        "Description": snapshot.description or "",
        "VolumeSize": snapshot.volume_size_gib,
        "Encrypted": snapshot.kms_key_arn is not None,
        "KmsKeyId": snapshot.kms_key_arn,
        "DataEncryptionKeyId": None if snapshot.data_key_id is None else str(UUID(bytes=snapshot.data_key_id)),
        "StorageTier": snapshot.tiering.tier.value,
        "RestoreExpiryTime": snapshot.tiering.restore_expires_at_ms,
        "FullSnapshotSizeInBytes": snapshot.block_count * BLOCK_SIZE if completed else None,
        "TransferType": _transfer_type(snapshot),
        "Tags": [{"Key": key, "Value": value} for key, value in shown_tags(snapshot, reader)] or None,
    }


def shown_tags(snapshot: Snapshot, reader: AccountId) -> tuple[tuple[str, str], ...]:
    """Tags are the owner's alone: those with whom a snapshot is shared do not see them."""
    return snapshot.tags if snapshot.account_id == reader else ()


def shown_state(snapshot: Snapshot) -> str:
    """A sealing snapshot is shown as pending."""
    return "pending" if snapshot.state is SnapshotState.SEALING else snapshot.state.value


def _progress(snapshot: Snapshot) -> str:
    """`0%` until completed, whatever x-amz-Progress said."""
    return "100%" if snapshot.state is SnapshotState.COMPLETED else "0%"


def _transfer_type(snapshot: Snapshot) -> str | None:
    return None if snapshot.copied_from is None else "standard"


def _start_time(snapshot: Snapshot) -> str:
    moment = datetime.fromtimestamp(snapshot.started_at_ms // 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{snapshot.started_at_ms % 1000:03d}Z"


def _only(text: Callable[[Snapshot], str | None]) -> Callable[[Snapshot], Sequence[str]]:
    """The one text of a fact, or none."""

    def texts(snapshot: Snapshot) -> Sequence[str]:
        value = text(snapshot)
        return () if value is None else (value,)

    return texts


SNAPSHOT_FACTS: Final[Facts[Snapshot]] = {
    "description": _only(lambda snapshot: snapshot.description or ""),
    "encrypted": _only(lambda snapshot: "false" if snapshot.kms_key_arn is None else "true"),
    "owner-alias": _only(lambda snapshot: None),
    "owner-id": _only(lambda snapshot: snapshot.account_id),
    "progress": _only(_progress),
    "snapshot-id": _only(lambda snapshot: snapshot.snapshot_id),
    "start-time": _only(_start_time),
    "status": _only(shown_state),
    "storage-tier": _only(lambda snapshot: snapshot.tiering.tier.value),
    "transfer-type": _only(_transfer_type),
    "volume-id": _only(lambda snapshot: DIRECT_VOLUME_ID),
    "volume-size": _only(lambda snapshot: str(snapshot.volume_size_gib)),
}
"""The filters of DescribeSnapshots, but for those on tags."""
