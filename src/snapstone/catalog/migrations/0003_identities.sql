-- Accounts by name, users, roles and policies.

ALTER TABLE account ADD COLUMN name TEXT NOT NULL DEFAULT '';

-- The user whom a key belongs to; NULL is the account's root.
ALTER TABLE access_key ADD COLUMN user_name TEXT;
