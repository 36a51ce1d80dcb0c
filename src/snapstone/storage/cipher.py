"""AES-256-GCM over a stored payload, in place: what goes into the header beside it, and how it is opened again.

The plaintext's digest is sealed together with the payload, so a reader has it without hashing. The payload's ciphertext
stays where the plaintext was; what GCM makes of the digest, and the tag, go into the header: the record is as long as a
plain one. What a record is (kind, address, size, data key) is bound to it as associated data; where it stands is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import GCM

from snapstone.core.blocks import Address, Digest
from snapstone.core.data_key import DataKey

NONCE_SIZE: Final = 12

_ASSOCIATED: Final = Struct("<12sBQ32s16s")
"""A name, kind, payload size, address, data-key id."""
_NAME: Final = b"snapstone v1"


class SealBrokenError(Exception):
    """The payload, its header, or the key is not what it was when the record was sealed."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What the header of an encrypted record says beyond a plain one's."""

    data_key_id: bytes
    nonce: bytes
    sealed_digest: bytes
    """32 bytes: the plaintext's digest, encrypted."""
    tag: bytes
    """16 bytes."""


def encrypt_in_place(
    payload: memoryview, kind: int, address: Address, data_key: DataKey, digest: Digest, nonce: bytes
) -> Seal:
    """Turn a payload into its ciphertext. The nonce is 12 fresh random bytes, never used twice with one key."""
    encryptor = Cipher(AES256(data_key.key), GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(_associated(kind, len(payload), address, data_key.data_key_id))
    encryptor.update_into(payload, payload)
    sealed_digest = encryptor.update(digest)
    encryptor.finalize()
    return Seal(data_key.data_key_id, nonce, sealed_digest, encryptor.tag)


def decrypt_in_place(payload: memoryview, kind: int, address: Address, data_key: DataKey, seal: Seal) -> Digest:
    """Turn ciphertext back into the payload; returns its digest. Raises SealBrokenError, leaving zeros."""
    decryptor = Cipher(AES256(data_key.key), GCM(seal.nonce, seal.tag)).decryptor()
    decryptor.authenticate_additional_data(_associated(kind, len(payload), address, data_key.data_key_id))
    decryptor.update_into(payload, payload)
    digest = decryptor.update(seal.sealed_digest)
    try:
        decryptor.finalize()
    except InvalidTag:
        payload[:] = bytes(len(payload))
        raise SealBrokenError("the tag of the encrypted payload is wrong") from None
    return Digest(digest)


def _associated(kind: int, payload_size: int, address: Address, data_key_id: bytes) -> bytes:
    return _ASSOCIATED.pack(_NAME, kind, payload_size, address, data_key_id)
