"""Data keys and encryption domains: what blocks are encrypted with, and what turns their digests into addresses."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

from snapstone.core.blocks import ZERO_DIGEST, Address, Digest

DATA_KEY_ID_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class DataKey:
    """A key in the clear: it stays in memory, and nothing prints it."""

    data_key_id: bytes
    """16 bytes."""
    key: bytes = field(repr=False)
    """32 bytes, for AES-256-GCM."""


@dataclass(frozen=True, slots=True)
class Domain:
    """One KMS key's encryption domain: equal blocks inside it have equal addresses, which say nothing outside it."""

    address_key: bytes = field(repr=False)
    """32 bytes."""

    def address_of(self, digest: Digest) -> Address:
        """HMAC-SHA-256 of a block's digest under the domain's key."""
        return Address(hmac.digest(self.address_key, digest, "sha256"))

    @property
    def zero_address(self) -> Address:
        """The address of the zero block: known, never stored."""
        return self.address_of(ZERO_DIGEST)
