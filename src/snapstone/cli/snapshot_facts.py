"""What is known about a snapshot: as JSON values, and as words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from snapstone.cli.quantities import binary

if TYPE_CHECKING:
    from snapstone.client.api.values import SnapshotInfo


def facts_of(snapshot: SnapshotInfo) -> dict[str, object]:
    """Every fact, for programs."""
    return {
        "snapshot_id": snapshot.snapshot_id,
        "state": snapshot.state,
        "progress": snapshot.progress,
        "volume_size_gib": snapshot.volume_size_gib,
        "started_at": iso(snapshot.started_at),
        "description": snapshot.description,
        "tags": dict(snapshot.tags),
        "encrypted": snapshot.encrypted,
        "kms_key_arn": snapshot.kms_key_arn,
        "owner_id": snapshot.owner_id,
        "state_message": snapshot.state_message,
        "full_size_bytes": snapshot.full_size,
        "storage_tier": snapshot.storage_tier,
    }


def iso(moment: datetime) -> str:
    """A moment in UTC, by ISO 8601."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tags_in_words(snapshot: SnapshotInfo) -> str:
    """`Name=web role=db`, by name."""
    return " ".join(f"{name}={value}" for name, value in sorted(snapshot.tags.items()))


def full_size_in_words(snapshot: SnapshotInfo) -> str:
    """Bytes of the blocks that are present; `-` where the endpoint does not say."""
    return "-" if snapshot.full_size is None else binary(snapshot.full_size)
