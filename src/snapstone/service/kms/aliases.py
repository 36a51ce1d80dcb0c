"""KMS operations on aliases: names for keys, one account and region each."""

from __future__ import annotations

from typing import Final

from snapstone.catalog.contract.keys import AliasTakenError, KeyAlias, KmsKey
from snapstone.core.errors import AliasExistsError, InvalidAliasNameError, KmsKeyNotFoundError
from snapstone.service.engine import Caller, Engine
from snapstone.service.keys.kms_keys import alias_arn, find_key_itself, managed_ebs_key, require_not_pending
from snapstone.service.kms.key_operations import own_key
from snapstone.service.paging import kms_page

PREFIX: Final = "alias/"
RESERVED: Final = "alias/aws/"

Answer = dict[str, object]


def create_alias(engine: Engine, caller: Caller, *, alias_name: str, target_key_id: str) -> Answer:
    """Name a key. Raises InvalidAliasNameError, AliasExistsError."""
    _check_name(alias_name)
    now_ms = engine.now_ms()
    while True:
        key = _nameable(engine, caller, target_key_id)
        alias = KeyAlias(alias_name, caller.account_id, caller.region, key.key_id, now_ms, now_ms)
        try:
            if engine.catalog.insert_kms_alias(alias):
                return {}
        except AliasTakenError:
            raise AliasExistsError(alias_arn(caller.account_id, caller.region, alias_name)) from None


def update_alias(engine: Engine, caller: Caller, *, alias_name: str, target_key_id: str) -> Answer:
    """Let an alias name another key."""
    _check_name(alias_name)
    while True:
        key = _nameable(engine, caller, target_key_id)
        if engine.catalog.kms_alias(caller.account_id, caller.region, alias_name) is None:
            raise _missing(caller, alias_name)
        if engine.catalog.move_kms_alias(caller.account_id, caller.region, alias_name, key.key_id, engine.now_ms()):
            return {}


def delete_alias(engine: Engine, caller: Caller, *, alias_name: str) -> Answer:
    """Take a name away; its key stays."""
    _check_name(alias_name)
    if not engine.catalog.delete_kms_alias(caller.account_id, caller.region, alias_name):
        raise _missing(caller, alias_name)
    return {}


def list_aliases(
    engine: Engine, caller: Caller, *, key_id: str | None = None, limit: int | None = None, marker: str | None = None
) -> Answer:
    """The account's aliases in a region, or those of one key; alias/aws/ebs is always there."""
    managed_ebs_key(engine, caller.account_id, caller.region)
    aliases = engine.catalog.kms_aliases(caller.account_id, caller.region)
    if key_id is not None:
        wanted = find_key_itself(engine, caller.account_id, caller.region, key_id).key_id
        aliases = [alias for alias in aliases if alias.key_id == wanted]
    return kms_page(
        engine, caller, f"ListAliases {key_id}", "Aliases", aliases, lambda alias: alias.name, _shown, limit, marker
    )


def _nameable(engine: Engine, caller: Caller, key_id: str) -> KmsKey:
    key = own_key(engine, caller, key_id)
    require_not_pending(key)
    return key


def _shown(alias: KeyAlias) -> Answer:
    return {
        "AliasName": alias.name,
        "AliasArn": alias_arn(alias.account_id, alias.region, alias.name),
        "TargetKeyId": alias.key_id,
        "CreationDate": alias.created_at_ms,
        "LastUpdatedDate": alias.updated_at_ms,
    }


def _check_name(name: str) -> None:
    if not name.startswith(PREFIX) or name == PREFIX:
        raise InvalidAliasNameError(f"Alias must start with the prefix '{PREFIX}': {name}")
    if name.startswith(RESERVED):
        raise InvalidAliasNameError(f"{name}: names that start with '{RESERVED}' are reserved")


def _missing(caller: Caller, name: str) -> KmsKeyNotFoundError:
    return KmsKeyNotFoundError(f"Alias {alias_arn(caller.account_id, caller.region, name)} is not found.")
