"""What the rows of sharing and of regional settings look like once read: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from snapstone.core.ids import SnapshotId


class Reach(Enum):
    """Why a snapshot is seen by an account."""

    OWN = auto()
    SHARED = auto()
    """Its owner has named the account."""
    PUBLIC = auto()
    """It is shared with everybody, and its owner does not block that now."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A snapshot's place in every list of snapshots."""

    started_at_ms: int
    snapshot_id: SnapshotId


@dataclass(frozen=True, slots=True)
class OwnTag:
    """One tag, and the snapshot that has it."""

    place: Place
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class EncryptionDefaults:
    """How an account encrypts new snapshots in a region where nobody says otherwise."""

    encrypted: bool = False
    """Whether every new snapshot is encrypted."""
    key_arn: str | None = None
    """The customer key that was set, or None: the AWS managed key."""
