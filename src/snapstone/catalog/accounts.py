"""Statements on accounts, access keys and the server's own secrets."""

from __future__ import annotations

from snapstone.catalog.changes import Memory
from snapstone.catalog.connections import Connections, Statements
from snapstone.catalog.mapping import ACCESS_KEY_COLUMNS, access_key_from
from snapstone.catalog.rows import AccessKey
from snapstone.core.ids import AccountId


class AccountStatements(Statements):
    """The part of `contract.Catalog` about accounts and keys; what each call promises is said there."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._access_keys: Memory[AccessKey] = Memory(connections.changes)

    def secret(self, name: str, candidate: bytes) -> bytes:
        with self._connections.writing() as connection:
            connection.execute("INSERT INTO secret VALUES (?, ?) ON CONFLICT DO NOTHING", (name, candidate))
            [(value,)] = connection.execute("SELECT value FROM secret WHERE name = ?", (name,)).fetchall()
        return bytes(value)

    def first_account(self, candidate: AccountId) -> AccountId:
        with self._connections.writing() as connection:
            connection.execute(
                "INSERT INTO account (account_id) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM account)", (candidate,)
            )
            [(account_id,)] = connection.execute(
                "SELECT account_id FROM account ORDER BY account_key LIMIT 1"
            ).fetchall()
        return AccountId(account_id)

    def add_access_key(self, key: AccessKey) -> None:
        with self._connections.writing() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO access_key ({ACCESS_KEY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
                (key.access_key_id, key.secret, key.account_id, key.active, key.session_token, key.expires_at_ms),
            )

    def access_key(self, access_key_id: str) -> AccessKey | None:
        return self._access_keys.recall(access_key_id, self._read_access_key)

    def _read_access_key(self, access_key_id: str) -> AccessKey | None:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"SELECT {ACCESS_KEY_COLUMNS} FROM access_key WHERE access_key_id = ?", (access_key_id,)
            ).fetchall()
        return access_key_from(rows[0]) if rows else None
