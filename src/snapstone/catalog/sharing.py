"""Statements on tags, sharing and regional settings."""

from __future__ import annotations

from snapstone.catalog.changes import Memory
from snapstone.catalog.connections import Connections, Statements
from snapstone.catalog.sharing_rows import EncryptionDefaults
from snapstone.core.ids import AccountId, Region


class SharingStatements(Statements):
    """Implements `sharing_contract.SharingCatalog`; what each call promises is said there."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._remembered_defaults: Memory[EncryptionDefaults] = Memory(connections.changes)

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
