"""Deleting a snapshot: at once for every caller, its manifest and row a moment later; its blocks are left alone."""

from __future__ import annotations

from typing import Final

from snapstone.core.ids import SnapshotId
from snapstone.core.manifest import manifest_address
from snapstone.service.engine import Engine

ANSWER_LIFE_MS: Final = 7 * 24 * 3600 * 1000
"""How long a client token of a deleted snapshot still gets its first answer."""


def delete(engine: Engine, snapshot_id: SnapshotId) -> bool:
    """Delete a snapshot in any state; False where it was gone already."""
    if not engine.catalog.begin_delete(snapshot_id):
        return False
    finish_deletion(engine, snapshot_id)
    return True


def finish_deletion(engine: Engine, snapshot_id: SnapshotId) -> None:
    """Remove the manifest, then the row: repeated at start where it was cut off between the two."""
    engine.objects.remove([manifest_address(snapshot_id)])
    engine.catalog.finish_delete(snapshot_id, engine.now_ms() + ANSWER_LIFE_MS)
