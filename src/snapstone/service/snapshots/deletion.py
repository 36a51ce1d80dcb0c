"""Deleting a snapshot: at once for every caller, its manifest and row a moment later; its blocks are left alone.

What remains to be done once the answer is settled may fail, and the answer stays what it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from snapstone.catalog.contract.snapshots import Deletion, LockHoldsError
from snapstone.core.errors import SnapshotLockedError
from snapstone.core.ids import SnapshotId
from snapstone.core.manifest import manifest_address
from snapstone.service.engine import Engine

log = logging.getLogger(__name__)


@contextmanager
def follow_up(what: str, snapshot_id: SnapshotId) -> Iterator[None]:
    """Around work that upkeep does again: what was asked for is durable, so to answer an error would be untrue.

    Whatever goes wrong is logged, a full disk and a failing one among it.
    """
    try:
        yield
    except Exception as error:
        fields = {"snapshot": snapshot_id, "left_to_upkeep": what, "why": repr(error)}
        log.warning("the follow-up of a finished call failed", exc_info=error, extra={"fields": fields})


SEAL_GRACE_MS: Final = 60_000
"""How long the row of a snapshot that was deleted while it was sealed stays: a sealer looks at its state just before it
stores the manifest, so one that was about to has stored it by then, and the row is what the manifest is found by."""

ANSWER_LIFE_MS: Final = 7 * 24 * 3600 * 1000
"""How long a client token of a deleted snapshot still gets its first answer."""


def delete(engine: Engine, snapshot_id: SnapshotId) -> bool:
    """Delete a snapshot in any state, or put it into the recycle bin where a rule says so; False if it was gone.

    Once that is committed the snapshot is deleted for everyone, and this succeeds: upkeep does what is left. Raises
    SnapshotLockedError where a lock is in force.
    """
    moment = engine.timekeeper.moment()
    try:
        deletion = engine.catalog.begin_delete(snapshot_id, moment.dated_ms, moment.due_ms)
    except LockHoldsError:
        raise SnapshotLockedError(f"The snapshot '{snapshot_id}' is locked and cannot be deleted.") from None
    if deletion is Deletion.BEGUN:
        with follow_up("finish the deletion", snapshot_id):
            if not may_still_be_sealed(engine, snapshot_id):
                finish_deletion(engine, snapshot_id)
    return deletion is not None


def may_still_be_sealed(engine: Engine, snapshot_id: SnapshotId) -> bool:
    """Whether somebody may be sealing a snapshot that is being deleted, and store its manifest."""
    snapshot = engine.catalog.snapshot(snapshot_id)
    if snapshot is None or snapshot.seal_begun_at_ms is None:
        return False
    return snapshot.completed_at_ms is None and snapshot.state_message is None


def finish_deletion(engine: Engine, snapshot_id: SnapshotId) -> None:
    """Remove the manifest, then the row: repeated at start if it was cut off between the two."""
    engine.objects.remove([manifest_address(snapshot_id)])
    engine.catalog.finish_delete(snapshot_id, engine.timekeeper.dated_ms() + ANSWER_LIFE_MS)
