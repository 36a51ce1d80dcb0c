"""Statements on seals and copies that failed and are tried again."""

from __future__ import annotations

from collections.abc import Callable

from snapstone.catalog.connections import Statements
from snapstone.catalog.rows import FailingWork
from snapstone.core.ids import SnapshotId


class FailureStatements(Statements):
    """The part of `contract.Catalog` about work that fails; what each call promises is said there."""

    def note_failure(
        self, snapshot_id: SnapshotId, message: str, now_ms: int, pause_ms: Callable[[int], int]
    ) -> FailingWork | None:
        with self._connections.writing() as connection:
            rows = connection.execute(
                "INSERT INTO failing_work (snapshot_key, failure_count, first_failed_ms, message)"
                " SELECT snapshot_key, 1, ?, ? FROM snapshot WHERE snapshot_id = ? AND (state = 'sealing'"
                " OR state = 'pending' AND snapshot_key IN (SELECT snapshot_key FROM snapshot_copy))"
                " ON CONFLICT DO UPDATE SET failure_count = failure_count + 1, message = excluded.message"
                " RETURNING snapshot_key, failure_count, first_failed_ms",
                (now_ms, message, snapshot_id),
            ).fetchall()
            if not rows:
                return None
            snapshot_key, failure_count, first_failed_ms = rows[0]
            retry_at_ms = now_ms + pause_ms(failure_count)
            connection.execute(
                "UPDATE snapshot SET state_message = ?, seal_lease_until_ms = iif(state = 'sealing', ?, NULL)"
                " WHERE snapshot_key = ?",
                (message, retry_at_ms, snapshot_key),
            )
            connection.execute(
                "UPDATE snapshot_copy SET lease_until_ms = ? WHERE snapshot_key = ?", (retry_at_ms, snapshot_key)
            )
        return FailingWork(snapshot_id, failure_count, first_failed_ms, message)

    def failing_work(self) -> list[FailingWork]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT snapshot_id, failure_count, first_failed_ms, message"
                " FROM failing_work JOIN snapshot USING (snapshot_key) ORDER BY first_failed_ms, snapshot_id"
            ).fetchall()
        return [FailingWork(*row) for row in rows]
