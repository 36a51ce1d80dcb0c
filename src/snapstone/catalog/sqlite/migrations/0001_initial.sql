-- Accounts, keys, snapshots with their tags, pending writes, and the answers kept for client tokens.
-- The checks and triggers are a second line of defence: the statements keep these rules by themselves.

CREATE TABLE secret (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    account_key INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL UNIQUE CHECK (length(account_id) = 12 AND account_id NOT GLOB '*[^0-9]*')
) STRICT;

CREATE TABLE access_key (
    access_key_id TEXT NOT NULL PRIMARY KEY CHECK (access_key_id <> ''),
    secret TEXT NOT NULL CHECK (secret <> ''),
    account_id TEXT NOT NULL CHECK (length(account_id) = 12 AND account_id NOT GLOB '*[^0-9]*'),
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    session_token TEXT,
    expires_at_ms INTEGER
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a key is never given twice, so what is left of a deleted snapshot's writes can never become another's.
CREATE TABLE snapshot (
    snapshot_key INTEGER PRIMARY KEY AUTOINCREMENT,
    snapshot_id TEXT NOT NULL UNIQUE CHECK (snapshot_id GLOB 'snap-?*'),
    account_id TEXT NOT NULL CHECK (length(account_id) = 12 AND account_id NOT GLOB '*[^0-9]*'),
    region TEXT NOT NULL CHECK (region <> ''),
    volume_size_gib INTEGER NOT NULL CHECK (volume_size_gib BETWEEN 1 AND 65536),
    parent_id TEXT CHECK (parent_id <> snapshot_id),
    lineage_id TEXT NOT NULL,
    description TEXT,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sealing', 'completed', 'error', 'deleting')),
    state_message TEXT,
    started_at_ms INTEGER NOT NULL,
    completed_at_ms INTEGER,
    timeout_minutes INTEGER NOT NULL CHECK (timeout_minutes > 0),
    deadline_at_ms INTEGER NOT NULL,
    progress INTEGER NOT NULL CHECK (progress BETWEEN 0 AND 100),
    root BLOB NOT NULL CHECK (length(root) = 32),
    block_count INTEGER NOT NULL CHECK (block_count BETWEEN 0 AND volume_size_gib * 2048),
    expected_count INTEGER CHECK (expected_count >= 0),
    expected_checksum BLOB CHECK (length(expected_checksum) = 32),
    seal_begun_at_ms INTEGER,
    seal_lease_until_ms INTEGER CHECK (seal_lease_until_ms IS NULL OR state = 'sealing'),
    CHECK (state <> 'completed' OR completed_at_ms IS NOT NULL),
    CHECK (state <> 'sealing' OR (seal_begun_at_ms IS NOT NULL AND expected_count IS NOT NULL))
) STRICT;

CREATE INDEX snapshot_by_owner ON snapshot (account_id, region, started_at_ms, snapshot_id);

-- Holds only snapshots with work ahead of them; written as OR, because SQLite then sees that each single state implies it.
CREATE INDEX snapshot_unfinished ON snapshot (state)
    WHERE state = 'pending' OR state = 'sealing' OR state = 'deleting';

CREATE TRIGGER snapshot_states BEFORE UPDATE OF state ON snapshot
WHEN NOT (
    NEW.state = OLD.state
    OR (OLD.state = 'pending' AND NEW.state IN ('sealing', 'error', 'deleting'))
    OR (OLD.state = 'sealing' AND NEW.state IN ('completed', 'error', 'deleting'))
    OR (OLD.state IN ('completed', 'error') AND NEW.state = 'deleting')
)
BEGIN
    SELECT RAISE(ABORT, 'a snapshot does not go from that state to this one');
END;

CREATE TRIGGER snapshot_set_in_stone
BEFORE UPDATE OF snapshot_id, account_id, region, volume_size_gib, parent_id, lineage_id, root, block_count ON snapshot
WHEN OLD.state = 'completed'
BEGIN
    SELECT RAISE(ABORT, 'a completed snapshot never changes');
END;

CREATE TABLE snapshot_tag (
    snapshot_key INTEGER NOT NULL REFERENCES snapshot (snapshot_key) ON DELETE CASCADE,
    tag_key TEXT NOT NULL,
    tag_value TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (snapshot_key, tag_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX snapshot_tag_by_key ON snapshot_tag (tag_key, tag_value);

-- No reference to snapshot: rows of a snapshot that takes no more writes are dropped after its state has changed.
CREATE TABLE pending_write (
    snapshot_key INTEGER NOT NULL,
    block_index INTEGER NOT NULL CHECK (block_index BETWEEN 0 AND 134217727),
    address BLOB NOT NULL CHECK (length(address) = 32),
    digest BLOB CHECK (length(digest) = 32 AND digest <> address),
    PRIMARY KEY (snapshot_key, block_index)
) STRICT, WITHOUT ROWID;

-- Snapshots whose pending writes are to be dropped: written with the change of state, removed with the last write.
CREATE TABLE dropped_writes (
    snapshot_key INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE stored_answer (
    answer_key INTEGER PRIMARY KEY,
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    client_token TEXT NOT NULL CHECK (client_token <> ''),
    snapshot_id TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer TEXT NOT NULL,
    expires_at_ms INTEGER,
    UNIQUE (account_id, region, client_token)
) STRICT;

CREATE INDEX stored_answer_by_snapshot ON stored_answer (snapshot_id);

CREATE INDEX stored_answer_expiring ON stored_answer (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
