-- Who a snapshot is shared with: an account id, or 'all'. Region, start and id are the snapshot's, which never change: they
-- stand here too, so that what is shared with somebody is found in order.
CREATE TABLE snapshot_share (
    snapshot_key INTEGER NOT NULL REFERENCES snapshot (snapshot_key) ON DELETE CASCADE,
    reader TEXT NOT NULL CHECK (reader = 'all' OR (length(reader) = 12 AND reader NOT GLOB '*[^0-9]*')),
    region TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    snapshot_id TEXT NOT NULL,
    PRIMARY KEY (snapshot_key, reader)
) STRICT, WITHOUT ROWID;

CREATE INDEX snapshot_share_by_reader ON snapshot_share (reader, region, started_at_ms, snapshot_id);

-- What an account has set for a region; no row where it has set nothing. A NULL key is the AWS managed one.
CREATE TABLE regional_setting (
    account_id TEXT NOT NULL CHECK (length(account_id) = 12 AND account_id NOT GLOB '*[^0-9]*'),
    region TEXT NOT NULL CHECK (region <> ''),
    encrypted_by_default INTEGER NOT NULL CHECK (encrypted_by_default IN (0, 1)),
    default_key_arn TEXT,
    PRIMARY KEY (account_id, region)
) STRICT, WITHOUT ROWID;
