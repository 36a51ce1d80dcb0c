-- Who a snapshot is shared with: an account id, or 'all'.

CREATE TABLE snapshot_share (
    snapshot_key INTEGER NOT NULL REFERENCES snapshot (snapshot_key) ON DELETE CASCADE,
    reader TEXT NOT NULL CHECK (reader = 'all' OR (length(reader) = 12 AND reader NOT GLOB '*[^0-9]*')),
    PRIMARY KEY (snapshot_key, reader)
) STRICT, WITHOUT ROWID;

CREATE INDEX snapshot_share_by_reader ON snapshot_share (reader);
