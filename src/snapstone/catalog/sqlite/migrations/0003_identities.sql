-- Accounts by name, users, roles, their keys and policies; secrets sealed by the installation's root key.

ALTER TABLE account ADD COLUMN name TEXT NOT NULL DEFAULT '';

ALTER TABLE account ADD COLUMN created_at_ms INTEGER NOT NULL DEFAULT 0;

CREATE UNIQUE INDEX account_by_name ON account (name) WHERE name <> '';

-- 0: `value` is as an earlier version left it, in plain text, until the first start of this one.
ALTER TABLE secret ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0 CHECK (sealed IN (0, 1));

-- Users and roles. The id is never given again, so what was granted to one never reaches another of the same name.
CREATE TABLE iam_identity (
    identity_id TEXT NOT NULL PRIMARY KEY CHECK (identity_id GLOB 'A[IR][DO]A?*'),
    kind TEXT NOT NULL CHECK (kind IN ('user', 'role')),
    account_id TEXT NOT NULL CHECK (length(account_id) = 12 AND account_id NOT GLOB '*[^0-9]*'),
    name TEXT NOT NULL CHECK (name <> ''),
    path TEXT NOT NULL CHECK (path GLOB '/*' AND path GLOB '*/'),
    created_at_ms INTEGER NOT NULL,
    boundary_arn TEXT,
    trust_policy TEXT CHECK ((trust_policy IS NOT NULL) = (kind = 'role')),
    description TEXT NOT NULL,
    max_session_seconds INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Two names that differ in case only are the same.
CREATE UNIQUE INDEX iam_identity_by_name ON iam_identity (account_id, kind, name COLLATE NOCASE);

CREATE INDEX iam_identity_by_boundary ON iam_identity (boundary_arn) WHERE boundary_arn IS NOT NULL;

CREATE TABLE iam_inline_policy (
    identity_id TEXT NOT NULL REFERENCES iam_identity (identity_id) ON DELETE CASCADE,
    policy_name TEXT NOT NULL CHECK (policy_name <> ''),
    document TEXT NOT NULL,
    PRIMARY KEY (identity_id, policy_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE iam_attachment (
    identity_id TEXT NOT NULL REFERENCES iam_identity (identity_id) ON DELETE CASCADE,
    policy_arn TEXT NOT NULL,
    PRIMARY KEY (identity_id, policy_arn)
) STRICT, WITHOUT ROWID;

CREATE INDEX iam_attachment_by_policy ON iam_attachment (policy_arn);

CREATE TABLE iam_identity_tag (
    identity_id TEXT NOT NULL REFERENCES iam_identity (identity_id) ON DELETE CASCADE,
    tag_key TEXT NOT NULL,
    tag_value TEXT NOT NULL,
    PRIMARY KEY (identity_id, tag_key)
) STRICT, WITHOUT ROWID;

-- A NULL user is the account's root. `sealed_secret` is sealed by the root key.
CREATE TABLE iam_access_key (
    access_key_id TEXT NOT NULL PRIMARY KEY CHECK (access_key_id <> ''),
    account_id TEXT NOT NULL CHECK (length(account_id) = 12 AND account_id NOT GLOB '*[^0-9]*'),
    user_id TEXT REFERENCES iam_identity (identity_id),
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    created_at_ms INTEGER NOT NULL,
    sealed_secret BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX iam_access_key_by_owner ON iam_access_key (account_id, user_id);

CREATE TABLE iam_policy (
    policy_arn TEXT NOT NULL PRIMARY KEY,
    policy_id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL CHECK (length(account_id) = 12 AND account_id NOT GLOB '*[^0-9]*'),
    name TEXT NOT NULL CHECK (name <> ''),
    path TEXT NOT NULL CHECK (path GLOB '/*' AND path GLOB '*/'),
    description TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    default_version INTEGER NOT NULL CHECK (default_version > 0),
    next_version INTEGER NOT NULL CHECK (next_version > default_version)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX iam_policy_by_name ON iam_policy (account_id, name COLLATE NOCASE);

CREATE TABLE iam_policy_version (
    policy_arn TEXT NOT NULL REFERENCES iam_policy (policy_arn) ON DELETE CASCADE,
    version INTEGER NOT NULL CHECK (version > 0),
    document TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (policy_arn, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE iam_policy_tag (
    policy_arn TEXT NOT NULL REFERENCES iam_policy (policy_arn) ON DELETE CASCADE,
    tag_key TEXT NOT NULL,
    tag_value TEXT NOT NULL,
    PRIMARY KEY (policy_arn, tag_key)
) STRICT, WITHOUT ROWID;
