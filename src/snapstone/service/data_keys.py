"""Data keys and encryption domains in the clear: unsealed when first needed, remembered while their KMS key exists.

What is unsealed never outlives its KMS key: the key's row is asked for each time, and rows are never stale
(`catalog/changes.py`). Whether the key may be used now, and by whom, is another question (`service/encryption.py`).
"""

from __future__ import annotations

from snapstone.catalog.data_key_contract import SealedKey
from snapstone.catalog.key_rows import KmsKey
from snapstone.core.data_key import DATA_KEY_ID_SIZE, DataKey, Domain
from snapstone.core.envelope import KEY_SIZE
from snapstone.core.key_errors import KeyHiddenError
from snapstone.service.engine import Engine
from snapstone.service.kms.material import seal_under, unseal_under


def data_key_of(engine: Engine, data_key_id: bytes) -> DataKey:
    """The data key of an id. Raises KeyHiddenError where it is gone with its KMS key."""
    found = engine.keys.data_keys.get(data_key_id)
    if found is None:
        sealed = engine.catalog.data_key(data_key_id)
        if sealed is None:
            raise KeyHiddenError
        found = (sealed.key_id, DataKey(data_key_id, _unseal(engine, sealed, _data_key_purpose(data_key_id))))
        engine.keys.data_keys.keep(data_key_id, found)
    if engine.catalog.kms_key(found[0]) is None:
        raise KeyHiddenError
    return found[1]


def domain_of(engine: Engine, key: KmsKey) -> Domain:
    """The encryption domain of a KMS key, made when first asked for. Raises KeyHiddenError where the key is gone."""
    domain = engine.keys.domains.get(key.key_id)
    if domain is None:
        purpose = f"domain key {key.key_id}"
        sealed = engine.catalog.domain_key(_seal(engine, key, engine.random_bytes(KEY_SIZE), purpose))
        if sealed is None:
            raise KeyHiddenError
        domain = Domain(_unseal(engine, sealed, purpose))
        engine.keys.domains.keep(key.key_id, domain)
    return domain


def make_data_key(engine: Engine, key: KmsKey) -> bytes:
    """A new data key under the newest material of a KMS key; returns its id. Raises KeyHiddenError."""
    data_key_id = engine.random_bytes(DATA_KEY_ID_SIZE)
    sealed = _seal(engine, key, engine.random_bytes(KEY_SIZE), _data_key_purpose(data_key_id))
    if not engine.catalog.insert_data_key(data_key_id, sealed, engine.now_ms()):
        raise KeyHiddenError
    return data_key_id


def is_current(engine: Engine, key: KmsKey, data_key_id: bytes) -> bool:
    """Whether a data key was sealed by the newest material of its KMS key: after a rotation it is not."""
    sealed = engine.catalog.data_key(data_key_id)
    return sealed is not None and sealed.key_id == key.key_id and sealed.material_version == key.material_version


def _seal(engine: Engine, key: KmsKey, plaintext: bytes, purpose: str) -> SealedKey:
    version, sealed = seal_under(engine, key, plaintext, purpose)
    return SealedKey(key.key_id, version, sealed)


def _unseal(engine: Engine, sealed: SealedKey, purpose: str) -> bytes:
    return unseal_under(engine, sealed.key_id, sealed.material_version, sealed.sealed, purpose)


def _data_key_purpose(data_key_id: bytes) -> str:
    return f"data key {data_key_id.hex()}"
