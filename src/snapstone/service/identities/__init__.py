"""Identities, below IAM's operations: names and ARNs, policies, sessions, and the principals of access keys."""
