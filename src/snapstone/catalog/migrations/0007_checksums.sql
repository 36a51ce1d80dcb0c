-- Rows that say which bytes a snapshot holds get a checksum, and transactions a number (docs/format.md).
-- The checksums are made by functions of the connection; as they are here, they stay.

ALTER TABLE snapshot ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE snapshot ADD COLUMN checksum INTEGER;
ALTER TABLE snapshot_copy ADD COLUMN checksum INTEGER;
ALTER TABLE pending_write ADD COLUMN checksum INTEGER;

UPDATE snapshot SET checksum = row_checksum(CAST(printf(
    '%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q,%Q',
    snapshot_key, snapshot_id, account_id, region, volume_size_gib, parent_id, lineage_id, description, state,
    state_message, started_at_ms, completed_at_ms, timeout_minutes, hex(root), block_count, expected_count,
    hex(expected_checksum), seal_begun_at_ms, seal_lease_until_ms, kms_key_arn, hex(data_key_id), recycled_at_ms,
    recycled_until_ms, storage_tier, restore_expires_at_ms, archived_at_ms, tiering_started_at_ms, tiering_status,
    copied_from, deadline_at_ms, progress, sequence
) AS BLOB));

UPDATE snapshot_copy SET checksum = row_checksum(CAST(printf(
    '%Q,%Q,%Q,%Q',
    snapshot_key, hex(source_root), source_kms_key_arn, lease_until_ms
) AS BLOB));

UPDATE pending_write SET checksum = pending_write_checksum(snapshot_key, block_index, address, digest);

-- The number of the last transaction but for those that recorded pending writes: these put theirs into `snapshot.sequence`.
CREATE TABLE catalog_state (
    state_key INTEGER PRIMARY KEY CHECK (state_key = 1),
    sequence INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;

INSERT INTO catalog_state VALUES (1, 0, -4072596861322023719);
