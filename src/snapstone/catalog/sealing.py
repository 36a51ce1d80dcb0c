"""Statements on sealing: from the last accepted write, over the lease of who builds the tree, to completed or error."""

from __future__ import annotations

from snapstone.catalog.contract import TIMED_OUT
from snapstone.catalog.rows import Snapshot
from snapstone.catalog.snapshots import select_snapshot
from snapstone.catalog.verified import intact_ids
from snapstone.catalog.writes import WriteStatements, end_writing
from snapstone.core.blocks import Address, Digest
from snapstone.core.ids import SnapshotId


class SealStatements(WriteStatements):
    """The part of `contract.Catalog` about sealing; what each call promises is said there."""

    def begin_seal(
        self,
        snapshot_id: SnapshotId,
        expected_count: int,
        expected_checksum: Digest | None,
        now_ms: int,
        due_running_ms: int,
    ) -> Snapshot | None:
        with self._connections.writing() as connection:
            timed_out = end_writing(
                connection,
                "UPDATE snapshot SET state = 'error', state_message = ?"
                " WHERE snapshot_id = ? AND state = 'pending' AND deadline_at_ms < ?",
                (TIMED_OUT, snapshot_id, due_running_ms),
            )
            connection.execute(
                "UPDATE snapshot SET state = 'sealing', state_message = NULL, expected_count = ?,"
                " expected_checksum = ?, seal_begun_at_ms = ? WHERE snapshot_id = ? AND state = 'pending'",
                (expected_count, expected_checksum, now_ms, snapshot_id),
            )
            snapshot = select_snapshot(connection, snapshot_id)
        self._drop_ended(timed_out)
        return snapshot

    def claim_seal(self, snapshot_id: SnapshotId, running_ms: int, lease_until_ms: int) -> bool:
        with self._connections.writing() as connection:
            claimed = connection.execute(
                "UPDATE snapshot SET seal_lease_until_ms = ? WHERE snapshot_id = ? AND state = 'sealing'"
                " AND coalesce(seal_lease_until_ms <= ?, TRUE)",
                (lease_until_ms, snapshot_id, running_ms),
            ).rowcount
        return claimed == 1

    def renew_seal(self, snapshot_id: SnapshotId, lease_until_ms: int) -> None:
        with self._connections.writing() as connection:
            connection.execute(
                "UPDATE snapshot SET seal_lease_until_ms = max(seal_lease_until_ms, ?)"
                " WHERE snapshot_id = ? AND state = 'sealing'",
                (lease_until_ms, snapshot_id),
            )

    def release_seals(self) -> None:
        with self._connections.writing(skip_damaged=True) as connection:
            connection.execute("UPDATE snapshot SET seal_lease_until_ms = NULL WHERE state = 'sealing'")

    def seals_due(self, running_ms: int) -> list[SnapshotId]:
        with self._connections.reading() as connection:
            return intact_ids(
                connection,
                "WHERE state = 'sealing' AND coalesce(seal_lease_until_ms <= ?, TRUE)"
                " ORDER BY seal_begun_at_ms, snapshot_id",
                (running_ms,),
                self._connections.report_damage,
            )

    def finish_seal(self, snapshot_id: SnapshotId, root: Address, block_count: int, completed_at_ms: int) -> bool:
        with self._connections.writing() as connection:
            sealed = end_writing(
                connection,
                "UPDATE snapshot SET state = 'completed', root = ?, block_count = ?, completed_at_ms = ?,"
                " seal_lease_until_ms = NULL, state_message = NULL WHERE snapshot_id = ? AND state = 'sealing'",
                (root, block_count, completed_at_ms, snapshot_id),
            )
        self._drop_ended(sealed)
        return bool(sealed)

    def fail_seal(self, snapshot_id: SnapshotId, state_message: str) -> bool:
        with self._connections.writing() as connection:
            failed = end_writing(
                connection,
                "UPDATE snapshot SET state = 'error', state_message = ?, seal_lease_until_ms = NULL"
                " WHERE snapshot_id = ? AND state = 'sealing'",
                (state_message, snapshot_id),
            )
        self._drop_ended(failed)
        return bool(failed)
