"""The material of KMS keys: 32 random bytes for each version, sealed by the root key, that seal other keys and texts.

Unsealed material is remembered within bounds, and never used without looking at the key's row first: a key that is
destroyed is gone at once in every process, whatever is remembered.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Final, cast

from snapstone.catalog.contract.keys import KmsKey
from snapstone.core.data_key import KEY_SIZE, NONCE_SIZE, EnvelopeError, seal, unseal
from snapstone.core.errors import DamageError, KeyHiddenError
from snapstone.service.engine import Engine, RootKey
from snapstone.service.health import row_damage

REMEMBERED_MATERIALS: Final = 1_024


def new_material(engine: Engine, key_id: str, version: int) -> bytes:
    """Fresh material, sealed by the root key."""
    return engine.root_key.seal(engine.random_bytes(KEY_SIZE), material_purpose(key_id, version))


def seal_under(engine: Engine, key: KmsKey, plaintext: bytes, purpose: str) -> tuple[int, bytes]:
    """`plaintext` sealed by a key's newest material, and the version of that. Raises KeyHiddenError."""
    now = _present(engine, key.key_id)
    material = _material(engine, now.key_id, now.material_version)
    return now.material_version, seal(material, plaintext, purpose, engine.random_bytes(NONCE_SIZE))


def unseal_under(engine: Engine, key_id: str, version: int, sealed: bytes, purpose: str) -> bytes:
    """What was sealed by a version of a key's material for that purpose.

    Raises KeyHiddenError, EnvelopeError if it is `sealed` that cannot be opened, DamageError if it is the material.
    """
    return unseal(_material(engine, _present(engine, key_id).key_id, version), sealed, purpose)


def _present(engine: Engine, key_id: str) -> KmsKey:
    """The key as it is now. Raises KeyHiddenError where it has been destroyed."""
    now = engine.catalog.kms_key(key_id)
    if now is None:
        raise KeyHiddenError
    return now


def _material(engine: Engine, key_id: str, version: int) -> bytes:
    sealed = engine.catalog.key_material(key_id, version)
    if sealed is None:
        raise _missing(engine, key_id, version)
    try:
        return _unsealed(cast(Hashable, engine.root_key), sealed, material_purpose(key_id, version))
    except EnvelopeError as error:
        raise row_damage(engine, material_purpose(key_id, version), str(error)) from error


def _missing(engine: Engine, key_id: str, version: int) -> KeyHiddenError | DamageError:
    """A key's material goes with its key, and never before."""
    if engine.catalog.kms_key(key_id) is None:
        return KeyHiddenError()
    return row_damage(engine, material_purpose(key_id, version), "it is missing, and its key is there")


@lru_cache(maxsize=REMEMBERED_MATERIALS)
def _unsealed(root_key: RootKey, sealed: bytes, purpose: str) -> bytes:
    return root_key.unseal(sealed, purpose)


def material_purpose(key_id: str, version: int) -> str:
    """What a version of a key's material is sealed for."""
    return f"kms material {key_id}/{version}"
