"""Statements that insert and read snapshots, and the answers stored for client tokens."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from snapstone.catalog.changes import Memory
from snapstone.catalog.connections import Connections, Statements
from snapstone.catalog.contract import ParentGoneError, PendingLimitError
from snapstone.catalog.mapping import (
    INSERT_SNAPSHOT,
    SELECT_ANSWER,
    SELECT_OWNED,
    SELECT_OWNED_OF,
    SELECT_SNAPSHOT,
    answer_from,
    snapshot_from,
    snapshot_parameters,
)
from snapstone.catalog.rows import Snapshot, StoredAnswer
from snapstone.catalog.verified import at_one_moment, require_absent, require_whole
from snapstone.core.ids import AccountId, Region, SnapshotId


class SnapshotStatements(Statements):
    """The part of `contract.Catalog` about snapshots as such; what each call promises is said there."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._remembered_snapshots: Memory[Snapshot] = Memory(connections.changes)

    def insert_snapshot(
        self, snapshot: Snapshot, answer: StoredAnswer | None, pending_limit: int | None = None
    ) -> StoredAnswer | None:
        with self._connections.writing() as connection:
            # The answer first: a replay gets it even where the parent has been deleted since.
            if answer is not None:
                token = (snapshot.account_id, snapshot.region, answer.client_token)
                stored = connection.execute(SELECT_ANSWER, token).fetchall()
                if stored:
                    return answer_from(stored[0])
            if snapshot.parent_id is not None:
                _require_completed(connection, snapshot.parent_id)
            if pending_limit is not None and _pending_beside(connection, snapshot) >= pending_limit:
                raise PendingLimitError
            insert_row(connection, snapshot)
            if answer is not None:
                connection.execute(
                    "INSERT INTO stored_answer (account_id, region, client_token, snapshot_id, fingerprint, answer)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (*token, snapshot.snapshot_id, answer.fingerprint, answer.answer),
                )
        return None

    def stored_answer(self, account_id: AccountId, region: Region, client_token: str) -> StoredAnswer | None:
        with self._connections.reading() as connection:
            rows = connection.execute(SELECT_ANSWER, (account_id, region, client_token)).fetchall()
        return answer_from(rows[0]) if rows else None

    def snapshot(self, snapshot_id: SnapshotId) -> Snapshot | None:
        with self._connections.reading() as connection:
            return select_snapshot(connection, snapshot_id)

    def remembered_snapshot(self, snapshot_id: SnapshotId) -> Snapshot | None:
        return self._remembered_snapshots.recall(snapshot_id, self._read_snapshot)

    def _read_snapshot(self, snapshot_id: str) -> Snapshot | None:
        return self.snapshot(SnapshotId(snapshot_id))

    def snapshots(
        self, account_id: AccountId, region: Region, snapshot_ids: Collection[SnapshotId] | None = None
    ) -> list[Snapshot]:
        with self._connections.reading() as connection, at_one_moment(connection):
            if snapshot_ids is None:
                rows = connection.execute(SELECT_OWNED, (account_id, region)).fetchall()
                places = [(account_id, region, row[9], row[0]) for row in rows]
                require_whole(connection, (account_id, region, -1, ""), places)
            else:
                rows = connection.execute(
                    SELECT_OWNED_OF, (account_id, region, json.dumps(list(snapshot_ids)))
                ).fetchall()
                for absent in set(snapshot_ids).difference(row[0] for row in rows):
                    select_snapshot(connection, absent)
            return [snapshot_from(row) for row in rows]


def select_snapshot(connection: sqlite3.Connection, snapshot_id: SnapshotId) -> Snapshot | None:
    """One snapshot's row as the connection's transaction sees it. Raises DamageError."""
    rows = connection.execute(f"{SELECT_SNAPSHOT} WHERE snapshot_id = ?", (snapshot_id,)).fetchall()
    if not rows:
        require_absent(connection, snapshot_id)
        return None
    return snapshot_from(rows[0])


def _require_completed(connection: sqlite3.Connection, parent_id: SnapshotId) -> None:
    """Raise ParentGoneError unless the parent is a completed snapshot inside this transaction."""
    found = connection.execute(
        "SELECT 1 FROM snapshot WHERE snapshot_id = ? AND state = 'completed' AND recycled_until_ms IS NULL"
        " AND storage_tier = 'standard'",
        (parent_id,),
    ).fetchall()
    if not found:
        raise ParentGoneError


def _pending_beside(connection: sqlite3.Connection, snapshot: Snapshot) -> int:
    """How many snapshots of the same account and region are being written when this one starts."""
    running_ms = snapshot.deadline_at_ms - snapshot.timeout_minutes * 60_000
    # The plus signs keep SQLite on the small index of unfinished snapshots.
    rows = connection.execute(
        "SELECT count(*) FROM snapshot WHERE (state = 'pending' OR state = 'sealing')"
        " AND +account_id = ? AND +region = ? AND copied_from IS NULL AND (state = 'sealing' OR deadline_at_ms >= ?)",
        (snapshot.account_id, snapshot.region, running_ms),
    ).fetchall()
    count: int = rows[0][0]
    return count


def insert_row(connection: sqlite3.Connection, snapshot: Snapshot) -> None:
    """Insert a snapshot's row and its tags."""
    snapshot_key = connection.execute(INSERT_SNAPSHOT, snapshot_parameters(snapshot)).lastrowid
    connection.executemany(
        "INSERT INTO snapshot_tag (snapshot_key, position, tag_key, tag_value) VALUES (?, ?, ?, ?)",
        ((snapshot_key, position, key, value) for position, (key, value) in enumerate(snapshot.tags)),
    )
