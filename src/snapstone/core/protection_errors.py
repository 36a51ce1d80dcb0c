"""Errors about locks, the recycle bin, the archive tier and copies."""

from __future__ import annotations

from dataclasses import dataclass

from snapstone.core.errors import SnapstoneError


@dataclass(eq=False)
class SnapshotLockedError(SnapstoneError):
    """A lock forbids what was asked."""

    message: str


@dataclass(eq=False)
class SnapshotNotLockedError(SnapstoneError):
    """There is no lock to be taken off."""

    snapshot_id: str


@dataclass(eq=False)
class PublicAccessBlockedError(SnapstoneError):
    """The account lets nothing be shared with everybody in this region."""

    region: str


@dataclass(eq=False)
class PublicAccessRequestError(SnapstoneError):
    """A state of block public access that is an answer only."""

    state: str


@dataclass(eq=False)
class SnapshotArchivedError(SnapstoneError):
    """The snapshot lies in the archive tier and must be restored first."""

    snapshot_id: str


@dataclass(eq=False)
class SnapshotStateError(SnapstoneError):
    """The snapshot's state or tier does not admit what was asked."""

    message: str


@dataclass(eq=False)
class RuleNotFoundError(SnapstoneError):
    """No retention rule of the caller has this identifier in this region."""

    rule_id: str


@dataclass(eq=False)
class RuleLockedError(SnapstoneError):
    """A retention rule is locked, or not unlocked yet, or not locked at all: `message` says which."""

    message: str


@dataclass(eq=False)
class RuleQuotaError(SnapstoneError):
    """As many retention rules, or tags, as there may be."""

    message: str


@dataclass(eq=False)
class InvalidRuleError(SnapstoneError):
    """Members of a retention rule that do not go together, or that this server does not keep."""

    message: str


@dataclass(eq=False)
class SourceNotCompleteError(SnapstoneError):
    """The source of a copy is still pending, or ended in error."""

    snapshot_id: str


@dataclass(eq=False)
class UnknownSourceRegionError(SnapstoneError):
    """The region to copy from is none of this server's."""

    region: str


@dataclass(eq=False)
class ParameterDependencyError(SnapstoneError):
    """A parameter that is valid only beside another one."""

    message: str


@dataclass(eq=False)
class CopyLimitError(SnapstoneError):
    """As many copies under way to one region as there may be."""

    limit: int
