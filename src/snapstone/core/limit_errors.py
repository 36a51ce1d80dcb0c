"""Errors about calling too often."""

from __future__ import annotations

from dataclasses import dataclass

from snapstone.core.errors import SnapstoneError


@dataclass(eq=False)
class AccountThrottledError(SnapstoneError):
    """The account calls this operation more often, in this region, than its quota allows."""


@dataclass(eq=False)
class SnapshotThrottledError(SnapstoneError):
    """Blocks of one snapshot are read or written more often than the quota of a snapshot allows."""
