"""Mutable rows: snapshots, pending writes, access keys and client tokens."""
