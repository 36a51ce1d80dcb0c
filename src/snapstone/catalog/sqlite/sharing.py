"""Statements on tags, sharing and regional settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection

from snapstone.catalog.contract.sharing import EncryptionDefaults, Tags
from snapstone.catalog.contract.snapshots import Snapshot
from snapstone.catalog.sqlite.changes import RowCache
from snapstone.catalog.sqlite.connections import Connections
from snapstone.catalog.sqlite.locks import select_present
from snapstone.catalog.sqlite.snapshots import VisibleStatements
from snapstone.core.ids import AccountId, Region, SnapshotId


class SharingStatements(VisibleStatements):
    """Implements `sharing_contract.SharingCatalog`; what each call promises is said there."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._remembered_defaults: RowCache[EncryptionDefaults] = RowCache(connections.changes)

    # -- sharing and tags --

    def change_shares(self, snapshot_id: SnapshotId, change: Callable[[Snapshot], frozenset[str]]) -> bool:
        with self._connections.writing() as connection:
            snapshot = select_present(connection, snapshot_id)
            if snapshot is None:
                return False
            _replace_shares(connection, snapshot, change(snapshot))
        return True

    def change_tags(
        self, snapshot_ids: Collection[SnapshotId], change: Callable[[SnapshotId, Snapshot | None], Tags]
    ) -> None:
        with self._connections.writing() as connection:
            for snapshot_id in snapshot_ids:
                _replace_tags(connection, snapshot_id, change(snapshot_id, select_present(connection, snapshot_id)))

    # -- encryption by default --

    def encryption_defaults(self, account_id: AccountId, region: Region) -> EncryptionDefaults:
        defaults = self._remembered_defaults.recall(f"{account_id}/{region}", self._read_defaults)
        assert defaults is not None
        return defaults

    def _read_defaults(self, key: str) -> EncryptionDefaults:
        account_id, _, region = key.partition("/")
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT encrypted_by_default, default_key_arn FROM regional_setting"
                " WHERE account_id = ? AND region = ?",
                (account_id, region),
            ).fetchall()
        return EncryptionDefaults(bool(rows[0][0]), rows[0][1]) if rows else EncryptionDefaults()

    def set_encryption_by_default(self, account_id: AccountId, region: Region, encrypted: bool) -> None:
        with self._connections.writing() as connection:
            connection.execute(
                "INSERT INTO regional_setting (account_id, region, encrypted_by_default) VALUES (?1, ?2, ?3)"
                " ON CONFLICT DO UPDATE SET encrypted_by_default = ?3",
                (account_id, region, encrypted),
            )

    def set_default_key(self, account_id: AccountId, region: Region, key_arn: str | None) -> None:
        with self._connections.writing() as connection:
            connection.execute(
                "INSERT INTO regional_setting (account_id, region, encrypted_by_default, default_key_arn)"
                " VALUES (?1, ?2, 0, ?3) ON CONFLICT DO UPDATE SET default_key_arn = ?3",
                (account_id, region, key_arn),
            )


def _replace_shares(connection: sqlite3.Connection, snapshot: Snapshot, readers: frozenset[str]) -> None:
    key = _key(connection, snapshot.snapshot_id)
    connection.executemany(
        "DELETE FROM snapshot_share WHERE snapshot_key = ? AND reader = ?",
        ((key, reader) for reader in snapshot.shared_with - readers),
    )
    connection.executemany(
        "INSERT INTO snapshot_share (snapshot_key, reader, region, started_at_ms, snapshot_id) VALUES (?, ?, ?, ?, ?)",
        (
            (key, reader, snapshot.region, snapshot.started_at_ms, snapshot.snapshot_id)
            for reader in readers - snapshot.shared_with
        ),
    )


def _replace_tags(connection: sqlite3.Connection, snapshot_id: SnapshotId, tags: Tags) -> None:
    key = _key(connection, snapshot_id)
    connection.execute("DELETE FROM snapshot_tag WHERE snapshot_key = ?", (key,))
    connection.executemany(
        "INSERT INTO snapshot_tag (snapshot_key, position, tag_key, tag_value) VALUES (?, ?, ?, ?)",
        ((key, position, tag_key, value) for position, (tag_key, value) in enumerate(tags)),
    )


def _key(connection: sqlite3.Connection, snapshot_id: SnapshotId) -> int:
    [(key,)] = connection.execute("SELECT snapshot_key FROM snapshot WHERE snapshot_id = ?", (snapshot_id,)).fetchall()
    assert isinstance(key, int)
    return key
