"""Statements on accounts and the server's own secrets."""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import IntegrityError
from typing import Final

from snapstone.catalog.connections import Statements
from snapstone.catalog.identity_contract import NameTakenError
from snapstone.catalog.identity_rows import Account
from snapstone.core.ids import AccountId

_SELECT_PLAIN_KEYS: Final = """
    SELECT access_key_id, secret, account_id, active FROM access_key WHERE session_token IS NULL
"""

_INSERT_SEALED_KEY: Final = """
    INSERT INTO iam_access_key (access_key_id, account_id, active, created_at_ms, sealed_secret) VALUES (?, ?, ?, 0, ?)
    ON CONFLICT DO NOTHING
"""


class AccountStatements(Statements):
    """What `contract.Catalog` promises about accounts and the server's own secrets."""

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
            for access_key_id, secret, account_id, active in connection.execute(_SELECT_PLAIN_KEYS).fetchall():
                sealed = seal(secret.encode(), f"access key {access_key_id}")
                connection.execute(_INSERT_SEALED_KEY, (access_key_id, account_id, active, sealed))
            connection.execute("DELETE FROM access_key")

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
