"""Which key a snapshot is encrypted under, and whether a caller may use it now.

Source: docs/aws-behaviour/encryption-and-kms.md, ENC-START and ENC-KEY.

A key says no in two ways: disabled or pending deletion, it is a refusal of the key service; destroyed, or closed to the
caller by its policy, it does not exist for the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

from snapstone.catalog.contract.keys import KeyState, KmsKey
from snapstone.catalog.contract.snapshots import Snapshot
from snapstone.core.blocks import ZERO_ADDRESS, Address, Digest
from snapstone.core.data_key import DataKey, Domain
from snapstone.core.errors import (
    AccessDeniedError,
    InvalidParameterError,
    KeyHiddenError,
    KeyServiceError,
    UnknownKeyError,
)
from snapstone.service.access.authorization import authorize_key
from snapstone.service.engine import Caller, Engine
from snapstone.service.keys.kms_keys import default_key_arn, is_encrypted_by_default, key_by_arn
from snapstone.storage.contract import Encryption


@dataclass(frozen=True, slots=True)
class BlockKeys:
    """The keys that name and encrypt a snapshot's blocks; both are None if it is not encrypted."""

    domain: Domain | None
    data_key: DataKey | None

    def address_of(self, digest: Digest) -> Address:
        return Address(digest) if self.domain is None else self.domain.address_of(digest)

    @property
    def zero_address(self) -> Address:
        return ZERO_ADDRESS if self.domain is None else self.domain.zero_address

    def encryption(self, digest: Digest) -> Encryption | None:
        return None if self.data_key is None else Encryption(self.data_key, digest)


PLAIN = BlockKeys(None, None)


# -- starting --


def key_for_new(
    engine: Engine, caller: Caller, parent: Snapshot | None, encrypted: bool | None, kms_key_arn: str | None
) -> KmsKey | None:
    """The key of a snapshot that starts, by the table in docs/aws-behaviour/encryption-and-kms.md, ENC-START.

    None if it is not encrypted.

    Combinations with a parent that are not allowed were refused before. Raises InvalidParameterError if encryption by
    default forbids a plain snapshot, UnknownKeyError, KeyServiceError and KeyHiddenError.
    """
    if parent is not None and parent.kms_key_arn is not None:
        return _parent_key(engine, caller, parent.kms_key_arn)
    if kms_key_arn is not None:
        return _named_key(engine, caller, kms_key_arn)
    by_default = is_encrypted_by_default(engine, caller.account_id, caller.region)
    if by_default and (encrypted is False or parent is not None):
        raise InvalidParameterError(
            "Encryption by default is enabled in this region: a snapshot that is not encrypted cannot be started"
        )
    if encrypted or by_default:
        return _named_key(engine, caller, default_key_arn(engine, caller.account_id, caller.region))
    return None


def data_key_for_new(engine: Engine, key: KmsKey, parent: Snapshot | None) -> bytes:
    """The id of the data key of a snapshot that starts: the parent's, unless the key's material was rotated since."""
    inherited = None if parent is None else parent.data_key_id
    if inherited is not None and engine.keys.is_current(key, inherited):
        return inherited
    return engine.keys.make_data_key(key)


def _named_key(engine: Engine, caller: Caller, arn: str) -> KmsKey:
    key = key_by_arn(engine, arn)
    if key is None or key.region != caller.region:
        raise _unknown_key(arn)
    try:
        _require_permitted(engine, caller, key, "kms:GenerateDataKey")
    except KeyServiceError:
        if key.account_id != caller.account_id:
            raise _unknown_key(arn) from None  # that somebody else has such a key is not told
        raise
    return _enabled(key)


def _parent_key(engine: Engine, caller: Caller, arn: str) -> KmsKey:
    key = _existing(engine, arn)
    _require_shown(engine, caller, key, "kms:Decrypt")
    _require_permitted(engine, caller, key, "kms:ReEncryptFrom")
    _require_permitted(engine, caller, key, "kms:ReEncryptTo")
    return _enabled(key)


# -- blocks --


def keys_for_writing(engine: Engine, caller: Caller, snapshot: Snapshot) -> BlockKeys:
    """The keys for a put. Raises KeyServiceError and KeyHiddenError."""
    if snapshot.kms_key_arn is None or snapshot.data_key_id is None:
        return PLAIN
    key = _existing(engine, snapshot.kms_key_arn)
    _require_permitted(engine, caller, key, "kms:Decrypt")
    _enabled(key)
    with engine.keys.under(snapshot.kms_key_arn):
        return BlockKeys(engine.keys.domain(key), engine.keys.data_key(snapshot.data_key_id))


def keys_for_reading(engine: Engine, caller: Caller, snapshot: Snapshot) -> BlockKeys:
    """Check the key for reading one block. Raises KeyServiceError and KeyHiddenError."""
    if snapshot.kms_key_arn is None:
        return PLAIN
    key = _listable(engine, caller, snapshot.kms_key_arn)
    _require_shown(engine, caller, key, "kms:Decrypt")
    return BlockKeys(engine.keys.domain(key), None)


def require_listable(engine: Engine, caller: Caller, snapshot: Snapshot) -> None:
    """Check the key for listing a snapshot's blocks. Raises KeyServiceError and KeyHiddenError."""
    if snapshot.kms_key_arn is not None:
        _listable(engine, caller, snapshot.kms_key_arn)


def require_enabled_key(engine: Engine, snapshot: Snapshot) -> None:
    """Check the key for completing a snapshot. Raises KeyServiceError and KeyHiddenError."""
    if snapshot.kms_key_arn is not None:
        _enabled(_existing(engine, snapshot.kms_key_arn))


def _existing(engine: Engine, arn: str) -> KmsKey:
    """The key of an ARN that a snapshot's row holds. Raises KeyHiddenError if it was destroyed."""
    key = engine.keys.stored_key(arn)
    if key is None:
        raise KeyHiddenError
    return key


def _listable(engine: Engine, caller: Caller, arn: str) -> KmsKey:
    key = _existing(engine, arn)
    _require_shown(engine, caller, key, "kms:DescribeKey")
    return _enabled(key)


def _require_shown(engine: Engine, caller: Caller, key: KmsKey, action: str) -> None:
    """A key that the caller may not do this with does not exist for the caller: KeyHiddenError."""
    try:
        authorize_key(engine, caller, key, action, "ec2")
    except AccessDeniedError:
        raise KeyHiddenError from None


def _require_permitted(engine: Engine, caller: Caller, key: KmsKey, action: str) -> None:
    """Turn a denial of the key's use into a refusal of the key service: KeyServiceError."""
    try:
        authorize_key(engine, caller, key, action, "ec2")
    except AccessDeniedError as error:
        raise _refused(f"{error.principal_arn} is not authorized to perform: {error.action} on the key.") from None


def _enabled(key: KmsKey) -> KmsKey:
    if key.state is not KeyState.ENABLED:
        raise _refused(f"{key.arn} is {'disabled' if key.state is KeyState.DISABLED else 'pending deletion'}.")
    return key


def _unknown_key(arn: str) -> UnknownKeyError:
    return UnknownKeyError(f"The key {arn} does not exist in this region, or may not be used")


def _refused(why: str) -> KeyServiceError:
    return KeyServiceError(f"Invalid parameters for a dependent service: {why}")
