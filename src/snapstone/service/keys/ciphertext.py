"""KMS's own ciphertext: which key and version made it, and what only they open (docs/format.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Final
from uuid import UUID

from snapstone.catalog.contract.keys import KmsKey
from snapstone.core.data_key import EnvelopeError
from snapstone.core.errors import InvalidCiphertextError, KeyHiddenError
from snapstone.service.engine import Engine

MAGIC: Final = b"SNK1"

_HEAD: Final = Struct(">4s16sI")
"""Magic, key id, version of its material."""

EncryptionContext = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ciphertext:
    """A ciphertext taken apart, not yet believed."""

    key_id: str
    version: int
    sealed: bytes


def encrypt_text(engine: Engine, key: KmsKey, plaintext: bytes, context: EncryptionContext) -> bytes:
    """`plaintext` under a key's newest material, bound to the key and the context."""
    version, sealed = engine.keys.seal_under(key, plaintext, _purpose(key.key_id, context))
    return _HEAD.pack(MAGIC, UUID(key.key_id).bytes, version) + sealed


def parse_ciphertext(blob: bytes) -> Ciphertext:
    """Raises InvalidCiphertextError if this service did not create the blob."""
    if len(blob) < _HEAD.size or not blob.startswith(MAGIC):
        raise InvalidCiphertextError
    _, key_id, version = _HEAD.unpack_from(blob)
    return Ciphertext(str(UUID(bytes=key_id)), version, blob[_HEAD.size :])


def decrypt_text(engine: Engine, key: KmsKey, ciphertext: Ciphertext, context: EncryptionContext) -> bytes:
    """The plaintext given to `encrypt_text`. Raises InvalidCiphertextError for another context, or a changed byte."""
    if not 1 <= ciphertext.version <= (key.material_version or 0):
        raise InvalidCiphertextError  # no such material was ever made: the number has been changed
    purpose = _purpose(key.key_id, context)
    try:
        return engine.keys.unseal_under(key.key_id, ciphertext.version, ciphertext.sealed, purpose)
    except (EnvelopeError, KeyHiddenError):
        raise InvalidCiphertextError from None


def _purpose(key_id: str, context: EncryptionContext) -> str:
    """The key and the pairs of the context in order of name, each length before its text: no two contexts are alike."""
    parts = [part for pair in sorted(context.items()) for part in pair]
    return f"kms ciphertext {key_id} " + "".join(f"{len(part)}:{part}" for part in parts)
