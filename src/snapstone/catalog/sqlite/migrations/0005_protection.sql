-- What keeps snapshots from being deleted, read or shared: locks, the recycle bin, the archive tier; and copies.

-- A lock without an expiration date holds for its days from when the snapshot was completed or the lock set, whichever
-- came last.
CREATE TABLE snapshot_lock (
    snapshot_key INTEGER PRIMARY KEY REFERENCES snapshot (snapshot_key) ON DELETE CASCADE,
    mode TEXT NOT NULL CHECK (mode IN ('governance', 'compliance')),
    created_at_ms INTEGER NOT NULL,
    duration_set_at_ms INTEGER NOT NULL,
    duration_days INTEGER CHECK (duration_days BETWEEN 1 AND 36500),
    expiration_ms INTEGER,
    cool_off_hours INTEGER CHECK (cool_off_hours BETWEEN 1 AND 72),
    cool_off_until_ms INTEGER,
    CHECK ((duration_days IS NULL) <> (expiration_ms IS NULL)),
    CHECK ((cool_off_hours IS NULL) = (cool_off_until_ms IS NULL)),
    CHECK (cool_off_hours IS NULL OR mode = 'compliance')
) STRICT;

CREATE TABLE public_access_block (
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('block-all-sharing', 'block-new-sharing')),
    PRIMARY KEY (account_id, region)
) STRICT, WITHOUT ROWID;

-- Tags are JSON: of the rule itself an object, those it matches a list of [key, value or null].
CREATE TABLE retention_rule (
    rule_id TEXT NOT NULL PRIMARY KEY CHECK (length(rule_id) = 11),
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    retention_days INTEGER NOT NULL CHECK (retention_days BETWEEN 1 AND 365),
    description TEXT NOT NULL,
    resource_tags TEXT NOT NULL,
    exclude_tags TEXT NOT NULL,
    tags TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    unlock_delay_days INTEGER CHECK (unlock_delay_days BETWEEN 7 AND 30),
    unlocked_at_ms INTEGER CHECK (unlocked_at_ms IS NULL OR unlock_delay_days IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX retention_rule_by_owner ON retention_rule (account_id, region, resource_type, created_at_ms, rule_id);

ALTER TABLE snapshot ADD COLUMN recycled_at_ms INTEGER;
ALTER TABLE snapshot ADD COLUMN recycled_until_ms INTEGER;

CREATE INDEX snapshot_recycled ON snapshot (recycled_until_ms) WHERE recycled_until_ms IS NOT NULL;

CREATE INDEX snapshot_recycled_by_owner ON snapshot (account_id, region, recycled_at_ms, snapshot_id)
    WHERE recycled_until_ms IS NOT NULL;

ALTER TABLE snapshot ADD COLUMN storage_tier TEXT NOT NULL DEFAULT 'standard'
    CHECK (storage_tier IN ('standard', 'archive'));
ALTER TABLE snapshot ADD COLUMN restore_expires_at_ms INTEGER;
ALTER TABLE snapshot ADD COLUMN archived_at_ms INTEGER;
ALTER TABLE snapshot ADD COLUMN tiering_started_at_ms INTEGER;
ALTER TABLE snapshot ADD COLUMN tiering_status TEXT;

CREATE INDEX snapshot_restored ON snapshot (restore_expires_at_ms) WHERE restore_expires_at_ms IS NOT NULL;

ALTER TABLE snapshot ADD COLUMN copied_from TEXT;

-- Copies that are encrypted anew and not sealed yet: the source's root and key as they were when the copy was asked for.
CREATE TABLE snapshot_copy (
    snapshot_key INTEGER PRIMARY KEY REFERENCES snapshot (snapshot_key) ON DELETE CASCADE,
    source_root BLOB NOT NULL CHECK (length(source_root) = 32),
    source_kms_key_arn TEXT,
    lease_until_ms INTEGER
) STRICT;
