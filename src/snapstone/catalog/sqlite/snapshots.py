"""Statements that insert, read and list snapshots and the answers stored for client tokens; how rows become values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from typing import Any, Final

from snapstone.catalog.contract.catalog import ParentGoneError, PendingLimitError
from snapstone.catalog.contract.sharing import ListPosition, OwnTag, SnapshotScope
from snapstone.catalog.contract.snapshots import Snapshot, SnapshotState, StorageTier, StoredAnswer, Tiering
from snapstone.catalog.sqlite.changes import RowCache
from snapstone.catalog.sqlite.checksums import SNAPSHOT_CONTENT, verify_row
from snapstone.catalog.sqlite.connections import Connections, Statements
from snapstone.catalog.sqlite.verified import at_one_moment, require_absent, require_whole
from snapstone.core.ids import AccountId, Region, SnapshotId

SNAPSHOT_COLUMNS: Final = """
    snapshot_id, account_id, region, volume_size_gib, parent_id, lineage_id, description, state, state_message,
    started_at_ms, completed_at_ms, timeout_minutes, deadline_at_ms, progress, root, block_count, expected_count,
    expected_checksum, seal_begun_at_ms, kms_key_arn, data_key_id
"""

SELECT_SNAPSHOT: Final = f"""
    SELECT {SNAPSHOT_COLUMNS}, (
        SELECT json_group_array(json_array(position, tag_key, tag_value))
        FROM snapshot_tag WHERE snapshot_tag.snapshot_key = snapshot.snapshot_key
    ), (
        SELECT json_group_array(reader) FROM snapshot_share WHERE snapshot_share.snapshot_key = snapshot.snapshot_key
    ), recycled_at_ms, recycled_until_ms, copied_from,
    storage_tier, restore_expires_at_ms, archived_at_ms, tiering_started_at_ms, tiering_status,
    {SNAPSHOT_CONTENT}, checksum
    FROM snapshot
"""

SELECT_OWNED: Final = f"""
    {SELECT_SNAPSHOT} WHERE account_id = ? AND region = ? AND state <> 'deleting' AND recycled_until_ms IS NULL
    ORDER BY started_at_ms, snapshot_id
"""

SELECT_OWNED_OF: Final = f"""
    {SELECT_SNAPSHOT} WHERE +account_id = ? AND +region = ? AND state <> 'deleting' AND recycled_until_ms IS NULL
    AND snapshot_id IN (SELECT value FROM json_each(?))
    ORDER BY started_at_ms, snapshot_id
"""
"""The plus signs keep SQLite from going through all that the account has, instead of looking up each id."""

INSERT_SNAPSHOT: Final = (
    f"INSERT INTO snapshot ({SNAPSHOT_COLUMNS}) VALUES ({', '.join('?' * len(SNAPSHOT_COLUMNS.split(',')))})"
)

SELECT_ANSWER: Final = """
    SELECT client_token, fingerprint, answer FROM stored_answer
    WHERE account_id = ? AND region = ? AND client_token = ?
"""


def snapshot_from(row: tuple[Any, ...]) -> Snapshot:
    """A row of SELECT_SNAPSHOT as a value; tags in the order in which they were given. Raises DamageError."""
    verify_row(f"snapshot {row[0]}", row[31], row[32])
    return Snapshot(
        snapshot_id=row[0],
        account_id=row[1],
        region=row[2],
        volume_size_gib=row[3],
        parent_id=row[4],
        lineage_id=row[5],
        description=row[6],
        tags=tuple((key, value) for _, key, value in sorted(json.loads(row[21]))),
        state=SnapshotState(row[7]),
        state_message=row[8],
        started_at_ms=row[9],
        completed_at_ms=row[10],
        timeout_minutes=row[11],
        deadline_at_ms=row[12],
        progress=row[13],
        root=row[14],
        block_count=row[15],
        expected_count=row[16],
        expected_checksum=row[17],
        seal_begun_at_ms=row[18],
        kms_key_arn=row[19],
        data_key_id=row[20],
        shared_with=frozenset(json.loads(row[22])),
        recycled_at_ms=row[23],
        recycled_until_ms=row[24],
        copied_from=row[25],
        tiering=Tiering(StorageTier(row[26]), *row[27:31]),
    )


def snapshot_parameters(snapshot: Snapshot) -> tuple[object, ...]:
    """The parameters of INSERT_SNAPSHOT; tags and shares are rows of their own."""
    return (
        snapshot.snapshot_id,
        snapshot.account_id,
        snapshot.region,
        snapshot.volume_size_gib,
        snapshot.parent_id,
        snapshot.lineage_id,
        snapshot.description,
        snapshot.state,
        snapshot.state_message,
        snapshot.started_at_ms,
        snapshot.completed_at_ms,
        snapshot.timeout_minutes,
        snapshot.deadline_at_ms,
        snapshot.progress,
        snapshot.root,
        snapshot.block_count,
        snapshot.expected_count,
        snapshot.expected_checksum,
        snapshot.seal_begun_at_ms,
        snapshot.kms_key_arn,
        snapshot.data_key_id,
    )


def answer_from(row: tuple[Any, ...]) -> StoredAnswer:
    """A row of SELECT_ANSWER as a value."""
    return StoredAnswer(*row)


BEGINNING: Final = ListPosition(-1, SnapshotId(""))
"""Before every snapshot."""

_SHARED: Final = """
    SELECT snapshot_key FROM (
        SELECT share.snapshot_key FROM snapshot_share AS share CROSS JOIN snapshot USING (snapshot_key)
        WHERE share.reader = {reader} AND share.region = :region
        AND (share.started_at_ms, share.snapshot_id) >= (:started_at_ms, :snapshot_id)
        AND snapshot.state <> 'deleting' AND snapshot.recycled_until_ms IS NULL {condition}
        ORDER BY share.started_at_ms, share.snapshot_id LIMIT :limit
    )
"""

SELECT_KEYS: Final = {
    SnapshotScope.OWN: """
        SELECT snapshot_key FROM (
            SELECT snapshot_key FROM snapshot WHERE account_id = :account_id AND region = :region
            AND (started_at_ms, snapshot_id) >= (:started_at_ms, :snapshot_id)
            AND state <> 'deleting' AND recycled_until_ms IS NULL
            ORDER BY started_at_ms, snapshot_id LIMIT :limit
        )
    """,
    SnapshotScope.SHARED: _SHARED.format(reader=":account_id", condition=""),
    SnapshotScope.PUBLIC: _SHARED.format(
        reader="'all'",
        condition="""AND NOT EXISTS (
            SELECT 1 FROM public_access_block AS block
            WHERE block.account_id = snapshot.account_id AND block.region = :region
            AND block.state = 'block-all-sharing'
        )""",
    ),
}
"""For each reach the keys of the first snapshots; the join is CROSS to keep to the order of the index."""

SELECT_TAGS: Final = """
    SELECT started_at_ms, snapshot_id, tag_key, tag_value FROM snapshot CROSS JOIN snapshot_tag USING (snapshot_key)
    WHERE account_id = :account_id AND region = :region AND state <> 'deleting' AND recycled_until_ms IS NULL
    AND (started_at_ms, snapshot_id) >= (:started_at_ms, :snapshot_id)
    AND (started_at_ms, snapshot_id, tag_key) >= (:started_at_ms, :snapshot_id, :tag_key)
    ORDER BY started_at_ms, snapshot_id, tag_key LIMIT :limit
"""


class VisibleStatements(Statements):
    """The part of `sharing_contract.SharingCatalog` about what an account sees; each call's promise is said there."""

    def visible_snapshots(
        self,
        account_id: AccountId,
        region: Region,
        reaches: Collection[SnapshotScope],
        start: ListPosition | None,
        limit: int,
    ) -> list[Snapshot]:
        if not reaches:
            return []
        with self._connections.reading() as connection, at_one_moment(connection):
            rows = connection.execute(
                select_visible(reaches), _named(account_id, region, start or BEGINNING) | {"limit": limit}
            ).fetchall()
            snapshots = [snapshot_from(row) for row in rows]
            if SnapshotScope.OWN in reaches:
                _require_whole(connection, account_id, region, start or BEGINNING, snapshots, len(rows) == limit)
        return snapshots

    def tags(
        self, account_id: AccountId, region: Region, start: tuple[ListPosition, str] | None, limit: int
    ) -> list[OwnTag]:
        place, tag_key = start or (BEGINNING, "")
        with self._connections.reading() as connection:
            rows = connection.execute(
                SELECT_TAGS, _named(account_id, region, place) | {"limit": limit, "tag_key": tag_key}
            ).fetchall()
        return [OwnTag(ListPosition(row[0], row[1]), row[2], row[3]) for row in rows]


def select_visible(reaches: Collection[SnapshotScope]) -> str:
    """The statement of `visible_snapshots`."""
    keys = " UNION ALL ".join(SELECT_KEYS[reach] for reach in reaches)
    return f"{SELECT_SNAPSHOT} WHERE snapshot_key IN ({keys}) ORDER BY started_at_ms, snapshot_id LIMIT :limit"


def _require_whole(
    connection: sqlite3.Connection,
    account_id: AccountId,
    region: Region,
    start: ListPosition,
    snapshots: list[Snapshot],
    is_cut: bool,
) -> None:
    """Raise DamageError if the account's own snapshots may be incomplete in what was found."""
    begin = (account_id, region, start.started_at_ms, start.snapshot_id)
    own = [
        (account_id, region, each.started_at_ms, str(each.snapshot_id))
        for each in snapshots
        if each.account_id == account_id
    ]
    require_whole(connection, begin, own, is_cut=is_cut)


def _named(account_id: AccountId, region: Region, start: ListPosition) -> dict[str, object]:
    return {
        "account_id": account_id,
        "region": region,
        "started_at_ms": start.started_at_ms,
        "snapshot_id": start.snapshot_id,
    }


class SnapshotStatements(Statements):
    """The part of `contract.Catalog` about snapshots as such; what each call promises is said there."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._remembered_snapshots: RowCache[Snapshot] = RowCache(connections.changes)

    def insert_snapshot(
        self, snapshot: Snapshot, answer: StoredAnswer | None, pending_limit: int | None = None
    ) -> StoredAnswer | None:
        with self._connections.writing() as connection:
            # The answer first: a replay gets it even if the parent has been deleted since.
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
