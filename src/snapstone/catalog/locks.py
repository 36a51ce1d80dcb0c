"""Statements on snapshot locks and on block public access."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection
from typing import Any, Final

from snapstone.catalog.changes import Memory
from snapstone.catalog.connections import Connections, Statements
from snapstone.catalog.mapping import SELECT_SNAPSHOT, snapshot_from
from snapstone.catalog.protection_rows import PublicAccess
from snapstone.catalog.rows import Snapshot, SnapshotState
from snapstone.catalog.snapshots import select_snapshot
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.snapshot_lock import LockMode, SnapshotLock

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
        self._public_access: Memory[PublicAccess] = Memory(connections.changes)

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
