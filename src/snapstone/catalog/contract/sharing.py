"""The part of the catalog's contract about tags, sharing, what accounts see, and encryption by default; and its rows.

If a call takes a function `change`, it runs inside the transaction, sees the row as it is there, and returns what
takes its place; an error raised in it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from snapstone.catalog.contract.snapshots import Snapshot
from snapstone.core.ids import AccountId, Region, SnapshotId


class SnapshotScope(Enum):
    """Why a snapshot is seen by an account."""

    OWN = auto()
    SHARED = auto()
    """Its owner has named the account."""
    PUBLIC = auto()
    """It is shared with everybody, and its owner does not block that now."""


@dataclass(frozen=True, slots=True, order=True)
class ListPosition:
    """A snapshot's place in every list of snapshots."""

    started_at_ms: int
    snapshot_id: SnapshotId


@dataclass(frozen=True, slots=True)
class OwnTag:
    """One tag, and the snapshot that has it."""

    place: ListPosition
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class EncryptionDefaults:
    """How an account encrypts new snapshots in a region unless the request says otherwise."""

    encrypted: bool = False
    """Whether every new snapshot is encrypted."""
    key_arn: str | None = None
    """The customer key that was set, or None: the AWS managed key."""


Tags = tuple[tuple[str, str], ...]
"""Keys, each once, with their values, in the order in which they were given."""


class SharingCatalog(Protocol):
    """Rows of tags, shares and regional settings, durable when a call returns."""

    # -- what an account sees --

    def visible_snapshots(
        self,
        account_id: AccountId,
        region: Region,
        reaches: Collection[SnapshotScope],
        start: ListPosition | None,
        limit: int,
    ) -> list[Snapshot]:
        """The first `limit` snapshots at or after a place that an account sees for one of these reasons.

        Ordered by start time, then id. Those being deleted and those in the recycle bin are left out. Costs no more
        than the limit, however many there are.
        """

    # -- sharing and tags --

    def change_shares(self, snapshot_id: SnapshotId, change: Callable[[Snapshot], frozenset[str]]) -> bool:
        """Put other readers in place of a snapshot's readers; False if it is gone or in the recycle bin."""

    def change_tags(
        self, snapshot_ids: Collection[SnapshotId], change: Callable[[SnapshotId, Snapshot | None], Tags]
    ) -> None:
        """Put other tags in place of those of several snapshots, of all or of none.

        `change` is given None for a snapshot that is gone or in the recycle bin, and is to raise then.
        """

    def tags(
        self, account_id: AccountId, region: Region, start: tuple[ListPosition, str] | None, limit: int
    ) -> list[OwnTag]:
        """The first `limit` tags of an account's snapshots at or after a place and key, ordered by these."""

    # -- encryption by default --

    def encryption_defaults(self, account_id: AccountId, region: Region) -> EncryptionDefaults:
        """An account's settings for a region; cheap: cached until something changes."""

    def set_encryption_by_default(self, account_id: AccountId, region: Region, encrypted: bool) -> None:
        """Turn encryption by default on or off; the default key stays as it is."""

    def set_default_key(self, account_id: AccountId, region: Region, key_arn: str | None) -> None:
        """Name the default key, or None for the AWS managed one; encryption by default stays on or off."""
