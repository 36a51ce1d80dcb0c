"""Statements on KMS keys (their rows, materials, aliases and deletion) and on data keys and domain keys."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from snapstone.catalog.contract.keys import (
    AliasTakenError,
    KeyAlias,
    KeyManager,
    KeyRotation,
    KeyState,
    KmsKey,
    MaterialAdded,
    SealedKey,
)
from snapstone.catalog.sqlite.changes import RowCache
from snapstone.catalog.sqlite.connections import Connections, Statements
from snapstone.core.ids import AccountId, Region
from snapstone.core.protection import DAY_MS

_DOMAIN_KEY: Final = "SELECT key_id, material_version, wrapped FROM domain_key WHERE key_id = ?"


class DataKeyStatements(Statements):
    """Implements `data_key_contract.DataKeyCatalog`; what each call promises is said there."""

    def insert_data_key(self, data_key_id: bytes, key: SealedKey, now_ms: int) -> bool:
        with self._connections.writing_quietly() as connection:
            return bool(
                connection.execute(
                    "INSERT INTO data_key (data_key_id, key_id, material_version, wrapped, created_at_ms)"
                    " SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM kms_key WHERE key_id = ?2)",
                    (data_key_id, key.key_id, key.material_version, key.sealed, now_ms),
                ).rowcount
            )

    def data_key(self, data_key_id: bytes) -> SealedKey | None:
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT key_id, material_version, wrapped FROM data_key WHERE data_key_id = ?", (data_key_id,)
            ).fetchall()
        return SealedKey(*rows[0]) if rows else None

    def present_domain_key(self, key_id: str) -> SealedKey | None:
        with self._connections.reading() as connection:
            rows = connection.execute(_DOMAIN_KEY, (key_id,)).fetchall()
        return SealedKey(*rows[0]) if rows else None

    def has_blocks_under(self, kms_key_arn: str) -> bool:
        with self._connections.reading() as connection:
            found = connection.execute(
                "SELECT 1 FROM snapshot WHERE kms_key_arn = ? AND (block_count > 0 OR EXISTS"
                " (SELECT 1 FROM pending_write WHERE pending_write.snapshot_key = snapshot.snapshot_key)) LIMIT 1",
                (kms_key_arn,),
            ).fetchall()
        return bool(found)

    def domain_key(self, candidate: SealedKey) -> SealedKey | None:
        with self._connections.writing_quietly() as connection:
            connection.execute(
                "INSERT INTO domain_key (key_id, material_version, wrapped)"
                " SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM kms_key WHERE key_id = ?1) ON CONFLICT DO NOTHING",
                (candidate.key_id, candidate.material_version, candidate.sealed),
            )
            rows = connection.execute(_DOMAIN_KEY, (candidate.key_id,)).fetchall()
        return SealedKey(*rows[0]) if rows else None


_SELECT: Final = """
    SELECT key_id, account_id, region, manager, state, description, policy, created_at_ms, deletion_at_ms,
        rotation_period_days, next_rotation_at_ms,
        (SELECT max(version) FROM kms_material WHERE kms_material.key_id = kms_key.key_id),
        (SELECT json_group_array(json_array(tag_key, tag_value)) FROM kms_key_tag
            WHERE kms_key_tag.key_id = kms_key.key_id)
    FROM kms_key
"""
_INSERT: Final = f"INSERT INTO kms_key VALUES ({', '.join('?' * 11)})"
_ALIAS: Final = "SELECT name, account_id, region, key_id, created_at_ms, updated_at_ms FROM kms_alias"


class KeyStatements(Statements):
    """Implements `key_contract.KeyCatalog`; what each call promises is said there."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._keys: RowCache[KmsKey] = RowCache(connections.changes)
        self._aliases: RowCache[KeyAlias] = RowCache(connections.changes)

    # -- keys --

    def insert_kms_key(self, key: KmsKey, sealed_material: bytes, alias: str | None = None) -> bool:
        with self._connections.writing() as connection:
            if alias is not None and _is_taken(connection, key.account_id, key.region, alias):
                return False
            connection.execute(_INSERT, _parameters(key))
            connection.execute(
                "INSERT INTO kms_material VALUES (?, 1, ?, ?, FALSE)",
                (key.key_id, sealed_material, key.created_at_ms),
            )
            _replace_tags(connection, key)
            if alias is not None:
                _insert_alias(
                    connection,
                    KeyAlias(alias, key.account_id, key.region, key.key_id, key.created_at_ms, key.created_at_ms),
                )
        return True

    def kms_key(self, key_id: str) -> KmsKey | None:
        return self._keys.recall(key_id, self._read_key)

    def _read_key(self, key_id: str) -> KmsKey | None:
        with self._connections.reading() as connection:
            return _select_key(connection, key_id)

    def kms_keys(self, account_id: AccountId, region: Region) -> list[KmsKey]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"{_SELECT} WHERE account_id = ? AND region = ? ORDER BY key_id", (account_id, region)
            ).fetchall()
        return [_key_from(row) for row in rows]

    def change_kms_key(self, key_id: str, change: Callable[[KmsKey], KmsKey]) -> KmsKey | None:
        with self._connections.writing() as connection:
            key = _select_key(connection, key_id)
            if key is None:
                return None
            changed = change(key)
            connection.execute(
                "UPDATE kms_key SET state = ?, description = ?, policy = ?, deletion_at_ms = ?,"
                " rotation_period_days = ?, next_rotation_at_ms = ? WHERE key_id = ?",
                (
                    changed.state,
                    changed.description,
                    changed.policy,
                    changed.deletion_at_ms,
                    changed.rotation_period_days,
                    changed.next_rotation_at_ms,
                    key_id,
                ),
            )
            if changed.tags != key.tags:
                _replace_tags(connection, changed)
        return changed

    # -- materials --

    def key_material(self, key_id: str, version: int) -> bytes | None:
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT wrapped FROM kms_material WHERE key_id = ? AND version = ?", (key_id, version)
            ).fetchall()
        return bytes(rows[0][0]) if rows else None

    def add_key_material(
        self, key: KmsKey, sealed_material: bytes, now_ms: int, on_demand_limit: int | None = None
    ) -> MaterialAdded:
        on_demand = on_demand_limit is not None
        with self._connections.writing() as connection:
            present = _select_key(connection, key.key_id)
            if present is None or present.state is not KeyState.ENABLED:
                return MaterialAdded.NOT_ENABLED
            if present.material_version != key.material_version:
                return MaterialAdded.ANOTHER
            if on_demand_limit is not None and _count_on_demand(connection, key.key_id) >= on_demand_limit:
                return MaterialAdded.LIMIT
            if not on_demand and not is_due(present, now_ms):
                return MaterialAdded.ANOTHER
            connection.execute(
                "INSERT INTO kms_material VALUES (?, ?, ?, ?, ?)",
                (key.key_id, key.material_version + 1, sealed_material, now_ms, on_demand),
            )
            if present.rotation_period_days is not None and not on_demand:
                next_at_ms = now_ms + present.rotation_period_days * DAY_MS
                connection.execute(
                    "UPDATE kms_key SET next_rotation_at_ms = ? WHERE key_id = ?", (next_at_ms, key.key_id)
                )
        return MaterialAdded.ADDED

    def key_rotations(self, key_id: str) -> list[KeyRotation]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT version, created_at_ms, on_demand FROM kms_material WHERE key_id = ? AND version > 1"
                " ORDER BY version",
                (key_id,),
            ).fetchall()
        return [KeyRotation(version, rotated_at_ms, bool(on_demand)) for version, rotated_at_ms, on_demand in rows]

    # -- aliases --

    def kms_alias(self, account_id: AccountId, region: Region, name: str) -> KeyAlias | None:
        def read(_: str) -> KeyAlias | None:
            with self._connections.reading() as connection:
                rows = connection.execute(
                    f"{_ALIAS} WHERE account_id = ? AND region = ? AND name = ?", (account_id, region, name)
                ).fetchall()
            return KeyAlias(*rows[0]) if rows else None

        return self._aliases.recall(f"{account_id} {region} {name}", read)

    def kms_aliases(self, account_id: AccountId, region: Region) -> list[KeyAlias]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"{_ALIAS} WHERE account_id = ? AND region = ? ORDER BY name", (account_id, region)
            ).fetchall()
        return [KeyAlias(*row) for row in rows]

    def insert_kms_alias(self, alias: KeyAlias) -> bool:
        with self._connections.writing() as connection:
            if not _is_nameable(connection, alias.key_id):
                return False
            if _is_taken(connection, alias.account_id, alias.region, alias.name):
                raise AliasTakenError
            _insert_alias(connection, alias)
        return True

    def move_kms_alias(self, account_id: AccountId, region: Region, name: str, key_id: str, now_ms: int) -> bool:
        with self._connections.writing() as connection:
            return bool(
                connection.execute(
                    "UPDATE kms_alias SET key_id = ?1, updated_at_ms = ?2"
                    " WHERE account_id = ?3 AND region = ?4 AND name = ?5"
                    " AND EXISTS (SELECT 1 FROM kms_key WHERE key_id = ?1 AND state <> 'PendingDeletion')",
                    (key_id, now_ms, account_id, region, name),
                ).rowcount
            )

    def delete_kms_alias(self, account_id: AccountId, region: Region, name: str) -> bool:
        with self._connections.writing() as connection:
            return bool(
                connection.execute(
                    "DELETE FROM kms_alias WHERE account_id = ? AND region = ? AND name = ?",
                    (account_id, region, name),
                ).rowcount
            )

    # -- upkeep --

    def keys_to_destroy(self, due_ms: int) -> list[str]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT key_id FROM kms_key WHERE state = 'PendingDeletion' AND deletion_at_ms <= ?", (due_ms,)
            ).fetchall()
        return [key_id for (key_id,) in rows]

    def keys_to_rotate(self, due_ms: int) -> list[KmsKey]:
        with self._connections.reading() as connection:
            rows = connection.execute(
                f"{_SELECT} WHERE state = 'Enabled' AND rotation_period_days IS NOT NULL AND next_rotation_at_ms <= ?",
                (due_ms,),
            ).fetchall()
        return [_key_from(row) for row in rows]

    def destroy_kms_key(self, key_id: str, due_ms: int) -> bool:
        with self._connections.writing() as connection:
            destroyed = connection.execute(
                "DELETE FROM kms_key WHERE key_id = ? AND state = 'PendingDeletion' AND deletion_at_ms <= ?",
                (key_id, due_ms),
            ).rowcount
            if destroyed:
                connection.execute("DELETE FROM data_key WHERE key_id = ?", (key_id,))
                connection.execute("DELETE FROM domain_key WHERE key_id = ?", (key_id,))
                connection.execute("INSERT OR IGNORE INTO destroyed_key VALUES (?)", (key_id,))
        return bool(destroyed)

    def forget_destroyed_keys(self) -> bool:
        with self._connections.reading() as connection:
            owed = connection.execute("SELECT key_id FROM destroyed_key").fetchall()
        if not owed:
            return True
        if not self._connections.forget_history():
            return False
        with self._connections.writing_quietly() as connection:
            connection.executemany("DELETE FROM destroyed_key WHERE key_id = ?", owed)
        return True


def is_due(key: KmsKey, now_ms: int) -> bool:
    """Whether a key's own rotation is due."""
    due_at_ms = key.next_rotation_at_ms
    return key.rotation_period_days is not None and due_at_ms is not None and due_at_ms <= now_ms


def _count_on_demand(connection: sqlite3.Connection, key_id: str) -> int:
    [(count,)] = connection.execute(
        "SELECT count(*) FROM kms_material WHERE key_id = ? AND on_demand", (key_id,)
    ).fetchall()
    return int(count)


def _is_taken(connection: sqlite3.Connection, account_id: AccountId, region: Region, name: str) -> bool:
    """Whether there is an alias of that name."""
    return bool(
        connection.execute(
            "SELECT 1 FROM kms_alias WHERE account_id = ? AND region = ? AND name = ?", (account_id, region, name)
        ).fetchall()
    )


def _is_nameable(connection: sqlite3.Connection, key_id: str) -> bool:
    """Whether an alias may be given to a key now."""
    return bool(
        connection.execute(
            "SELECT 1 FROM kms_key WHERE key_id = ? AND state <> 'PendingDeletion'", (key_id,)
        ).fetchall()
    )


def _select_key(connection: sqlite3.Connection, key_id: str) -> KmsKey | None:
    rows = connection.execute(f"{_SELECT} WHERE key_id = ?", (key_id,)).fetchall()
    return _key_from(rows[0]) if rows else None


def _key_from(row: tuple[Any, ...]) -> KmsKey:
    return KmsKey(
        key_id=row[0],
        account_id=row[1],
        region=row[2],
        manager=KeyManager(row[3]),
        state=KeyState(row[4]),
        description=row[5],
        policy=row[6],
        created_at_ms=row[7],
        deletion_at_ms=row[8],
        rotation_period_days=row[9],
        next_rotation_at_ms=row[10],
        material_version=row[11],
        tags=tuple((key, value) for key, value in json.loads(row[12])),
    )


def _parameters(key: KmsKey) -> tuple[object, ...]:
    return (
        key.key_id,
        key.account_id,
        key.region,
        key.manager,
        key.state,
        key.description,
        key.policy,
        key.created_at_ms,
        key.deletion_at_ms,
        key.rotation_period_days,
        key.next_rotation_at_ms,
    )


def _replace_tags(connection: sqlite3.Connection, key: KmsKey) -> None:
    connection.execute("DELETE FROM kms_key_tag WHERE key_id = ?", (key.key_id,))
    connection.executemany("INSERT INTO kms_key_tag VALUES (?, ?, ?)", ((key.key_id, *tag) for tag in key.tags))


def _insert_alias(connection: sqlite3.Connection, alias: KeyAlias) -> None:
    connection.execute(
        "INSERT INTO kms_alias (account_id, region, name, key_id, created_at_ms, updated_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (alias.account_id, alias.region, alias.name, alias.key_id, alias.created_at_ms, alias.updated_at_ms),
    )
