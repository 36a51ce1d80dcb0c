"""Statements on accounts, access keys and the server's own secrets."""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import IntegrityError

from snapstone.catalog.changes import Memory
from snapstone.catalog.connections import Connections, Statements
from snapstone.catalog.identity_contract import NameTakenError
from snapstone.catalog.identity_rows import Account
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
            connection.execute(
                "INSERT INTO secret (name, value, sealed) VALUES (?, ?, 1) ON CONFLICT DO NOTHING", (name, candidate)
            )
            [(value,)] = connection.execute("SELECT value FROM secret WHERE name = ?", (name,)).fetchall()
        return bytes(value)

    def seal_plain_secrets(self, seal: Callable[[bytes, str], bytes]) -> None:
        with self._connections.writing() as connection:
            for name, value in connection.execute("SELECT name, value FROM secret WHERE NOT sealed").fetchall():
                sealed = seal(value, f"secret {name}")
                connection.execute("UPDATE secret SET value = ?, sealed = 1 WHERE name = ?", (sealed, name))

    def account(self, account_id: AccountId) -> Account | None:
        return next((account for account in self.accounts() if account.account_id == account_id), None)

    def accounts(self) -> list[Account]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT account_id, name, created_at_ms FROM account ORDER BY account_key"
            ).fetchall()
        return [Account(*row) for row in rows]

    def insert_account(self, account: Account) -> None:
        with self._connections.writing() as connection:
            try:
                connection.execute(
                    "INSERT INTO account (account_id, name, created_at_ms) VALUES (?, ?, ?)",
                    (account.account_id, account.name, account.created_at_ms),
                )
            except IntegrityError:
                raise NameTakenError(account.name) from None

    def rename_account(self, account_id: AccountId, name: str) -> bool:
        with self._connections.writing() as connection:
            try:
                changed = connection.execute("UPDATE account SET name = ? WHERE account_id = ?", (name, account_id))
            except IntegrityError:
                raise NameTakenError(name) from None
            return changed.rowcount > 0

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
