-- Who a snapshot is shared with: an account id, or 'all'.

CREATE TABLE snapshot_share (
    snapshot_key INTEGER NOT NULL REFERENCES snapshot (snapshot_key) ON DELETE CASCADE,
    reader TEXT NOT NULL CHECK (reader = 'all' OR (length(reader) = 12 AND reader NOT GLOB '*[^0-9]*')),
    PRIMARY KEY (snapshot_key, reader)
) STRICT, WITHOUT ROWID;

CREATE INDEX snapshot_share_by_reader ON snapshot_share (reader);

-- What an account has set for a region; no row where it has set nothing. A NULL key is the AWS managed one.
CREATE TABLE regional_setting (
    account_id TEXT NOT NULL CHECK (length(account_id) = 12 AND account_id NOT GLOB '*[^0-9]*'),
    region TEXT NOT NULL CHECK (region <> ''),
    encrypted_by_default INTEGER NOT NULL CHECK (encrypted_by_default IN (0, 1)),
    default_key_arn TEXT,
    PRIMARY KEY (account_id, region)
) STRICT, WITHOUT ROWID;
