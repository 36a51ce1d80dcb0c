"""Statements on what goes: snapshots past their deadline, deleted snapshots, and answers past their time."""

from __future__ import annotations

import sqlite3
from typing import Final

from snapstone.catalog.locks import drop_lock, select_lock, select_present
from snapstone.catalog.protection_rows import Deletion, LockHoldsError
from snapstone.catalog.recycling import SNAPSHOT_RESOURCE, recycle, select_rules
from snapstone.catalog.rows import Snapshot, SnapshotState
from snapstone.catalog.verified import intact_ids
from snapstone.catalog.writes import WriteStatements, end_writing
from snapstone.core.ids import SnapshotId
from snapstone.core.retention import retained_days
from snapstone.core.snapshot_lock import DAY_MS

ANSWER_STEP_COUNT: Final = 4_096
"""Expired answers removed in one transaction."""


class RemovalStatements(WriteStatements):
    """The part of `contract.Catalog` about time-out and deletion; what each call promises is said there."""

    def expire_pending(self, due_running_ms: int, state_message: str) -> list[SnapshotId]:
        with self._connections.writing(skip_damaged=True) as connection:
            expired = end_writing(
                connection,
                "UPDATE snapshot SET state = 'error', state_message = ? WHERE state = 'pending' AND deadline_at_ms < ?",
                (state_message, due_running_ms),
            )
        self.drop_orphaned_writes()
        return [ended.snapshot_id for ended in expired]

    def begin_delete(self, snapshot_id: SnapshotId, now_ms: int, due_ms: int) -> Deletion | None:
        with self._connections.writing() as connection:
            snapshot = select_present(connection, snapshot_id)
            if snapshot is None:
                return None
            _require_unlocked(connection, snapshot, due_ms)
            if _recycled_by_a_rule(connection, snapshot, now_ms):
                return Deletion.RECYCLED
            deleted = end_writing(
                connection,
                "UPDATE snapshot SET state = 'deleting', seal_lease_until_ms = NULL WHERE snapshot_id = ?",
                (snapshot_id,),
            )
        self._drop_ended(deleted)
        return Deletion.BEGUN

    def finish_delete(self, snapshot_id: SnapshotId, answer_expires_at_ms: int) -> None:
        with self._connections.writing() as connection:
            removed = connection.execute(
                "DELETE FROM snapshot WHERE snapshot_id = ? AND state = 'deleting'", (snapshot_id,)
            ).rowcount
            if removed:
                connection.execute(
                    "UPDATE stored_answer SET expires_at_ms = ? WHERE snapshot_id = ?",
                    (answer_expires_at_ms, snapshot_id),
                )

    def deletions_due(self) -> list[SnapshotId]:
        with self._connections.reading() as connection:
            return intact_ids(
                connection, "WHERE state = 'deleting' ORDER BY snapshot_key", (), self._connections.report_damage
            )

    def drop_expired_answers(self, due_ms: int) -> int:
        dropped = 0
        while True:
            with self._connections.writing() as connection:
                step = connection.execute(
                    "DELETE FROM stored_answer WHERE answer_key IN"
                    " (SELECT answer_key FROM stored_answer WHERE expires_at_ms < ? LIMIT ?)",
                    (due_ms, ANSWER_STEP_COUNT),
                ).rowcount
            dropped += step
            if step < ANSWER_STEP_COUNT:
                return dropped


def _require_unlocked(connection: sqlite3.Connection, snapshot: Snapshot, due_ms: int) -> None:
    """Raise LockHoldsError where a lock is in force. A snapshot in error has nothing that a lock could keep."""
    lock = select_lock(connection, snapshot.snapshot_id)
    if lock is None or snapshot.state is SnapshotState.ERROR:
        return
    if lock.holds(snapshot.completed_at_ms, due_ms):
        raise LockHoldsError


def _recycled_by_a_rule(connection: sqlite3.Connection, snapshot: Snapshot, now_ms: int) -> bool:
    """Put a completed snapshot into the recycle bin where a rule says so, as this transaction sees rules and tags."""
    if snapshot.state is not SnapshotState.COMPLETED:
        return False
    rules = select_rules(connection, snapshot.account_id, snapshot.region, SNAPSHOT_RESOURCE)
    days = retained_days((rule.retention for rule in rules), snapshot.tags)
    if days is None:
        return False
    drop_lock(connection, snapshot.snapshot_id)  # an expired one: it is over, also after a restore
    recycle(connection, snapshot.snapshot_id, now_ms, now_ms + days * DAY_MS)
    return True
