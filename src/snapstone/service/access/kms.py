"""Permissions of KMS operations: the key's own policy always has a say (docs/aws-behaviour/iam-and-sts.md, PERM)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from snapstone.catalog.contract.keys import KmsKey, key_arn
from snapstone.core.errors import InvalidCiphertextError
from snapstone.core.ids import AccountId
from snapstone.service.access.permission import (
    Keys,
    Members,
    Permission,
    Permissions,
    on_everything,
    removed_keys,
    request_keys,
    resource_keys,
    sent_tags,
    text_of,
)
from snapstone.service.engine import Caller, Engine
from snapstone.service.keys.ciphertext import parse_ciphertext
from snapstone.service.keys.kms_keys import EBS_ALIAS, alias_arn, key_named

_ACCOUNT: Final = re.compile(r"\d{12}", re.ASCII)


def key_need(engine: Engine, caller: Caller, key: KmsKey, action: str, asked: Keys) -> Permission:
    """The permission for an action on a key."""
    aliases = tuple(
        alias.name for alias in engine.catalog.kms_aliases(key.account_id, key.region) if alias.key_id == key.key_id
    )
    keys: Keys = {
        "kms:calleraccount": caller.account_id,
        "kms:keyspec": "SYMMETRIC_DEFAULT",
        "kms:keyusage": "ENCRYPT_DECRYPT",
        "kms:keyorigin": "AWS_KMS",
    }
    if aliases:
        keys["kms:resourcealiases"] = aliases
    return Permission(action, key.arn, keys | resource_keys(key.tags) | asked, key.account_id, key.policy)


def _named(engine: Engine, caller: Caller, text: str, action: str, asked: Keys) -> Permission:
    """The permission for the key that a text names. One that does not exist is asked about without its facts.

    A key that is not there and one whose policy keeps the caller out are denied in the same words.
    """
    shown = _arn_as_sent(caller, text)
    owner = _account_in(shown)
    # another account's managed key is its own affair: looking for it would make it
    foreign_managed = owner != caller.account_id and shown.endswith(f":{EBS_ALIAS}")
    key = None if foreign_managed else key_named(engine, caller, text)
    if key is None:
        return Permission(action, shown, {"kms:calleraccount": caller.account_id} | asked, owner)
    need = key_need(engine, caller, key, action, asked)
    return replace(need, denied_as=shown)


def _arn_as_sent(caller: Caller, text: str) -> str:
    if text.startswith("arn:"):
        return text
    if text.startswith("alias/"):
        return alias_arn(caller.account_id, caller.region, text)
    return key_arn(caller.account_id, caller.region, text)


def _account_in(arn: str) -> AccountId | None:
    fields = arn.split(":")
    return AccountId(fields[4]) if len(fields) > 5 and _ACCOUNT.fullmatch(fields[4]) else None


def _on_key(action: str, member: str = "key_id", context: str | None = None) -> Permissions:
    def needs(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
        asked: Keys = {} if context is None else _context_keys(members, context)
        yield _named(engine, caller, text_of(members, member), action, asked)

    return needs


def _context_keys(members: Members, name: str) -> Keys:
    """kms:EncryptionContext:k and kms:EncryptionContextKeys."""
    context = members.get(name)
    if not isinstance(context, Mapping) or not context:
        return {}
    keys: Keys = {f"kms:encryptioncontext:{str(key).lower()}": str(value) for key, value in context.items()}
    return keys | {"kms:encryptioncontextkeys": tuple(str(key) for key in context)}


def _create_key(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    tags = sent_tags(members, "tags", "TagKey", "TagValue")
    keys: Keys = {
        "kms:calleraccount": caller.account_id,
        "kms:keyspec": text_of(members, "key_spec") or "SYMMETRIC_DEFAULT",
        "kms:keyusage": text_of(members, "key_usage") or "ENCRYPT_DECRYPT",
    }
    yield Permission("kms:CreateKey", "*", keys | request_keys(tags))
    if tags:
        yield Permission("kms:TagResource", "*", keys | request_keys(tags))


def _tag(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    asked = request_keys(sent_tags(members, "tags", "TagKey", "TagValue"))
    yield _named(engine, caller, text_of(members, "key_id"), "kms:TagResource", asked)


def _untag(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    yield _named(engine, caller, text_of(members, "key_id"), "kms:UntagResource", removed_keys(members))


def _on_alias(action: str) -> Permissions:
    """The alias, and each key that it names or is to name."""

    def needs(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
        name = text_of(members, "alias_name")
        asked: Keys = {"kms:calleraccount": caller.account_id}
        yield Permission(action, alias_arn(caller.account_id, caller.region, name), asked, caller.account_id)
        alias = engine.catalog.kms_alias(caller.account_id, caller.region, name)
        if alias is not None and action != "kms:CreateAlias":
            yield _named(engine, caller, alias.key_id, action, {})
        if "target_key_id" in members:
            yield _named(engine, caller, text_of(members, "target_key_id"), action, {})

    return needs


def _of_ciphertext(
    engine: Engine, caller: Caller, members: Members, key_member: str, action: str, context: str
) -> Permission:
    """Permission on the key of a ciphertext; one that is not the caller's is named as it was sent."""
    asked = _context_keys(members, context)
    blob = members.get("ciphertext_blob")
    try:
        key_id = parse_ciphertext(blob).key_id if isinstance(blob, bytes) else ""
    except InvalidCiphertextError:
        key_id = ""
    key = engine.catalog.kms_key(key_id) if key_id else None
    if key is not None and (key.account_id, key.region) == (caller.account_id, caller.region):
        return key_need(engine, caller, key, action, asked)
    named = text_of(members, key_member)
    return _named(engine, caller, named, action, asked) if named else Permission(action, "*", asked)


def _decrypt(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    yield _of_ciphertext(engine, caller, members, "key_id", "kms:Decrypt", "encryption_context")


def _re_encrypt(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    yield _of_ciphertext(engine, caller, members, "source_key_id", "kms:ReEncryptFrom", "source_encryption_context")
    asked = _context_keys(members, "destination_encryption_context")
    yield _named(engine, caller, text_of(members, "destination_key_id"), "kms:ReEncryptTo", asked)


_WITHOUT_RESOURCE: Final = ("ListKeys", "ListAliases", "GenerateRandom")

_ON_KEY: Final = (
    "DescribeKey", "EnableKey", "DisableKey", "UpdateKeyDescription", "ScheduleKeyDeletion", "CancelKeyDeletion",
    "ListResourceTags", "GetKeyPolicy", "PutKeyPolicy", "ListKeyPolicies", "EnableKeyRotation", "DisableKeyRotation",
    "GetKeyRotationStatus", "RotateKeyOnDemand", "ListKeyRotations",
)  # fmt: skip

_WITH_CONTEXT: Final = ("Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext")

KMS_PERMISSIONS: Final[Mapping[str, Permissions]] = {
    **{name: on_everything(f"kms:{name}") for name in _WITHOUT_RESOURCE},
    **{name: _on_key(f"kms:{name}") for name in _ON_KEY},
    **{name: _on_key(f"kms:{name}", context="encryption_context") for name in _WITH_CONTEXT},
    "CreateKey": _create_key,
    "TagResource": _tag,
    "UntagResource": _untag,
    "CreateAlias": _on_alias("kms:CreateAlias"),
    "UpdateAlias": _on_alias("kms:UpdateAlias"),
    "DeleteAlias": _on_alias("kms:DeleteAlias"),
    "Decrypt": _decrypt,
    "ReEncrypt": _re_encrypt,
}
