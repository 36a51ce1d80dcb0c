"""Data keys and encryption domains in the clear: unsealed when first needed, remembered while their KMS key exists.

What is unsealed never outlives its KMS key: the key's row is asked for each time, and rows are never stale
(`catalog/sqlite/changes.py`). Whether the key may be used now, and by whom, is another question
(`service/snapshots/encryption.py`). Keys that are missing while their KMS key is there are damage, and so are those
that it does not open.
"""

from __future__ import annotations

from types import TracebackType

from snapstone.catalog.contract.keys import KmsKey, SealedKey
from snapstone.core.data_key import DATA_KEY_ID_SIZE, KEY_SIZE, DataKey, Domain, EnvelopeError
from snapstone.core.errors import KeyHiddenError
from snapstone.service.engine import Engine
from snapstone.service.health import row_damage
from snapstone.service.keys.kms_keys import stored_key
from snapstone.service.keys.material import seal_under, unseal_under


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


class DataKeysUnder:
    """Inside, data keys of one KMS key are asked for: one that is not found is damage, unless that key was destroyed.

    All that a snapshot refers to is encrypted under data keys of its own KMS key; None is a snapshot's that has none.
    A class and not a generator, because every read of a block comes by here.
    """

    __slots__ = ("_engine", "_kms_key_arn")

    def __init__(self, engine: Engine, kms_key_arn: str | None) -> None:
        self._engine = engine
        self._kms_key_arn = kms_key_arn

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, KeyHiddenError):
            if self._kms_key_arn is not None and stored_key(self._engine, self._kms_key_arn) is None:
                return
            what = f"it is missing, and its KMS key {self._kms_key_arn} is there"
            raise row_damage(self._engine, "data key", what) from None


def domain_of(engine: Engine, key: KmsKey) -> Domain:
    """The encryption domain of a KMS key, made when first asked for.

    Raises KeyHiddenError where the key is gone, DamageError where it has no domain any more.
    """
    domain = engine.keys.domains.get(key.key_id)
    if domain is None:
        sealed = engine.catalog.present_domain_key(key.key_id) or _made_domain_key(engine, key)
        domain = Domain(_unseal(engine, sealed, _domain_purpose(key.key_id)))
        engine.keys.domains.keep(key.key_id, domain)
    return domain


def _made_domain_key(engine: Engine, key: KmsKey) -> SealedKey:
    """The domain key of a KMS key that nothing has been encrypted under yet: another one would find no block again."""
    if engine.catalog.has_blocks_under(key.arn):
        # Another process may have made it, and written, since it was looked for.
        sealed = engine.catalog.present_domain_key(key.key_id)
        if sealed is None and engine.catalog.kms_key(key.key_id) is not None:
            raise row_damage(
                engine, _domain_purpose(key.key_id), "it is missing, and blocks have been written under it"
            )
    else:
        purpose = _domain_purpose(key.key_id)
        sealed = engine.catalog.domain_key(_seal(engine, key, engine.random_bytes(KEY_SIZE), purpose))
    if sealed is None:
        raise KeyHiddenError
    return sealed


def make_data_key(engine: Engine, key: KmsKey) -> bytes:
    """A new data key under the newest material of a KMS key; returns its id. Raises KeyHiddenError."""
    data_key_id = engine.random_bytes(DATA_KEY_ID_SIZE)
    sealed = _seal(engine, key, engine.random_bytes(KEY_SIZE), _data_key_purpose(data_key_id))
    if not engine.catalog.insert_data_key(data_key_id, sealed, engine.now_ms()):
        raise KeyHiddenError
    return data_key_id


def is_current(engine: Engine, key: KmsKey, data_key_id: bytes) -> bool:
    """Whether a data key of a KMS key was sealed by its newest material: after a rotation it is not.

    Raises KeyHiddenError, and DamageError where the data key is missing.
    """
    with DataKeysUnder(engine, key.arn):
        data_key_of(engine, data_key_id)
    sealed = engine.catalog.data_key(data_key_id)
    return sealed is not None and sealed.key_id == key.key_id and sealed.material_version == key.material_version


def _seal(engine: Engine, key: KmsKey, plaintext: bytes, purpose: str) -> SealedKey:
    version, sealed = seal_under(engine, key, plaintext, purpose)
    return SealedKey(key.key_id, version, sealed)


def _unseal(engine: Engine, sealed: SealedKey, purpose: str) -> bytes:
    try:
        return unseal_under(engine, sealed.key_id, sealed.material_version, sealed.sealed, purpose)
    except EnvelopeError as error:
        raise row_damage(engine, purpose, str(error)) from error


def _domain_purpose(key_id: str) -> str:
    return f"domain key {key_id}"


def _data_key_purpose(data_key_id: bytes) -> str:
    return f"data key {data_key_id.hex()}"
