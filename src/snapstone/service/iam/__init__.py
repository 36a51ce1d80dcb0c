"""Identities: accounts, users, roles, access keys and policies; the operations of IAM and STS."""
