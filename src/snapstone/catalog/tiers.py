"""Statements on the archive tier."""

from __future__ import annotations

from collections.abc import Callable

from snapstone.catalog.connections import Statements
from snapstone.catalog.locks import select_present
from snapstone.catalog.protection_rows import Tiering
from snapstone.catalog.rows import Snapshot
from snapstone.core.ids import SnapshotId


class TierStatements(Statements):
    """The part of `protection_contract.ProtectionCatalog` about the archive tier."""

    def change_tiering(self, snapshot_id: SnapshotId, change: Callable[[Snapshot], Tiering]) -> Tiering | None:
        with self._connections.writing() as connection:
            snapshot = select_present(connection, snapshot_id)
            if snapshot is None:
                return None
            tiering = change(snapshot)
            connection.execute(
                "UPDATE snapshot SET storage_tier = ?, restore_expires_at_ms = ?, archived_at_ms = ?,"
                " tiering_started_at_ms = ?, tiering_status = ? WHERE snapshot_id = ?",
                (
                    tiering.tier,
                    tiering.restore_expires_at_ms,
                    tiering.archived_at_ms,
                    tiering.started_at_ms,
                    tiering.status,
                    snapshot_id,
                ),
            )
        return tiering

    def end_temporary_restores(self, due_ms: int) -> int:
        with self._connections.reading() as connection:
            due = connection.execute(
                "SELECT 1 FROM snapshot WHERE restore_expires_at_ms <= ? LIMIT 1", (due_ms,)
            ).fetchall()
        if not due:
            return 0
        with self._connections.writing(skip_damaged=True) as connection:
            return connection.execute(
                "UPDATE snapshot SET storage_tier = 'archive', restore_expires_at_ms = NULL"
                " WHERE restore_expires_at_ms <= ?",
                (due_ms,),
            ).rowcount
