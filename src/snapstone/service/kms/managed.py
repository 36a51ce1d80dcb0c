"""The AWS managed key for EBS: one for each account and region, made when first needed.

Source: docs/aws-behaviour/encryption-and-kms.md, ENC-DEF-5 and ENC-DEF-6.
"""

from __future__ import annotations

import json
from typing import Final
from uuid import UUID

from snapstone.catalog.key_rows import KeyManager, KeyState, KmsKey
from snapstone.core.ids import AccountId, Region
from snapstone.service.damage import row_damage
from snapstone.service.engine import Engine
from snapstone.service.kms.material import new_material

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
        if engine.catalog.insert_kms_key(made, new_material(engine, made.key_id, 1), EBS_ALIAS):
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
