"""Encryption by default: whether new snapshots are encrypted unasked, and under which key."""

from __future__ import annotations

from snapstone.core.ids import AccountId, Region
from snapstone.service.engine import Engine
from snapstone.service.kms.managed import managed_ebs_key


def is_encrypted_by_default(engine: Engine, account_id: AccountId, region: Region) -> bool:
    """Whether every new snapshot of an account in a region is encrypted."""
    return engine.catalog.encryption_defaults(account_id, region).encrypted


def default_key_arn(engine: Engine, account_id: AccountId, region: Region) -> str:
    """The ARN of the key for new encrypted work: the one that was set, else the AWS managed key's, made at first need.

    One that was set and is disabled or gone by now stays the default: nothing falls back to another key.
    """
    key_arn = engine.catalog.encryption_defaults(account_id, region).key_arn
    return managed_ebs_key(engine, account_id, region).arn if key_arn is None else key_arn
