"""How rows of SQLite tables become the frozen values of `rows`, and the other way round."""

from __future__ import annotations

import json
from typing import Any, Final

from snapstone.catalog.checksums import SNAPSHOT_CONTENT, verify_row
from snapstone.catalog.protection_rows import StorageTier, Tiering
from snapstone.catalog.rows import Snapshot, SnapshotState, StoredAnswer

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
    """What INSERT_SNAPSHOT is given; tags and shares are rows of their own."""
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
