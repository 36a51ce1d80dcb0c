"""Statements that list what an account sees of a region, in order and from any place on, without reading all of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Final

from snapstone.catalog.connections import Statements
from snapstone.catalog.mapping import SELECT_SNAPSHOT, snapshot_from
from snapstone.catalog.rows import Snapshot
from snapstone.catalog.sharing_rows import OwnTag, Place, Reach
from snapstone.catalog.verified import at_one_moment, require_whole
from snapstone.core.ids import AccountId, Region, SnapshotId

BEGINNING: Final = Place(-1, SnapshotId(""))
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
    Reach.OWN: """
        SELECT snapshot_key FROM (
            SELECT snapshot_key FROM snapshot WHERE account_id = :account_id AND region = :region
            AND (started_at_ms, snapshot_id) >= (:started_at_ms, :snapshot_id)
            AND state <> 'deleting' AND recycled_until_ms IS NULL
            ORDER BY started_at_ms, snapshot_id LIMIT :limit
        )
    """,
    Reach.SHARED: _SHARED.format(reader=":account_id", condition=""),
    Reach.PUBLIC: _SHARED.format(
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
        self, account_id: AccountId, region: Region, reaches: Collection[Reach], start: Place | None, limit: int
    ) -> list[Snapshot]:
        if not reaches:
            return []
        with self._connections.reading() as connection, at_one_moment(connection):
            rows = connection.execute(
                select_visible(reaches), _named(account_id, region, start or BEGINNING) | {"limit": limit}
            ).fetchall()
            snapshots = [snapshot_from(row) for row in rows]
            if Reach.OWN in reaches:
                _require_whole(connection, account_id, region, start or BEGINNING, snapshots, len(rows) == limit)
        return snapshots

    def tags(self, account_id: AccountId, region: Region, start: tuple[Place, str] | None, limit: int) -> list[OwnTag]:
        place, tag_key = start or (BEGINNING, "")
        with self._connections.reading() as connection:
            rows = connection.execute(
                SELECT_TAGS, _named(account_id, region, place) | {"limit": limit, "tag_key": tag_key}
            ).fetchall()
        return [OwnTag(Place(row[0], row[1]), row[2], row[3]) for row in rows]


def select_visible(reaches: Collection[Reach]) -> str:
    """The statement of `visible_snapshots`."""
    keys = " UNION ALL ".join(SELECT_KEYS[reach] for reach in reaches)
    return f"{SELECT_SNAPSHOT} WHERE snapshot_key IN ({keys}) ORDER BY started_at_ms, snapshot_id LIMIT :limit"


def _require_whole(
    connection: sqlite3.Connection,
    account_id: AccountId,
    region: Region,
    start: Place,
    snapshots: list[Snapshot],
    is_cut: bool,
) -> None:
    """Raise DamageError where the account's own snapshots may be incomplete in what was found."""
    begin = (account_id, region, start.started_at_ms, start.snapshot_id)
    own = [
        (account_id, region, each.started_at_ms, str(each.snapshot_id))
        for each in snapshots
        if each.account_id == account_id
    ]
    require_whole(connection, begin, own, is_cut=is_cut)


def _named(account_id: AccountId, region: Region, start: Place) -> dict[str, object]:
    return {
        "account_id": account_id,
        "region": region,
        "started_at_ms": start.started_at_ms,
        "snapshot_id": start.snapshot_id,
    }
