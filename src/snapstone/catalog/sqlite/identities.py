"""Statements on accounts, users, roles, access keys (whose secrets are sealed) and the server's own secrets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from sqlite3 import Connection, IntegrityError
from typing import Any, Final

from snapstone.catalog.contract.identities import (
    Account,
    Identity,
    IdentityKind,
    NameTakenError,
    OwnerGoneError,
    PolicyGoneError,
    SealedAccessKey,
    StillUsedError,
    TooManyError,
)
from snapstone.catalog.sqlite.changes import RowCache
from snapstone.catalog.sqlite.connections import Connections, Statements
from snapstone.catalog.sqlite.policies import ManagedPolicyStatements
from snapstone.core.ids import AccountId

_SELECT_PLAIN_KEYS: Final = """
    SELECT access_key_id, secret, account_id, active FROM access_key WHERE session_token IS NULL
"""

_INSERT_SEALED_KEY: Final = """
    INSERT INTO iam_access_key (access_key_id, account_id, active, created_at_ms, sealed_secret) VALUES (?, ?, ?, 0, ?)
    ON CONFLICT DO NOTHING
"""


class AccountStatements(Statements):
    """The part of `contract.Catalog` about accounts and the server's own secrets."""

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


_KEY_COLUMNS: Final = "access_key_id, account_id, user_id, active, created_at_ms, sealed_secret"


class AccessKeyStatements(Statements):
    """The part of `identity_contract.IdentityCatalog` about access keys."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._sealed_keys: RowCache[SealedAccessKey] = RowCache(connections.changes)

    def sealed_access_key(self, access_key_id: str) -> SealedAccessKey | None:
        return self._sealed_keys.recall(access_key_id, self._read_sealed_key)

    def _read_sealed_key(self, access_key_id: str) -> SealedAccessKey | None:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"SELECT {_KEY_COLUMNS} FROM iam_access_key WHERE access_key_id = ?", (access_key_id,)
            ).fetchall()
        return _key_from(rows[0]) if rows else None

    def sealed_access_keys(self, account_id: AccountId, user_id: str | None) -> list[SealedAccessKey]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"SELECT {_KEY_COLUMNS} FROM iam_access_key WHERE account_id = ? AND user_id IS ? "
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
                    f"INSERT INTO iam_access_key ({_KEY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
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


_COLUMNS: Final = (
    "identity_id, kind, account_id, name, path, created_at_ms, boundary_arn, trust_policy, description, "
    "max_session_seconds"
)

_SELECT: Final = f"""
    SELECT {_COLUMNS}, (
        SELECT json_group_array(json_array(tag_key, tag_value))
        FROM iam_identity_tag AS tag WHERE tag.identity_id = iam_identity.identity_id
    ), (
        SELECT json_group_array(json_array(policy_name, document))
        FROM iam_inline_policy AS inline WHERE inline.identity_id = iam_identity.identity_id
    ), (
        SELECT json_group_array(policy_arn)
        FROM iam_attachment AS attachment WHERE attachment.identity_id = iam_identity.identity_id
    )
    FROM iam_identity
"""

_BY_NAME: Final = f"{_SELECT} WHERE account_id = ? AND kind = ? AND name = ? COLLATE NOCASE"


class IdentityStatements(AccessKeyStatements, ManagedPolicyStatements):
    """Implements `identity_contract.IdentityCatalog`; what each call promises is said there."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._identities: RowCache[Identity] = RowCache(connections.changes)
        self._roles: RowCache[Identity] = RowCache(connections.changes)

    def identity(self, account_id: AccountId, kind: IdentityKind, name: str) -> Identity | None:
        with self._connections.reading() as connection:
            return _by_name(connection, account_id, kind, name)

    def remembered_identity(self, identity_id: str) -> Identity | None:
        return self._identities.recall(identity_id, self._read_identity)

    def remembered_role(self, account_id: AccountId, name: str) -> Identity | None:
        return self._roles.recall(f"{account_id}/{name}", lambda _: self.identity(account_id, IdentityKind.ROLE, name))

    def _read_identity(self, identity_id: str) -> Identity | None:
        with self._connections.reading() as connection:
            rows = connection.execute(f"{_SELECT} WHERE identity_id = ?", (identity_id,)).fetchall()
        return _identity_from(rows[0]) if rows else None

    def identities(self, account_id: AccountId, kind: IdentityKind) -> list[Identity]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"{_SELECT} WHERE account_id = ? AND kind = ? ORDER BY name COLLATE NOCASE", (account_id, kind)
            ).fetchall()
        return [_identity_from(row) for row in rows]

    def insert_identity(self, identity: Identity, limit: int) -> None:
        with self._connections.writing() as connection:
            [(count,)] = connection.execute(
                "SELECT count(*) FROM iam_identity WHERE account_id = ? AND kind = ?",
                (identity.account_id, identity.kind),
            ).fetchall()
            if _by_name(connection, identity.account_id, identity.kind, identity.name) is not None:
                raise NameTakenError(identity.name)
            if count >= limit:
                raise TooManyError(limit)
            connection.execute(
                f"INSERT INTO iam_identity ({_COLUMNS}) VALUES ({', '.join('?' * 10)})", _values(identity)
            )
            _require_policies(connection, _policies(identity))
            _insert_parts(connection, identity)

    def change_identity(
        self, account_id: AccountId, kind: IdentityKind, name: str, change: Callable[[Identity], Identity]
    ) -> Identity | None:
        with self._connections.writing() as connection:
            before = _by_name(connection, account_id, kind, name)
            if before is None:
                return None
            after = change(before)
            _require_policies(connection, _policies(after) - _policies(before))
            _replace(connection, after)
        return after

    def delete_identity(self, account_id: AccountId, kind: IdentityKind, name: str) -> bool:
        with self._connections.writing() as connection:
            identity = _by_name(connection, account_id, kind, name)
            if identity is None:
                return False
            if identity.inline_policies:
                raise StillUsedError("policies")
            if identity.attached_arns:
                raise StillUsedError("attached policies")
            try:
                connection.execute("DELETE FROM iam_identity WHERE identity_id = ?", (identity.identity_id,))
            except IntegrityError:
                raise StillUsedError("access keys") from None
        return True


def _by_name(connection: Connection, account_id: AccountId, kind: IdentityKind, name: str) -> Identity | None:
    rows = connection.execute(_BY_NAME, (account_id, kind, name)).fetchall()
    return _identity_from(rows[0]) if rows else None


def _policies(identity: Identity) -> set[str]:
    """What must exist before it can be attached to this identity."""
    return {*identity.attached_arns, *([identity.boundary_arn] if identity.boundary_arn else [])}


def _require_policies(connection: Connection, arns: set[str]) -> None:
    """Raises PolicyGoneError. Policies of no account come with Snapstone, and service knows which there are."""
    for arn in arns:
        if ":iam::aws:" in arn:
            continue
        if not connection.execute("SELECT 1 FROM iam_policy WHERE policy_arn = ?", (arn,)).fetchall():
            raise PolicyGoneError(arn)


def _replace(connection: Connection, identity: Identity) -> None:
    """The identity's row and parts as they are now. Raises NameTakenError."""
    try:
        connection.execute(
            "UPDATE iam_identity SET name = ?, path = ?, boundary_arn = ?, trust_policy = ?, description = ?, "
            "max_session_seconds = ? WHERE identity_id = ?",
            (
                identity.name,
                identity.path,
                identity.boundary_arn,
                identity.trust_policy,
                identity.description,
                identity.max_session_seconds,
                identity.identity_id,
            ),
        )
    except IntegrityError:
        raise NameTakenError(identity.name) from None
    for table in ("iam_identity_tag", "iam_inline_policy", "iam_attachment"):
        connection.execute(f"DELETE FROM {table} WHERE identity_id = ?", (identity.identity_id,))
    _insert_parts(connection, identity)


def _insert_parts(connection: Connection, identity: Identity) -> None:
    connection.executemany(
        "INSERT INTO iam_identity_tag VALUES (?, ?, ?)", [(identity.identity_id, *tag) for tag in identity.tags]
    )
    connection.executemany(
        "INSERT INTO iam_inline_policy VALUES (?, ?, ?)",
        [(identity.identity_id, *policy) for policy in identity.inline_policies],
    )
    connection.executemany(
        "INSERT INTO iam_attachment VALUES (?, ?)", [(identity.identity_id, arn) for arn in identity.attached_arns]
    )


def _values(identity: Identity) -> tuple[object, ...]:
    """The column values of an identity."""
    return (
        identity.identity_id,
        identity.kind,
        identity.account_id,
        identity.name,
        identity.path,
        identity.created_at_ms,
        identity.boundary_arn,
        identity.trust_policy,
        identity.description,
        identity.max_session_seconds,
    )


def _identity_from(row: tuple[Any, ...]) -> Identity:
    """A row of _SELECT as a value."""
    *columns, tags, inline_policies, attached_arns = row
    return replace(
        Identity(*columns),
        kind=IdentityKind(row[1]),
        tags=tuple((key, value) for key, value in sorted(json.loads(tags))),
        inline_policies=tuple((name, document) for name, document in sorted(json.loads(inline_policies))),
        attached_arns=tuple(sorted(json.loads(attached_arns))),
    )
