"""The key ring: the root key, and every key that it opens in this process, unsealed when first needed and cached.

Keys hang in a chain. The root key, which is not in the catalog, seals secrets, access keys and the material of KMS keys
(32 random bytes for each version). Material seals data keys, which encrypt blocks, domain keys, which turn digests into
addresses, and texts.

What is cached never outlives its KMS key: the key's row is requested each time, and rows are never stale
(`catalog/sqlite/changes.py`). Whether a key may be used now, and by whom, is for `service/snapshots/encryption.py` to
say. Keys that are missing although their KMS key exists are damage, and so are those that it does not open.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from types import TracebackType
from typing import Final, Generic, Protocol, TypeVar

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.keys import KmsKey, SealedKey
from snapstone.core.data_key import (
    DATA_KEY_ID_SIZE,
    KEY_SIZE,
    NONCE_SIZE,
    DataKey,
    Domain,
    EnvelopeError,
    seal,
    unseal,
)
from snapstone.core.errors import DamageError, KeyHiddenError
from snapstone.service.health import DamageReports, Health, row_damage

CACHED_KEYS: Final = 4_096
"""Entries of each cache of one process: the oldest goes first."""

TOKENS: Final = "tokens"
"""Name of the secret behind block tokens and those of listings."""

Value = TypeVar("Value")


class RootKey(Protocol):
    """Seals and opens what the catalog must not hold in plain text; made from the installation's root key."""

    def seal(self, plaintext: bytes, purpose: str) -> bytes:
        """`plaintext` sealed for a purpose such as `kms material KEY_ID/VERSION`; no two results are the same."""

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """The plaintext sealed for that purpose. Raises core.data_key.EnvelopeError."""


class HeldRootKey:
    """Implements RootKey with a key of 32 bytes held in memory."""

    def __init__(self, key: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._key = key
        self._random_bytes = random_bytes

    def seal(self, plaintext: bytes, purpose: str) -> bytes:
        return seal(self._key, plaintext, purpose, self._random_bytes(NONCE_SIZE))

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        return unseal(self._key, sealed, purpose)


class KeyRing:
    """The keys of one process. Safe from many threads."""

    def __init__(
        self,
        catalog: Catalog,
        root_key: RootKey,
        now_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        *,
        health: Health,
        damage: DamageReports,
    ) -> None:
        self.root_key = root_key
        self.health = health
        self.damage = damage
        self._catalog = catalog
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._opened: Cache[tuple[bytes, str], bytes] = Cache()
        self._secrets: Cache[str, bytes] = Cache()
        self._data_keys: Cache[bytes, tuple[str, DataKey]] = Cache()
        self._domains: Cache[str, Domain] = Cache()

    # -- what the root key seals --

    def opened(self, sealed: bytes, purpose: str) -> bytes:
        """The plaintext that the root key sealed for a purpose. Raises EnvelopeError."""
        found = self._opened.get((sealed, purpose))
        if found is None:
            found = self.root_key.unseal(sealed, purpose)
            self._opened.put((sealed, purpose), found)
        return found

    def secret(self, name: str, size: int) -> bytes:
        """The server's secret of that name, created from `size` random bytes if missing. Raises EnvelopeError."""
        found = self._secrets.get(name)
        if found is None:
            found = server_secret(self._catalog, self.root_key, name, self._random_bytes(size))
            self._secrets.put(name, found)
        return found

    # -- KMS keys and their material --

    def row(self, key_id: str) -> KmsKey | None:
        """The KMS key of an id, or None. Raises DamageError if it is missing while its material is there."""
        key = self._catalog.kms_key(key_id)
        if key is None and self._catalog.key_material(key_id, 1) is not None:
            raise row_damage(self, f"KMS key {key_id}", "it is missing, and its material is there")
        return key

    def stored_key(self, arn: str) -> KmsKey | None:
        """The key of an ARN that a snapshot's row holds, or None if it was destroyed. Raises DamageError.

        Account and region of a key never change: a key of this id and another ARN is a damaged row.
        """
        key = self.row(arn.rpartition("/")[2])
        if key is not None and key.arn != arn:
            raise row_damage(self, f"KMS key {key.key_id}", f"it is {key.arn}, and {arn} was encrypted under")
        return key

    def new_material(self, key_id: str, version: int) -> bytes:
        """Fresh material, sealed by the root key."""
        return self.root_key.seal(self._random_bytes(KEY_SIZE), material_purpose(key_id, version))

    def seal_under(self, key: KmsKey, plaintext: bytes, purpose: str) -> tuple[int, bytes]:
        """`plaintext` sealed by a key's newest material, and the version of that. Raises KeyHiddenError."""
        now = self._present(key.key_id)
        material = self._material(now.key_id, now.material_version)
        return now.material_version, seal(material, plaintext, purpose, self._random_bytes(NONCE_SIZE))

    def unseal_under(self, key_id: str, version: int, sealed: bytes, purpose: str) -> bytes:
        """The plaintext sealed by a version of a key's material for that purpose.

        Raises KeyHiddenError, EnvelopeError if it is `sealed` that cannot be opened, DamageError if it is the material.
        """
        return unseal(self._material(self._present(key_id).key_id, version), sealed, purpose)

    def _present(self, key_id: str) -> KmsKey:
        """The key as it is now. Raises KeyHiddenError if it has been destroyed."""
        now = self._catalog.kms_key(key_id)
        if now is None:
            raise KeyHiddenError
        return now

    def _material(self, key_id: str, version: int) -> bytes:
        sealed = self._catalog.key_material(key_id, version)
        if sealed is None:
            raise self._missing(key_id, version)
        try:
            return self.opened(sealed, material_purpose(key_id, version))
        except EnvelopeError as error:
            raise row_damage(self, material_purpose(key_id, version), str(error)) from error

    def _missing(self, key_id: str, version: int) -> KeyHiddenError | DamageError:
        """A key's material goes with its key, and never before."""
        if self._catalog.kms_key(key_id) is None:
            return KeyHiddenError()
        return row_damage(self, material_purpose(key_id, version), "it is missing, and its key is there")

    # -- data keys and domains --

    def data_key(self, data_key_id: bytes) -> DataKey:
        """The data key of an id. Raises KeyHiddenError if it is gone with its KMS key."""
        found = self._data_keys.get(data_key_id)
        if found is None:
            sealed = self._catalog.data_key(data_key_id)
            if sealed is None:
                raise KeyHiddenError
            found = (sealed.key_id, DataKey(data_key_id, self._unseal(sealed, _data_key_purpose(data_key_id))))
            self._data_keys.put(data_key_id, found)
        if self._catalog.kms_key(found[0]) is None:
            raise KeyHiddenError
        return found[1]

    def under(self, kms_key_arn: str | None) -> DataKeysUnder:
        """A block in which data keys of one KMS key are requested; None for a snapshot that has none."""
        return DataKeysUnder(self, kms_key_arn)

    def domain(self, key: KmsKey) -> Domain:
        """The encryption domain of a KMS key, made when first requested.

        Raises KeyHiddenError if the key is gone, DamageError if it has no domain any more.
        """
        domain = self._domains.get(key.key_id)
        if domain is None:
            sealed = self._catalog.present_domain_key(key.key_id) or self._made_domain_key(key)
            domain = Domain(self._unseal(sealed, _domain_purpose(key.key_id)))
            self._domains.put(key.key_id, domain)
        return domain

    def _made_domain_key(self, key: KmsKey) -> SealedKey:
        """The domain key of a KMS key that nothing has been encrypted under: another one would find no block again."""
        purpose = _domain_purpose(key.key_id)
        if self._catalog.has_blocks_under(key.arn):
            # Another process may have made it, and written, since it was looked for.
            sealed = self._catalog.present_domain_key(key.key_id)
            if sealed is None and self._catalog.kms_key(key.key_id) is not None:
                raise row_damage(self, purpose, "it is missing, and blocks have been written under it")
        else:
            sealed = self._catalog.domain_key(self._seal(key, self._random_bytes(KEY_SIZE), purpose))
        if sealed is None:
            raise KeyHiddenError
        return sealed

    def make_data_key(self, key: KmsKey) -> bytes:
        """A new data key under the newest material of a KMS key; returns its id. Raises KeyHiddenError."""
        data_key_id = self._random_bytes(DATA_KEY_ID_SIZE)
        sealed = self._seal(key, self._random_bytes(KEY_SIZE), _data_key_purpose(data_key_id))
        if not self._catalog.insert_data_key(data_key_id, sealed, self._now_ms()):
            raise KeyHiddenError
        return data_key_id

    def is_current(self, key: KmsKey, data_key_id: bytes) -> bool:
        """Whether a data key of a KMS key was sealed by its newest material: after a rotation it is not.

        Raises KeyHiddenError, and DamageError if the data key is missing.
        """
        with self.under(key.arn):
            self.data_key(data_key_id)
        sealed = self._catalog.data_key(data_key_id)
        return sealed is not None and sealed.key_id == key.key_id and sealed.material_version == key.material_version

    def _seal(self, key: KmsKey, plaintext: bytes, purpose: str) -> SealedKey:
        version, sealed = self.seal_under(key, plaintext, purpose)
        return SealedKey(key.key_id, version, sealed)

    def _unseal(self, sealed: SealedKey, purpose: str) -> bytes:
        try:
            return self.unseal_under(sealed.key_id, sealed.material_version, sealed.sealed, purpose)
        except EnvelopeError as error:
            raise row_damage(self, purpose, str(error)) from error


class DataKeysUnder:
    """Inside, data keys of one KMS key are requested: one that is not found is damage, unless that key was destroyed.

    All that a snapshot refers to is encrypted under data keys of its own KMS key. A class and not a generator, because
    every read of a block enters it.
    """

    __slots__ = ("_keys", "_kms_key_arn")

    def __init__(self, keys: KeyRing, kms_key_arn: str | None) -> None:
        self._keys = keys
        self._kms_key_arn = kms_key_arn

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, KeyHiddenError):
            if self._kms_key_arn is not None and self._keys.stored_key(self._kms_key_arn) is None:
                return
            what = f"it is missing, and its KMS key {self._kms_key_arn} is there"
            raise row_damage(self._keys, "data key", what) from None


Key = TypeVar("Key", bound=Hashable)


class Cache(Generic[Key, Value]):
    """Values by key, the oldest dropped first. Safe from many threads."""

    def __init__(self) -> None:
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Key) -> Value | None:
        return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        with self._lock:
            self._values[key] = value
            if len(self._values) > CACHED_KEYS:
                self._values.popitem(last=False)


def server_secret(catalog: Catalog, root_key: RootKey, name: str, candidate: bytes) -> bytes:
    """The server's secret of that name; stores `candidate` if missing. Costs a transaction.

    Raises EnvelopeError.
    """
    purpose = secret_purpose(name)
    return root_key.unseal(catalog.secret(name, root_key.seal(candidate, purpose)), purpose)


def secret_purpose(name: str) -> str:
    """The purpose that a secret is sealed for."""
    return f"secret {name}"


def material_purpose(key_id: str, version: int) -> str:
    """The purpose that a version of a key's material is sealed for."""
    return f"kms material {key_id}/{version}"


def _domain_purpose(key_id: str) -> str:
    return f"domain key {key_id}"


def _data_key_purpose(data_key_id: bytes) -> str:
    return f"data key {data_key_id.hex()}"
