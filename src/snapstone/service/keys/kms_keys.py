"""KMS keys found: which key an id, ARN or alias names, and whether it may be used; the AWS managed key for EBS.

The AWS managed key is one for each account and region, made when first needed. Encryption by default says whether new
snapshots are encrypted if nothing asks for it, and under which key.
"""

from __future__ import annotations

import json
import re
from typing import Final
from uuid import UUID

from snapstone.catalog.contract.keys import KeyManager, KeyState, KmsKey, key_arn
from snapstone.core.errors import (
    InvalidKeyArnError,
    KmsKeyDisabledError,
    KmsKeyNotFoundError,
    KmsKeyStateError,
    UnsupportedKeyError,
)
from snapstone.core.ids import AccountId, Region
from snapstone.service.engine import Caller, Engine
from snapstone.service.health import row_damage

EBS_ALIAS: Final = "alias/aws/ebs"
DESCRIPTION: Final = "Default key that protects my EBS volumes when no other key is defined"


def managed_ebs_key(engine: Engine, account_id: AccountId, region: Region) -> KmsKey:
    """The key behind alias/aws/ebs. Of racing callers, in any process, one makes it."""
    while True:
        alias = engine.catalog.kms_alias(account_id, region, EBS_ALIAS)
        key = None if alias is None else engine.catalog.kms_key(alias.key_id)
        if key is not None:
            return key
        made = KmsKey(
            key_id=new_key_id(engine),
            account_id=account_id,
            region=region,
            manager=KeyManager.AWS,
            state=KeyState.ENABLED,
            description=DESCRIPTION,
            policy=_policy(account_id, region),
            created_at_ms=engine.now_ms(),
        )
        if engine.catalog.insert_kms_key(made, engine.keys.new_material(made.key_id, 1), EBS_ALIAS):
            return made
        if alias is not None:
            # AWS's own keys are never destroyed, and this alias never moves.
            raise row_damage(engine, f"KMS key {alias.key_id}", f"it is missing, and {EBS_ALIAS} names it")


def new_key_id(engine: Engine) -> str:
    """A random UUID, version 4."""
    return str(UUID(bytes=engine.random_bytes(16), version=4))


def _policy(account_id: AccountId, region: Region) -> str:
    """All principals of the account that use EBS, and nobody else; the account may look at the key."""
    use = {
        "Sid": "Allow access through EBS for all principals in the account that are authorized to use EBS",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [
            "kms:Encrypt",
            "kms:Decrypt",
            "kms:ReEncrypt*",
            "kms:GenerateDataKey*",
            "kms:CreateGrant",
            "kms:DescribeKey",
        ],
        "Resource": "*",
        "Condition": {
            "StringEquals": {"kms:CallerAccount": account_id, "kms:ViaService": f"ec2.{region}.amazonaws.com"}
        },
    }
    look = {
        "Sid": "Allow direct access to key metadata to the account",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account_id}:root"},
        "Action": ["kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"],
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Id": "auto-ebs-2", "Statement": [use, look]})


_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<what>key/|alias/)(?P<name>.+)"
)


def find_key(engine: Engine, account_id: AccountId, region: Region, text: str) -> KmsKey:
    """The key that an id, a key ARN, an alias or an alias ARN names. Raises KmsKeyNotFoundError, InvalidKeyArnError."""
    if text.startswith("alias/"):
        return _of_alias(engine, account_id, region, text)
    if not text.startswith("arn:"):
        return _of_id(engine, account_id, region, text)
    parsed = _ARN.fullmatch(text)
    if parsed is None:
        raise InvalidKeyArnError(f"Invalid arn {text}")
    if parsed["region"] != region:
        raise InvalidKeyArnError(f"Invalid arn {parsed['region']}")
    owner = AccountId(parsed["account"])
    if parsed["what"] == "alias/":
        return _of_alias(engine, owner, region, f"alias/{parsed['name']}", may_make=owner == account_id)
    return _of_id(engine, owner, region, parsed["name"])


def find_key_itself(engine: Engine, account_id: AccountId, region: Region, text: str) -> KmsKey:
    """As `find_key`, for operations that take no alias. Raises as that, InvalidKeyArnError for an alias too."""
    if text.startswith("alias/") or ":alias/" in text:
        raise InvalidKeyArnError(f"{text} is an alias: this operation takes a key id or a key ARN")
    return find_key(engine, account_id, region, text)


def key_named(engine: Engine, caller: Caller, text: str) -> KmsKey | None:
    """The key that a text names for a caller, or None."""
    try:
        return find_key(engine, caller.account_id, caller.region, text)
    except (KmsKeyNotFoundError, InvalidKeyArnError, UnsupportedKeyError):
        return None


def key_by_arn(engine: Engine, arn: str) -> KmsKey | None:
    """The key of exactly this ARN, in any account and region, or None."""
    parsed = _ARN.fullmatch(arn)
    key = None if parsed is None or parsed["what"] != "key/" else engine.keys.row(parsed["name"])
    return key if key is not None and key.arn == arn else None


def require_enabled(key: KmsKey) -> None:
    """Raises KmsKeyDisabledError and KmsKeyStateError unless new work may be done with the key."""
    if key.state is KeyState.DISABLED:
        raise KmsKeyDisabledError(key.arn)
    require_not_pending(key)


def require_not_pending(key: KmsKey) -> None:
    """Raises KmsKeyStateError if the key's deletion is pending."""
    if key.state is KeyState.PENDING_DELETION:
        raise KmsKeyStateError(f"{key.arn} is pending deletion.")


def alias_arn(account_id: AccountId, region: Region, name: str) -> str:
    """The ARN of an alias; `name` has its `alias/`."""
    return f"arn:aws:kms:{region}:{account_id}:{name}"


def _of_id(engine: Engine, account_id: AccountId, region: Region, key_id: str) -> KmsKey:
    if key_id.startswith("mrk-"):
        raise UnsupportedKeyError("Multi-Region keys are not supported")
    key = engine.keys.row(key_id)
    if key is None or key.account_id != account_id or key.region != region:
        raise KmsKeyNotFoundError(f"Key '{key_arn(account_id, region, key_id)}' does not exist")
    return key


def _of_alias(engine: Engine, account_id: AccountId, region: Region, name: str, *, may_make: bool = True) -> KmsKey:
    """The key behind an alias; the managed one is made for its own account alone, never because others name it."""
    if name == EBS_ALIAS and may_make:
        return managed_ebs_key(engine, account_id, region)
    alias = engine.catalog.kms_alias(account_id, region, name)
    key = None if alias is None else engine.keys.row(alias.key_id)
    if key is None:
        raise KmsKeyNotFoundError(f"Alias {alias_arn(account_id, region, name)} is not found.")
    return key


def is_encrypted_by_default(engine: Engine, account_id: AccountId, region: Region) -> bool:
    """Whether every new snapshot of an account in a region is encrypted."""
    return engine.catalog.encryption_defaults(account_id, region).encrypted


def default_key_arn(engine: Engine, account_id: AccountId, region: Region) -> str:
    """The ARN of the key for new encrypted work: the one that was set, else the AWS managed key's, made at first need.

    One that was set and is disabled or gone by now stays the default: nothing falls back to another key.
    """
    key_arn = engine.catalog.encryption_defaults(account_id, region).key_arn
    return managed_ebs_key(engine, account_id, region).arn if key_arn is None else key_arn
