"""Data keys and encryption domains: what encrypts blocks, what turns their digests into addresses, and how keys are
sealed by other keys (AES-256-GCM, a fresh nonce, bound to a text that names the sealed thing and its owner)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

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
    """One KMS key's encryption domain: equal blocks inside it have equal addresses, which reveal nothing outside it."""

    address_key: bytes = field(repr=False)
    """32 bytes."""

    def address_of(self, digest: Digest) -> Address:
        """HMAC-SHA-256 of a block's digest under the domain's key."""
        return Address(hmac.digest(self.address_key, digest, "sha256"))

    @property
    def zero_address(self) -> Address:
        """The address of the zero block: known, never stored."""
        return self.address_of(ZERO_DIGEST)


KEY_SIZE: Final = 32
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
OVERHEAD: Final = NONCE_SIZE + TAG_SIZE


class EnvelopeError(Exception):
    """The ciphertext was sealed by another key or for another purpose, or is damaged."""


def seal(key: bytes, plaintext: bytes, purpose: str, nonce: bytes) -> bytes:
    """`plaintext` sealed by a key of 32 bytes: the nonce (12 fresh random bytes), the ciphertext, the tag (16)."""
    return nonce + AESGCM(key).encrypt(nonce, plaintext, purpose.encode())


def unseal(key: bytes, sealed: bytes, purpose: str) -> bytes:
    """The plaintext given to `seal`. Raises EnvelopeError."""
    if len(sealed) < OVERHEAD:
        raise EnvelopeError(f"{len(sealed)} bytes are not a sealed {purpose}")
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], purpose.encode())
    except InvalidTag:
        raise EnvelopeError(f"the sealed {purpose} cannot be opened with this key") from None
