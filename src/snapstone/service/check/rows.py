"""Rows of snapshots one after the other, past those that are damaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from snapstone.catalog.rows import Snapshot, SnapshotState
from snapstone.core.errors import DamageError
from snapstone.service.engine import Engine

_OVER: Final = (SnapshotState.ERROR, SnapshotState.DELETING)


def live_snapshots(engine: Engine) -> Iterator[Snapshot]:
    """Every snapshot that somebody can read, write or restore. Rows that are damaged are left to `integrity`."""
    for snapshot_id, state in engine.catalog.snapshot_ids():
        if state in _OVER:
            continue
        try:
            snapshot = engine.catalog.snapshot(snapshot_id)
        except DamageError:
            continue
        if snapshot is not None and snapshot.state not in _OVER:
            yield snapshot
