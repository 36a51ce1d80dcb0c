"""The operations on encryption by default and on the default key, region by region.

Source: docs/aws-behaviour/encryption-and-kms.md, ENC-DEF.
"""

from __future__ import annotations

from snapstone.catalog.contract.keys import KmsKey
from snapstone.core.errors import AccessDeniedError, DryRunPassedError, UnknownKeyError
from snapstone.service.access.authorization import authorize_key
from snapstone.service.engine import Caller, Engine
from snapstone.service.keys.kms_keys import (
    EBS_ALIAS,
    default_key_arn,
    is_encrypted_by_default,
    key_named,
    managed_ebs_key,
    require_enabled,
)

Answer = dict[str, object]


def get_ebs_encryption_by_default(engine: Engine, caller: Caller, *, dry_run: bool = False) -> Answer:
    """Whether new snapshots are encrypted unasked."""
    if dry_run:
        raise DryRunPassedError
    return _state(is_encrypted_by_default(engine, caller.account_id, caller.region))


def enable_ebs_encryption_by_default(engine: Engine, caller: Caller, *, dry_run: bool = False) -> Answer:
    """From now on every new snapshot is encrypted; those that exist stay as they are. Twice is harmless."""
    if dry_run:
        raise DryRunPassedError
    engine.catalog.set_encryption_by_default(caller.account_id, caller.region, True)
    return _state(True)


def disable_ebs_encryption_by_default(engine: Engine, caller: Caller, *, dry_run: bool = False) -> Answer:
    """From now on a new snapshot is encrypted if its maker asks for it."""
    if dry_run:
        raise DryRunPassedError
    engine.catalog.set_encryption_by_default(caller.account_id, caller.region, False)
    return _state(False)


def get_ebs_default_kms_key_id(engine: Engine, caller: Caller, *, dry_run: bool = False) -> Answer:
    """The ARN of the key that was set; if none was, the alias of the AWS managed key, which exists from then on."""
    if dry_run:
        raise DryRunPassedError
    defaults = engine.catalog.encryption_defaults(caller.account_id, caller.region)
    if defaults.key_arn is None:
        managed_ebs_key(engine, caller.account_id, caller.region)
    return {"KmsKeyId": defaults.key_arn or EBS_ALIAS}


def modify_ebs_default_kms_key_id(engine: Engine, caller: Caller, *, kms_key_id: str, dry_run: bool = False) -> Answer:
    """Make a key the default, by its id, its alias or the ARN of either; it is checked now, not when first needed.

    Raises UnknownKeyError, KmsKeyDisabledError and KmsKeyStateError.
    """
    if dry_run:
        raise DryRunPassedError
    key = key_named(engine, caller, kms_key_id)
    if key is None or not _may_use(engine, caller, key):
        raise UnknownKeyError(f"The key '{kms_key_id}' does not exist in this region, or may not be used")
    require_enabled(key)
    engine.catalog.set_default_key(caller.account_id, caller.region, key.arn)
    return {"KmsKeyId": key.arn}


def reset_ebs_default_kms_key_id(engine: Engine, caller: Caller, *, dry_run: bool = False) -> Answer:
    """The AWS managed key is the default again; the answer is its ARN."""
    if dry_run:
        raise DryRunPassedError
    engine.catalog.set_default_key(caller.account_id, caller.region, None)
    return {"KmsKeyId": default_key_arn(engine, caller.account_id, caller.region)}


def _may_use(engine: Engine, caller: Caller, key: KmsKey) -> bool:
    """Another account's key must allow it: otherwise the caller is not told that it exists."""
    if key.account_id == caller.account_id:
        return True
    try:
        authorize_key(engine, caller, key, "kms:GenerateDataKey", "ec2")
    except AccessDeniedError:
        return False
    return True


def _state(encrypted: bool) -> Answer:
    return {"EbsEncryptionByDefault": encrypted}
