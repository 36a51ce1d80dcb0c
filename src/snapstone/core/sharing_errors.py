"""Errors about sharing and tags."""

from __future__ import annotations

from dataclasses import dataclass

from snapstone.core.errors import SnapstoneError


@dataclass(eq=False)
class PublicSnapshotError(SnapstoneError):
    """A public snapshot of another account: EC2 shows it, the EBS direct APIs do not read it."""

    snapshot_id: str


@dataclass(eq=False)
class NotShareableError(SnapstoneError):
    """A snapshot whose encryption forbids the share that was asked for."""

    message: str


@dataclass(eq=False)
class ShareLimitError(SnapstoneError):
    """More accounts than one snapshot may be shared with."""

    limit: int


@dataclass(eq=False)
class InvalidTagKeyError(SnapstoneError):
    """A tag's key that is empty, too long or reserved."""

    message: str


@dataclass(eq=False)
class TagLimitError(SnapstoneError):
    """More tags than one resource may have."""

    limit: int


@dataclass(eq=False)
class UnknownResourceError(SnapstoneError):
    """A resource id of a form that nothing here has."""

    resource_id: str
