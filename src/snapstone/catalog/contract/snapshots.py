"""Rows about snapshots as frozen values, those of locks, tiering and copies among them. Times are in milliseconds since
the epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from snapstone.core.blocks import Address, Digest
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.protection import Retention


class Deletion(StrEnum):
    """The outcome of a deletion."""

    BEGUN = "begun"
    """Deleted for every caller; its manifest and row remain to be removed."""
    RECYCLED = "recycled"
    """A retention rule put it into the recycle bin."""


@dataclass(eq=False)
class LockHoldsError(Exception):
    """A lock keeps the snapshot from being deleted."""


class StorageTier(StrEnum):
    STANDARD = "standard"
    ARCHIVE = "archive"


class PublicAccess(StrEnum):
    """What an account allows to be shared with everybody in a region."""

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
    """`LastTieringOperationStatus` of EC2's model; None if there was no move."""


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
    """A copy whose blocks must be re-encrypted, and its source at the time of the request."""

    snapshot_id: SnapshotId
    source_root: Address
    source_kms_key_arn: str | None


class SnapshotState(StrEnum):
    """Where a snapshot is in its life (docs/aws-behaviour/ebs-direct.md, EBS-STATE)."""

    PENDING = "pending"
    SEALING = "sealing"
    COMPLETED = "completed"
    ERROR = "error"
    DELETING = "deleting"
    """Deleted for every caller; its manifest is being removed."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot's row."""

    snapshot_id: SnapshotId
    account_id: AccountId
    region: Region
    volume_size_gib: int
    parent_id: SnapshotId | None
    lineage_id: SnapshotId
    """The oldest ancestor's id: two snapshots are related if this is equal, whatever was deleted since."""
    description: str | None
    tags: tuple[tuple[str, str], ...]
    state: SnapshotState
    state_message: str | None
    started_at_ms: int
    completed_at_ms: int | None
    timeout_minutes: int
    deadline_at_ms: int
    """When a pending snapshot times out: its start or last accepted put, plus the time-out. In running time, which is
    not the time of day (`clock_contract.ClockRow`)."""
    progress: int
    """The largest x-amz-Progress seen, 0 to 100."""
    root: Address
    """Root page: the parent's until sealed, the snapshot's own from then on."""
    block_count: int
    """Present blocks under `root`."""
    expected_count: int | None
    expected_checksum: Digest | None
    """As declared by CompleteSnapshot."""
    seal_begun_at_ms: int | None
    kms_key_arn: str | None = None
    """The KMS key it is encrypted under, or None if it is not encrypted."""
    data_key_id: bytes | None = None
    """16 bytes: the data key that its new blocks and pages are encrypted with."""
    shared_with: frozenset[str] = frozenset()
    """Account ids that may read it, and `all`."""
    recycled_at_ms: int | None = None
    recycled_until_ms: int | None = None
    """Set while it lies in the recycle bin: until then it can be restored, and is otherwise invisible."""
    copied_from: SnapshotId | None = None
    """The source if CopySnapshot created it: only the server writes to it."""
    tiering: Tiering = field(default_factory=Tiering)


@dataclass(frozen=True, slots=True)
class PendingWrite:
    """One block written to a snapshot that is not sealed yet."""

    block_index: int
    address: Address
    digest: Digest
    """Of the plaintext; equal to the address where the snapshot is not encrypted."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The first answer to a StartSnapshot that carried a client token."""

    client_token: str
    fingerprint: bytes
    """Digest of all that the request asked, without the token: another one is a conflict."""
    answer: str
    """The answer's JSON, returned byte for byte to a replay."""


@dataclass(frozen=True, slots=True)
class FailingWork:
    """A seal or a copy that failed, and is tried again."""

    snapshot_id: SnapshotId
    failure_count: int
    first_failed_ms: int
    """In running time."""
    message: str
    """Why it failed last."""
