"""Snapshots: the EBS direct operations, their encryption, copies and deletion."""
