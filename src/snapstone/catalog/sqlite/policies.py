"""Statements on managed policies and their versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from sqlite3 import Connection
from typing import Any, Final

from snapstone.catalog.contract.identities import (
    ManagedPolicy,
    NameTakenError,
    PolicyVersion,
    StillUsedError,
    TooManyError,
)
from snapstone.catalog.sqlite.changes import RowCache
from snapstone.catalog.sqlite.connections import Connections, Statements
from snapstone.core.ids import AccountId

_COLUMNS: Final = (
    "policy_arn, policy_id, account_id, name, path, description, created_at_ms, updated_at_ms, default_version, "
    "next_version"
)

_SELECT: Final = f"""
    SELECT {_COLUMNS}, (
        SELECT json_group_array(json_array(version, document, created_at_ms))
        FROM iam_policy_version AS version WHERE version.policy_arn = iam_policy.policy_arn
    ), (
        SELECT json_group_array(json_array(tag_key, tag_value))
        FROM iam_policy_tag AS tag WHERE tag.policy_arn = iam_policy.policy_arn
    )
    FROM iam_policy
"""

_COUNT_ATTACHMENTS: Final = """
    SELECT policy_arn, count(*) FROM iam_attachment JOIN iam_identity USING (identity_id)
    WHERE account_id = ? GROUP BY policy_arn
"""

_COUNT_BOUNDARIES: Final = """
    SELECT boundary_arn, count(*) FROM iam_identity
    WHERE account_id = ? AND boundary_arn IS NOT NULL GROUP BY boundary_arn
"""

_USED: Final = """
    SELECT 1 FROM iam_attachment WHERE policy_arn = ?1
    UNION ALL SELECT 1 FROM iam_identity WHERE boundary_arn = ?1 LIMIT 1
"""


class ManagedPolicyStatements(Statements):
    """The part of `identity_contract.IdentityCatalog` about managed policies."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._policies: RowCache[ManagedPolicy] = RowCache(connections.changes)

    def managed_policy(self, arn: str) -> ManagedPolicy | None:
        return self._policies.recall(arn, self._read_policy)

    def _read_policy(self, arn: str) -> ManagedPolicy | None:
        with self._connections.reading() as connection:
            return _by_arn(connection, arn)

    def managed_policies(self, account_id: AccountId) -> list[ManagedPolicy]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"{_SELECT} WHERE account_id = ? ORDER BY name COLLATE NOCASE", (account_id,)
            ).fetchall()
        return [_policy_from(row) for row in rows]

    def insert_managed_policy(self, policy: ManagedPolicy, limit: int) -> None:
        with self._connections.writing() as connection:
            taken = "SELECT 1 FROM iam_policy WHERE account_id = ? AND name = ? COLLATE NOCASE"
            if connection.execute(taken, (policy.account_id, policy.name)).fetchall():
                raise NameTakenError(policy.name)
            [(count,)] = connection.execute(
                "SELECT count(*) FROM iam_policy WHERE account_id = ?", (policy.account_id,)
            ).fetchall()
            if count >= limit:
                raise TooManyError(limit)
            connection.execute(f"INSERT INTO iam_policy ({_COLUMNS}) VALUES ({', '.join('?' * 10)})", _values(policy))
            _insert_parts(connection, policy)

    def change_managed_policy(self, arn: str, change: Callable[[ManagedPolicy], ManagedPolicy]) -> ManagedPolicy | None:
        with self._connections.writing() as connection:
            before = _by_arn(connection, arn)
            if before is None:
                return None
            after = change(before)
            connection.execute(
                "UPDATE iam_policy SET description = ?, updated_at_ms = ?, default_version = ?, next_version = ? "
                "WHERE policy_arn = ?",
                (after.description, after.updated_at_ms, after.default_version, after.next_version, arn),
            )
            for table in ("iam_policy_version", "iam_policy_tag"):
                connection.execute(f"DELETE FROM {table} WHERE policy_arn = ?", (arn,))
            _insert_parts(connection, after)
        return after

    def delete_managed_policy(self, arn: str) -> bool:
        with self._connections.writing() as connection:
            policy = _by_arn(connection, arn)
            if policy is None:
                return False
            if connection.execute(_USED, (arn,)).fetchall():
                raise StillUsedError("attachments")
            if len(policy.versions) > 1:
                raise StillUsedError("versions")
            connection.execute("DELETE FROM iam_policy WHERE policy_arn = ?", (arn,))
        return True

    def attachment_counts(self, account_id: AccountId) -> dict[str, tuple[int, int]]:
        with self._connections.reading() as connection:
            attached = dict(connection.execute(_COUNT_ATTACHMENTS, (account_id,)).fetchall())
            bounding = dict(connection.execute(_COUNT_BOUNDARIES, (account_id,)).fetchall())
        return {arn: (attached.get(arn, 0), bounding.get(arn, 0)) for arn in attached.keys() | bounding.keys()}


def _by_arn(connection: Connection, arn: str) -> ManagedPolicy | None:
    rows = connection.execute(f"{_SELECT} WHERE policy_arn = ?", (arn,)).fetchall()
    return _policy_from(rows[0]) if rows else None


def _insert_parts(connection: Connection, policy: ManagedPolicy) -> None:
    connection.executemany(
        "INSERT INTO iam_policy_version VALUES (?, ?, ?, ?)",
        [(policy.arn, version.number, version.document, version.created_at_ms) for version in policy.versions],
    )
    connection.executemany("INSERT INTO iam_policy_tag VALUES (?, ?, ?)", [(policy.arn, *tag) for tag in policy.tags])


def _values(policy: ManagedPolicy) -> tuple[object, ...]:
    """The column values of a policy."""
    return (
        policy.arn,
        policy.policy_id,
        policy.account_id,
        policy.name,
        policy.path,
        policy.description,
        policy.created_at_ms,
        policy.updated_at_ms,
        policy.default_version,
        policy.next_version,
    )


def _policy_from(row: tuple[Any, ...]) -> ManagedPolicy:
    """A row of _SELECT as a value."""
    *columns, versions, tags = row
    return replace(
        ManagedPolicy(*columns),
        versions=tuple(PolicyVersion(*version) for version in sorted(json.loads(versions))),
        tags=tuple((key, value) for key, value in sorted(json.loads(tags))),
    )
