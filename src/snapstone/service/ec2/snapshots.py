"""DeleteSnapshot (docs/aws-behaviour/snapshots.md, DELETE), and what every view of snapshots has in common."""

from __future__ import annotations

from typing import Final

from snapstone.core.errors import DryRunPassedError, SnapshotNotFoundError
from snapstone.service.deletion import delete
from snapstone.service.ec2.pages import require_ids
from snapstone.service.engine import Caller, Engine
from snapstone.service.visibility import owned

DIRECT_VOLUME_ID: Final = "vol-ffffffff"
"""What AWS shows as the volume of a snapshot that came through the EBS direct APIs, and of a copy."""


def delete_snapshot(engine: Engine, caller: Caller, *, snapshot_id: str, dry_run: bool = False) -> dict[str, object]:
    """Delete a snapshot in any state. Its children keep every block."""
    require_ids((snapshot_id,))
    if dry_run:
        raise DryRunPassedError
    snapshot = owned(engine, caller, snapshot_id)
    if snapshot is None or not delete(engine, snapshot.snapshot_id):
        raise SnapshotNotFoundError((snapshot_id,))
    return {}
