"""Statements on copies: their rows, and the leases of those whose blocks are encrypted anew."""

from __future__ import annotations

import json

from snapstone.catalog.checksums import COPY_CONTENT
from snapstone.catalog.locks import select_present
from snapstone.catalog.protection_contract import CopiesLimitError, SourceGoneError
from snapstone.catalog.protection_rows import CopyWork, StorageTier
from snapstone.catalog.rows import Snapshot, SnapshotState
from snapstone.catalog.snapshots import insert_row
from snapstone.catalog.verified import intact_ids, is_intact
from snapstone.catalog.writes import WriteStatements, end_writing
from snapstone.core.ids import SnapshotId


class CopyStatements(WriteStatements):
    """The part of `protection_contract.ProtectionCatalog` about copies."""

    def insert_copy(self, snapshot: Snapshot, work: CopyWork | None, limit: int) -> None:
        with self._connections.writing() as connection:
            assert snapshot.copied_from is not None
            source = select_present(connection, snapshot.copied_from)
            if (
                source is None
                or source.state is not SnapshotState.COMPLETED
                or source.tiering.tier is StorageTier.ARCHIVE
            ):
                raise SourceGoneError
            [(under_way,)] = connection.execute(
                "SELECT count(*) FROM snapshot WHERE +account_id = ? AND +region = ? AND copied_from IS NOT NULL"
                " AND (state = 'pending' OR state = 'sealing')",
                (snapshot.account_id, snapshot.region),
            ).fetchall()
            if under_way >= limit:
                raise CopiesLimitError
            insert_row(connection, snapshot)
            connection.execute(
                "UPDATE snapshot SET copied_from = ? WHERE snapshot_id = ?",
                (snapshot.copied_from, snapshot.snapshot_id),
            )
            if work is not None:
                connection.execute(
                    "INSERT INTO snapshot_copy (snapshot_key, source_root, source_kms_key_arn)"
                    " SELECT snapshot_key, ?, ? FROM snapshot WHERE snapshot_id = ?",
                    (work.source_root, work.source_kms_key_arn, snapshot.snapshot_id),
                )

    def claim_copy(self, snapshot_id: SnapshotId, running_ms: int, lease_until_ms: int) -> CopyWork | None:
        with self._connections.writing_quietly() as connection:
            rows = connection.execute(
                "UPDATE snapshot_copy SET lease_until_ms = ? WHERE snapshot_key IN"
                " (SELECT snapshot_key FROM snapshot WHERE snapshot_id = ? AND state = 'pending')"
                " AND coalesce(lease_until_ms <= ?, TRUE) RETURNING source_root, source_kms_key_arn",
                (lease_until_ms, snapshot_id, running_ms),
            ).fetchall()
        return CopyWork(snapshot_id, *rows[0]) if rows else None

    def renew_copy(self, snapshot_id: SnapshotId, lease_until_ms: int) -> None:
        with self._connections.writing_quietly() as connection:
            connection.execute(
                "UPDATE snapshot_copy SET lease_until_ms = max(lease_until_ms, ?) WHERE snapshot_key IN"
                " (SELECT snapshot_key FROM snapshot WHERE snapshot_id = ?)",
                (lease_until_ms, snapshot_id),
            )

    def release_copies(self) -> None:
        with self._connections.writing_quietly(skip_damaged=True) as connection:
            connection.execute("UPDATE snapshot_copy SET lease_until_ms = NULL")

    def copies_due(self, running_ms: int) -> list[SnapshotId]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"SELECT snapshot_key, {COPY_CONTENT}, checksum FROM snapshot_copy"
                " WHERE coalesce(lease_until_ms <= ?, TRUE)",
                (running_ms,),
            ).fetchall()
            keys = [row[0] for row in rows if is_intact("snapshot_copy", row, self._connections.report_damage)]
            return intact_ids(
                connection,
                "WHERE snapshot_key IN (SELECT value FROM json_each(?)) AND +state = 'pending' ORDER BY snapshot_key",
                (json.dumps(keys),),
                self._connections.report_damage,
            )

    def fail_copy(self, snapshot_id: SnapshotId, state_message: str) -> bool:
        with self._connections.writing() as connection:
            failed = end_writing(
                connection,
                "UPDATE snapshot SET state = 'error', state_message = ?"
                " WHERE snapshot_id = ? AND state = 'pending' AND copied_from IS NOT NULL",
                (state_message, snapshot_id),
            )
        self._drop_ended(failed)
        return bool(failed)
