"""The part of the catalog's contract that goes through everything: to compare it with the store, and to check it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from snapstone.catalog.contract.identities import SealedAccessKey
from snapstone.catalog.contract.keys import SealedKey
from snapstone.catalog.contract.snapshots import Snapshot, SnapshotState
from snapstone.core.ids import SnapshotId


@dataclass(frozen=True, slots=True)
class SealedMaterial:
    """One version of a KMS key's material, as the catalog keeps it."""

    key_id: str
    version: int
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedDataKey:
    """A data key, as the catalog keeps it."""

    data_key_id: bytes
    key: SealedKey


class InventoryCatalog(Protocol):
    """Everything of one kind. Each streams, as of one moment: close it, or read it to its end, to free its reader.

    What is told of a row is not verified: a row that is damaged must not hide those behind it.
    """

    def snapshot_ids(self) -> Iterator[tuple[SnapshotId, SnapshotState | None]]:
        """Every snapshot in any state, also while it is deleted or lies in the recycle bin; None for no known state."""

    def materials(self) -> Iterator[SealedMaterial]:
        """The material of every KMS key, in every version."""

    def data_keys(self) -> Iterator[SealedDataKey]:
        """Every data key."""

    def domain_keys(self) -> Iterator[SealedKey]:
        """Every domain key."""

    def access_keys(self) -> Iterator[SealedAccessKey]:
        """Every access key of every account."""

    def secrets(self) -> Iterator[tuple[str, bytes]]:
        """The server's own secrets: name, and the sealed value."""

    def drop_secret(self, name: str, sealed: bytes) -> None:
        """Forget a secret that cannot be opened, if it is still this one: whoever needs it makes another."""

    def restore_snapshot(self, snapshot: Snapshot) -> bool:
        """Insert the row of a completed snapshot that was lost, whatever has become of its parent.

        False, and nothing changes, if there is a row of that id.
        """
