"""Statements on long-term access keys, whose secrets are sealed by the root key."""

from __future__ import annotations

from sqlite3 import IntegrityError
from typing import Any, Final

from snapstone.catalog.changes import Memory
from snapstone.catalog.connections import Connections, Statements
from snapstone.catalog.identity_contract import NameTakenError, OwnerGoneError, TooManyError
from snapstone.catalog.identity_rows import SealedAccessKey
from snapstone.core.ids import AccountId

_COLUMNS: Final = "access_key_id, account_id, user_id, active, created_at_ms, sealed_secret"


class AccessKeyStatements(Statements):
    """The part of `identity_contract.IdentityCatalog` about access keys."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._sealed_keys: Memory[SealedAccessKey] = Memory(connections.changes)

    def sealed_access_key(self, access_key_id: str) -> SealedAccessKey | None:
        return self._sealed_keys.recall(access_key_id, self._read_sealed_key)

    def _read_sealed_key(self, access_key_id: str) -> SealedAccessKey | None:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM iam_access_key WHERE access_key_id = ?", (access_key_id,)
            ).fetchall()
        return _key_from(rows[0]) if rows else None

    def sealed_access_keys(self, account_id: AccountId, user_id: str | None) -> list[SealedAccessKey]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM iam_access_key WHERE account_id = ? AND user_id IS ? "
                "ORDER BY created_at_ms, access_key_id",
                (account_id, user_id),
            ).fetchall()
        return [_key_from(row) for row in rows]

    def insert_access_key(self, key: SealedAccessKey, limit: int) -> None:
        with self._connections.writing() as connection:
            [(count,)] = connection.execute(
                "SELECT count(*) FROM iam_access_key WHERE account_id = ? AND user_id IS ?",
                (key.account_id, key.user_id),
            ).fetchall()
            if count >= limit:
                raise TooManyError(limit)
            taken = "SELECT 1 FROM iam_access_key WHERE access_key_id = ?"
            if connection.execute(taken, (key.access_key_id,)).fetchall():
                raise NameTakenError(key.access_key_id)
            try:
                connection.execute(
                    f"INSERT INTO iam_access_key ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        key.access_key_id,
                        key.account_id,
                        key.user_id,
                        key.active,
                        key.created_at_ms,
                        key.sealed_secret,
                    ),
                )
            except IntegrityError:
                raise OwnerGoneError from None

    def set_access_key_active(self, key: SealedAccessKey, active: bool) -> bool:
        with self._connections.writing() as connection:
            changed = connection.execute(
                "UPDATE iam_access_key SET active = ? WHERE access_key_id = ?", (active, key.access_key_id)
            )
            return changed.rowcount > 0

    def delete_access_key(self, key: SealedAccessKey) -> bool:
        with self._connections.writing() as connection:
            changed = connection.execute("DELETE FROM iam_access_key WHERE access_key_id = ?", (key.access_key_id,))
            return changed.rowcount > 0


def _key_from(row: tuple[Any, ...]) -> SealedAccessKey:
    access_key_id, account_id, user_id, active, created_at_ms, sealed_secret = row
    return SealedAccessKey(access_key_id, account_id, user_id, bool(active), created_at_ms, sealed_secret)
