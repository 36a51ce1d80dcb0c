-- KMS keys, the data keys they wrap, and how a snapshot is encrypted.

CREATE TABLE kms_key (
    key_id TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL CHECK (length(account_id) = 12 AND account_id NOT GLOB '*[^0-9]*'),
    region TEXT NOT NULL CHECK (region <> ''),
    manager TEXT NOT NULL CHECK (manager IN ('CUSTOMER', 'AWS')),
    state TEXT NOT NULL CHECK (state IN ('Enabled', 'Disabled', 'PendingDeletion')),
    description TEXT NOT NULL,
    policy TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    deletion_at_ms INTEGER CHECK ((deletion_at_ms IS NOT NULL) = (state = 'PendingDeletion')),
    rotation_period_days INTEGER,
    next_rotation_at_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX kms_key_by_owner ON kms_key (account_id, region, created_at_ms, key_id);

-- Versions count from 1; the highest is the one that new work uses. `wrapped` is sealed by the installation's root key.
CREATE TABLE kms_material (
    key_id TEXT NOT NULL REFERENCES kms_key (key_id) ON DELETE CASCADE,
    version INTEGER NOT NULL CHECK (version > 0),
    wrapped BLOB NOT NULL,
    created_at_ms INTEGER NOT NULL,
    on_demand INTEGER NOT NULL CHECK (on_demand IN (0, 1)),
    PRIMARY KEY (key_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE kms_alias (
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL CHECK (name GLOB 'alias/?*'),
    key_id TEXT NOT NULL REFERENCES kms_key (key_id) ON DELETE CASCADE,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, region, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX kms_alias_by_key ON kms_alias (key_id);

CREATE TABLE kms_key_tag (
    key_id TEXT NOT NULL REFERENCES kms_key (key_id) ON DELETE CASCADE,
    tag_key TEXT NOT NULL,
    tag_value TEXT NOT NULL,
    PRIMARY KEY (key_id, tag_key)
) STRICT, WITHOUT ROWID;

-- Encrypts blocks and pages. `wrapped` is sealed by a version of the KMS key's material.
CREATE TABLE data_key (
    data_key_id BLOB NOT NULL PRIMARY KEY CHECK (length(data_key_id) = 16),
    key_id TEXT NOT NULL,
    material_version INTEGER NOT NULL CHECK (material_version > 0),
    wrapped BLOB NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX data_key_by_key ON data_key (key_id);

-- Keys that were destroyed and may still be in the write-ahead log, until that has been cut.
CREATE TABLE destroyed_key (
    key_id TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Of a KMS key's encryption domain: what turns digests into addresses. Sealed by the KMS key's material.
CREATE TABLE domain_key (
    key_id TEXT NOT NULL PRIMARY KEY,
    material_version INTEGER NOT NULL CHECK (material_version > 0),
    wrapped BLOB NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE snapshot ADD COLUMN kms_key_arn TEXT;
ALTER TABLE snapshot ADD COLUMN data_key_id BLOB CHECK (length(data_key_id) = 16);
