"""The part of the catalog's contract about data keys and domain keys: kept sealed, never in the clear."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A key as the catalog keeps it: sealed by one version of a KMS key's material."""

    key_id: str
    """Of the KMS key."""
    material_version: int
    sealed: bytes = field(repr=False)


class DataKeyCatalog(Protocol):
    """Rows that go with their KMS key: when it is destroyed, they are."""

    def insert_data_key(self, data_key_id: bytes, key: SealedKey, now_ms: int) -> bool:
        """Store a data key; False, and nothing is stored, where its KMS key does not exist any more."""

    def data_key(self, data_key_id: bytes) -> SealedKey | None:
        """The data key of that id."""

    def present_domain_key(self, key_id: str) -> SealedKey | None:
        """The domain key of a KMS key, or None where there is none (yet)."""

    def has_blocks_under(self, kms_key_arn: str) -> bool:
        """Whether blocks were written under a KMS key, to pending snapshots too. Looks through all snapshots."""

    def domain_key(self, candidate: SealedKey) -> SealedKey | None:
        """The domain key of the candidate's KMS key; the candidate becomes it where there is none yet.

        None where the KMS key does not exist any more. One winner among racing callers.
        """
