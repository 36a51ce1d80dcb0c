"""Errors about calling too often, and failures made on purpose."""

from __future__ import annotations

from dataclasses import dataclass

from snapstone.core.errors import SnapstoneError


@dataclass(eq=False)
class AccountThrottledError(SnapstoneError):
    """The account calls this operation more often, in this region, than its quota allows."""


@dataclass(eq=False)
class SnapshotThrottledError(SnapstoneError):
    """Blocks of one snapshot are read or written more often than the quota of a snapshot allows."""


@dataclass(eq=False)
class PendingSnapshotLimitError(SnapstoneError):
    """The account has as many pending snapshots in the region as its quota allows."""

    limit: int


@dataclass(eq=False)
class InjectedFailureError(SnapstoneError):
    """The server was told to fail here, so that a client can show what it does then."""


@dataclass(eq=False)
class InjectedOutageError(SnapstoneError):
    """The server was told to be unavailable here."""


@dataclass(eq=False)
class InjectedQuotaError(SnapstoneError):
    """The server was told that a quota is reached here."""
