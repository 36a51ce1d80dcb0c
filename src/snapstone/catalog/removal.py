"""Statements on what goes: snapshots past their deadline, deleted snapshots, and answers past their time."""

from __future__ import annotations

from typing import Final

from snapstone.catalog.writes import WriteStatements, end_writing
from snapstone.core.ids import SnapshotId

ANSWER_STEP_COUNT: Final = 4_096
"""Expired answers removed in one transaction."""


class RemovalStatements(WriteStatements):
    """The part of `contract.Catalog` about time-out and deletion; what each call promises is said there."""

    def expire_pending(self, now_ms: int, state_message: str) -> list[SnapshotId]:
        with self._connections.writing() as connection:
            expired = end_writing(
                connection,
                "UPDATE snapshot SET state = 'error', state_message = ? WHERE state = 'pending' AND deadline_at_ms < ?",
                (state_message, now_ms),
            )
        self.drop_orphaned_writes()
        return [ended.snapshot_id for ended in expired]

    def begin_delete(self, snapshot_id: SnapshotId) -> bool:
        with self._connections.writing() as connection:
            deleted = end_writing(
                connection,
                "UPDATE snapshot SET state = 'deleting', seal_lease_until_ms = NULL"
                " WHERE snapshot_id = ? AND state <> 'deleting'",
                (snapshot_id,),
            )
        self._drop_ended(deleted)
        return bool(deleted)

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
            rows = connection.execute(
                "SELECT snapshot_id FROM snapshot WHERE state = 'deleting' ORDER BY snapshot_key"
            ).fetchall()
        return [SnapshotId(snapshot_id) for (snapshot_id,) in rows]

    def drop_expired_answers(self, now_ms: int) -> int:
        dropped = 0
        while True:
            with self._connections.writing() as connection:
                step = connection.execute(
                    "DELETE FROM stored_answer WHERE answer_key IN"
                    " (SELECT answer_key FROM stored_answer WHERE expires_at_ms < ? LIMIT ?)",
                    (now_ms, ANSWER_STEP_COUNT),
                ).rowcount
            dropped += step
            if step < ANSWER_STEP_COUNT:
                return dropped
