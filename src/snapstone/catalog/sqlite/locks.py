"""Statements on snapshot locks, block public access and the archive tier."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection
from typing import Any, Final

from snapstone.catalog.contract.snapshots import PublicAccess, Snapshot, SnapshotState, Tiering
from snapstone.catalog.sqlite.changes import RowCache
from snapstone.catalog.sqlite.connections import Connections, Statements
from snapstone.catalog.sqlite.snapshots import SELECT_SNAPSHOT, select_snapshot, snapshot_from
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.protection import LockMode, SnapshotLock

_COLUMNS: Final = (
    "mode, created_at_ms, duration_set_at_ms, duration_days, expiration_ms, cool_off_hours, cool_off_until_ms"
)

_SELECT_LOCK: Final = f"SELECT {_COLUMNS} FROM snapshot_lock JOIN snapshot USING (snapshot_key) WHERE snapshot_id = ?"

_SELECT_LOCKED: Final = f"""
    {SELECT_SNAPSHOT} WHERE snapshot_key IN (SELECT snapshot_key FROM snapshot_lock)
    AND +account_id = ? AND +region = ? AND state <> 'deleting' AND recycled_until_ms IS NULL
    ORDER BY started_at_ms, snapshot_id
"""
"""The plus signs keep SQLite from going through all that the account has, instead of through the locks."""


class LockStatements(Statements):
    """The part of `protection_contract.ProtectionCatalog` about locks and public access."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._public_access: RowCache[PublicAccess] = RowCache(connections.changes)

    def change_lock(
        self, snapshot_id: SnapshotId, change: Callable[[Snapshot, SnapshotLock | None], SnapshotLock | None]
    ) -> tuple[Snapshot, SnapshotLock | None] | None:
        with self._connections.writing_quietly() as connection:
            snapshot = select_present(connection, snapshot_id)
            if snapshot is None:
                return None
            lock = change(snapshot, select_lock(connection, snapshot_id))
            drop_lock(connection, snapshot_id)
            if lock is not None:
                connection.execute(
                    f"INSERT INTO snapshot_lock (snapshot_key, {_COLUMNS})"
                    " SELECT snapshot_key, ?, ?, ?, ?, ?, ?, ? FROM snapshot WHERE snapshot_id = ?",
                    (
                        lock.mode,
                        lock.created_at_ms,
                        lock.duration_set_at_ms,
                        lock.duration_days,
                        lock.expiration_ms,
                        lock.cool_off_hours,
                        lock.cool_off_until_ms,
                        snapshot_id,
                    ),
                )
        return snapshot, lock

    def locks(
        self, account_id: AccountId, region: Region, snapshot_ids: Collection[SnapshotId] | None = None
    ) -> list[tuple[Snapshot, SnapshotLock]]:
        with self._connections.reading() as connection:
            rows = connection.execute(_SELECT_LOCKED, (account_id, region)).fetchall()
            snapshots = [snapshot_from(row) for row in rows]
            wanted = [each for each in snapshots if snapshot_ids is None or each.snapshot_id in snapshot_ids]
            found = connection.execute(
                f"SELECT snapshot_id, {_COLUMNS} FROM snapshot_lock JOIN snapshot USING (snapshot_key)"
                " WHERE snapshot_id IN (SELECT value FROM json_each(?))",
                (json.dumps([each.snapshot_id for each in wanted]),),
            ).fetchall()
        locks = {snapshot_id: _lock_from(row) for snapshot_id, *row in found}
        return [(each, locks[each.snapshot_id]) for each in wanted if each.snapshot_id in locks]

    def public_access(self, account_id: AccountId, region: Region) -> PublicAccess:
        state = self._public_access.recall(
            f"{account_id}/{region}", lambda _: self._read_public_access(account_id, region)
        )
        return PublicAccess.UNBLOCKED if state is None else state

    def set_public_access(self, account_id: AccountId, region: Region, state: PublicAccess) -> None:
        with self._connections.writing() as connection:
            connection.execute(
                "DELETE FROM public_access_block WHERE account_id = ? AND region = ?", (account_id, region)
            )
            if state is not PublicAccess.UNBLOCKED:
                connection.execute("INSERT INTO public_access_block VALUES (?, ?, ?)", (account_id, region, state))

    def _read_public_access(self, account_id: AccountId, region: Region) -> PublicAccess:
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT state FROM public_access_block WHERE account_id = ? AND region = ?", (account_id, region)
            ).fetchall()
        return PublicAccess(rows[0][0]) if rows else PublicAccess.UNBLOCKED


def select_present(connection: sqlite3.Connection, snapshot_id: SnapshotId) -> Snapshot | None:
    """A snapshot that is neither being deleted nor in the recycle bin, as the connection's transaction sees it."""
    snapshot = select_snapshot(connection, snapshot_id)
    if snapshot is None or snapshot.state is SnapshotState.DELETING or snapshot.recycled_until_ms is not None:
        return None
    return snapshot


def select_lock(connection: sqlite3.Connection, snapshot_id: SnapshotId) -> SnapshotLock | None:
    """A snapshot's lock, in force or expired, as the connection's transaction sees it."""
    rows = connection.execute(_SELECT_LOCK, (snapshot_id,)).fetchall()
    return _lock_from(rows[0]) if rows else None


def drop_lock(connection: sqlite3.Connection, snapshot_id: SnapshotId) -> None:
    """Forget a snapshot's lock."""
    connection.execute(
        "DELETE FROM snapshot_lock WHERE snapshot_key IN (SELECT snapshot_key FROM snapshot WHERE snapshot_id = ?)",
        (snapshot_id,),
    )


def _lock_from(row: list[Any] | tuple[Any, ...]) -> SnapshotLock:
    mode, *rest = row
    return SnapshotLock(LockMode(mode), *rest)


class TierStatements(Statements):
    """The part of `protection_contract.ProtectionCatalog` about the archive tier."""

    def change_tiering(self, snapshot_id: SnapshotId, change: Callable[[Snapshot], Tiering]) -> Tiering | None:
        with self._connections.writing() as connection:
            snapshot = select_present(connection, snapshot_id)
            if snapshot is None:
                return None
            tiering = change(snapshot)
            connection.execute(
                "UPDATE snapshot SET storage_tier = ?, restore_expires_at_ms = ?, archived_at_ms = ?,"
                " tiering_started_at_ms = ?, tiering_status = ? WHERE snapshot_id = ?",
                (
                    tiering.tier,
                    tiering.restore_expires_at_ms,
                    tiering.archived_at_ms,
                    tiering.started_at_ms,
                    tiering.status,
                    snapshot_id,
                ),
            )
        return tiering

    def end_temporary_restores(self, due_ms: int) -> int:
        with self._connections.reading() as connection:
            due = connection.execute(
                "SELECT 1 FROM snapshot WHERE restore_expires_at_ms <= ? LIMIT 1", (due_ms,)
            ).fetchall()
        if not due:
            return 0
        with self._connections.writing(skip_damaged=True) as connection:
            return connection.execute(
                "UPDATE snapshot SET storage_tier = 'archive', restore_expires_at_ms = NULL"
                " WHERE restore_expires_at_ms <= ?",
                (due_ms,),
            ).rowcount
