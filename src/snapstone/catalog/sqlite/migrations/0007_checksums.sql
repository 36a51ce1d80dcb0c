-- Rows that say which bytes a snapshot holds get a checksum, and transactions a number (docs/format.md).
-- The checksums are made by functions of the connection; as they are here, they stay.

ALTER TABLE snapshot ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE snapshot ADD COLUMN checksum INTEGER;
ALTER TABLE snapshot_copy ADD COLUMN checksum INTEGER;
ALTER TABLE pending_write ADD COLUMN checksum INTEGER;

UPDATE snapshot SET checksum = row_checksum(CAST(printf(
    '%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s',
    quote(snapshot_key), quote(snapshot_id), quote(account_id), quote(region), quote(volume_size_gib),
    quote(parent_id), quote(lineage_id), quote(description), quote(state), quote(state_message),
    quote(started_at_ms), quote(completed_at_ms), quote(timeout_minutes), quote(root), quote(block_count),
    quote(expected_count), quote(expected_checksum), quote(seal_begun_at_ms), quote(seal_lease_until_ms),
    quote(kms_key_arn), quote(data_key_id), quote(recycled_at_ms), quote(recycled_until_ms), quote(storage_tier),
    quote(restore_expires_at_ms), quote(archived_at_ms), quote(tiering_started_at_ms), quote(tiering_status),
    quote(copied_from), quote(deadline_at_ms), quote(progress), quote(sequence)
) AS BLOB));

UPDATE snapshot_copy SET checksum = row_checksum(CAST(printf(
    '%s,%s,%s,%s',
    quote(snapshot_key), quote(source_root), quote(source_kms_key_arn), quote(lease_until_ms)
) AS BLOB));

UPDATE pending_write SET checksum = pending_write_checksum(snapshot_key, block_index, address, digest);

-- The number of the last transaction but for those that recorded pending writes: these put theirs into `snapshot.sequence`.
CREATE TABLE catalog_state (
    state_key INTEGER PRIMARY KEY CHECK (state_key = 1),
    sequence INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;

INSERT INTO catalog_state VALUES (1, 0, -4072596861322023719);
