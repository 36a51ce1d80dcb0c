"""The rows of protection as frozen values: retention rules, tiering, copies under way, and what a deletion came to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from snapstone.core.blocks import Address
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.retention import Retention


class Deletion(StrEnum):
    """What became of a snapshot that was to be deleted."""

    BEGUN = "begun"
    """It is gone for every caller; manifest and row are to be removed."""
    RECYCLED = "recycled"
    """A retention rule put it into the recycle bin."""


@dataclass(eq=False)
class LockHoldsError(Exception):
    """A lock keeps the snapshot from being deleted."""


class StorageTier(StrEnum):
    STANDARD = "standard"
    ARCHIVE = "archive"


class PublicAccess(StrEnum):
    """What an account lets be shared with everybody in a region."""

    BLOCK_ALL = "block-all-sharing"
    """Nothing, and what was shared before is hidden."""
    BLOCK_NEW = "block-new-sharing"
    UNBLOCKED = "unblocked"


@dataclass(frozen=True, slots=True)
class Tiering:
    """Where a snapshot is stored, and the last move from tier to tier."""

    tier: StorageTier = StorageTier.STANDARD
    restore_expires_at_ms: int | None = None
    """When a snapshot that was restored for a time goes back to the archive."""
    archived_at_ms: int | None = None
    started_at_ms: int | None = None
    status: str | None = None
    """`LastTieringOperationStatus` of EC2's model; None where there was no move."""


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """A rule of the recycle bin, of one account in one region."""

    rule_id: str
    account_id: AccountId
    region: Region
    resource_type: str
    retention: Retention
    description: str
    tags: tuple[tuple[str, str], ...]
    created_at_ms: int
    unlock_delay_days: int | None = None
    """Set while the rule is locked, or on its way to being unlocked."""
    unlocked_at_ms: int | None = None
    """When the delay of an unlocking ends."""


@dataclass(frozen=True, slots=True)
class CopyWork:
    """A copy whose blocks are to be encrypted anew, and the source as it was when the copy was asked for."""

    snapshot_id: SnapshotId
    source_root: Address
    source_kms_key_arn: str | None
