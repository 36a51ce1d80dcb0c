"""Statements that go through everything of one kind, and the one that puts a lost row back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from snapstone.catalog.connections import Statements
from snapstone.catalog.data_key_contract import SealedKey
from snapstone.catalog.identity_rows import SealedAccessKey
from snapstone.catalog.inventory_contract import SealedDataKey, SealedMaterial
from snapstone.catalog.rows import Snapshot, SnapshotState
from snapstone.catalog.snapshots import insert_row
from snapstone.core.ids import SnapshotId

FETCH_COUNT: Final = 1_024
"""Rows held in memory at once."""

_STATES: Final = {state.value: state for state in SnapshotState}


class InventoryStatements(Statements):
    """Implements `inventory_contract.InventoryCatalog`; what each call promises is said there."""

    def snapshot_ids(self) -> Iterator[tuple[SnapshotId, SnapshotState | None]]:
        # By the table alone: an index that is damaged must not hide a row.
        for snapshot_id, state in self._rows("SELECT snapshot_id, state FROM snapshot NOT INDEXED"):
            yield SnapshotId(str(snapshot_id)), _STATES.get(state)

    def materials(self) -> Iterator[SealedMaterial]:
        for row in self._rows("SELECT key_id, version, wrapped FROM kms_material"):
            yield SealedMaterial(*row)

    def data_keys(self) -> Iterator[SealedDataKey]:
        for data_key_id, *key in self._rows("SELECT data_key_id, key_id, material_version, wrapped FROM data_key"):
            yield SealedDataKey(data_key_id, SealedKey(*key))

    def domain_keys(self) -> Iterator[SealedKey]:
        for row in self._rows("SELECT key_id, material_version, wrapped FROM domain_key"):
            yield SealedKey(*row)

    def access_keys(self) -> Iterator[SealedAccessKey]:
        columns = "access_key_id, account_id, user_id, active, created_at_ms, sealed_secret"
        for access_key_id, account_id, user_id, active, created_at_ms, sealed in self._rows(
            f"SELECT {columns} FROM iam_access_key"
        ):
            yield SealedAccessKey(access_key_id, account_id, user_id, bool(active), created_at_ms, sealed)

    def secrets(self) -> Iterator[tuple[str, bytes]]:
        yield from self._rows("SELECT name, value FROM secret WHERE sealed")

    def drop_secret(self, name: str, sealed: bytes) -> None:
        with self._connections.writing() as connection:
            connection.execute("DELETE FROM secret WHERE name = ? AND value = ?", (name, sealed))

    def restore_snapshot(self, snapshot: Snapshot) -> bool:
        with self._connections.writing() as connection:
            if connection.execute("SELECT 1 FROM snapshot WHERE snapshot_id = ?", (snapshot.snapshot_id,)).fetchall():
                return False
            insert_row(connection, snapshot)
        return True

    def _rows(self, select: str) -> Iterator[tuple[Any, ...]]:
        with self._connections.streaming() as connection:
            cursor = connection.execute(select)
            while rows := cursor.fetchmany(FETCH_COUNT):
                yield from rows
