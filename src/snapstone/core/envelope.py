"""Keys sealed by keys: AES-256-GCM with a fresh nonce, bound to a text that says what the sealed thing is and whose."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_SIZE: Final = 32
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
OVERHEAD: Final = NONCE_SIZE + TAG_SIZE


class EnvelopeError(Exception):
    """What was to be opened was sealed by another key, for another purpose, or is damaged."""


def seal(key: bytes, plaintext: bytes, purpose: str, nonce: bytes) -> bytes:
    """`plaintext` sealed by a key of 32 bytes: the nonce (12 fresh random bytes), the ciphertext, the tag (16)."""
    return nonce + AESGCM(key).encrypt(nonce, plaintext, purpose.encode())


def unseal(key: bytes, sealed: bytes, purpose: str) -> bytes:
    """What `seal` was given. Raises EnvelopeError."""
    if len(sealed) < OVERHEAD:
        raise EnvelopeError(f"{len(sealed)} bytes are no sealed {purpose}")
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], purpose.encode())
    except InvalidTag:
        raise EnvelopeError(f"the sealed {purpose} cannot be opened with this key") from None
