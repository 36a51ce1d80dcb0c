"""KMS operations on keys as such: created, described, listed, enabled, disabled, deleted; and key policies."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from snapstone.catalog.contract.keys import KeyManager, KeyState, KmsKey, key_arn
from snapstone.core.errors import (
    KeyTagError,
    KmsKeyNotFoundError,
    KmsKeyStateError,
    MalformedPolicyError,
    ManagedKeyError,
    UnsupportedKeyError,
)
from snapstone.core.policy.document import PolicyKind, read_policy
from snapstone.core.policy.evaluation import Decision, Question, decide
from snapstone.core.protection import DAY_MS
from snapstone.core.tags import MAX_TAGS, SentTags, TagProblem, TagRule
from snapstone.service.engine import Caller, Engine
from snapstone.service.identities.identity import policies_of
from snapstone.service.keys.kms_keys import find_key, find_key_itself, new_key_id, require_not_pending
from snapstone.service.paging import kms_page

MAX_POLICY_SIZE: Final = 32_768
"""Bytes (AWS KMS quotas)."""


def checked_policy(engine: Engine, caller: Caller, key_arn: str, policy: str, *, may_lock_out: bool) -> str:
    """The policy as it was given.

    Raises MalformedPolicyError if it is not a key policy, and, unless the caller wants it so, for one that would not
    let the caller put another in its place.
    """
    if len(policy.encode()) > MAX_POLICY_SIZE:
        raise MalformedPolicyError(f"A key policy has at most {MAX_POLICY_SIZE} bytes")
    document = read_policy(policy, PolicyKind.RESOURCE)
    policies = replace(policies_of(engine, caller.principal), resource=document, resource_must_allow=True)
    question = Question(caller.principal, "kms:PutKeyPolicy", key_arn, {}, caller.account_id)
    if not may_lock_out and decide(question, policies) is not Decision.ALLOWED:
        raise MalformedPolicyError("The new key policy will not allow you to update the key policy in the future.")
    return policy


def default_policy(caller: Caller) -> str:
    """The default policy of a key: the account's own policies decide."""
    statement = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{caller.account_id}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement]})


SYMMETRIC: Final = "SYMMETRIC_DEFAULT"

Answer = dict[str, object]


def _tag_error(problem: TagProblem, key: str) -> KeyTagError:
    match problem:
        case TagProblem.RESERVED:
            return KeyTagError(f"Tag keys starting with 'aws:' are reserved: {key}")
        case TagProblem.DUPLICATE:
            return KeyTagError("A tag key was given twice")
        case TagProblem.TOO_MANY_SENT | TagProblem.TOO_MANY_KEPT:
            return KeyTagError(f"A key takes at most {MAX_TAGS} tags")
        case _:
            return KeyTagError(f"Tag keys have 1 to 128 characters and values at most 256: {key}")


TAG_RULE: Final = TagRule(_tag_error, key_member="TagKey", value_member="TagValue")


def create_key(
    engine: Engine,
    caller: Caller,
    *,
    description: str = "",
    key_usage: str = "ENCRYPT_DECRYPT",
    key_spec: str | None = None,
    customer_master_key_spec: str | None = None,
    origin: str = "AWS_KMS",
    policy: str | None = None,
    tags: SentTags = (),
    multi_region: bool = False,
    bypass_policy_lockout_safety_check: bool = False,
    custom_key_store_id: str | None = None,
    xks_key_id: str | None = None,
) -> Answer:
    """Make a symmetric key of the caller's account in a region; other kinds raise UnsupportedKeyError."""
    for member, value, only in (
        ("KeyUsage", key_usage, "ENCRYPT_DECRYPT"),
        ("KeySpec", key_spec or customer_master_key_spec or SYMMETRIC, SYMMETRIC),
        ("Origin", origin, "AWS_KMS"),
        ("MultiRegion", multi_region, False),
        ("CustomKeyStoreId", custom_key_store_id, None),
        ("XksKeyId", xks_key_id, None),
    ):
        if value != only:
            raise UnsupportedKeyError(f"{member} {value} is not offered: keys are {SYMMETRIC} of the origin AWS_KMS")
    key_id = new_key_id(engine)
    if policy:
        arn = key_arn(caller.account_id, caller.region, key_id)
        checked_policy(engine, caller, arn, policy, may_lock_out=bypass_policy_lockout_safety_check)
    key = KmsKey(
        key_id=key_id,
        account_id=caller.account_id,
        region=caller.region,
        manager=KeyManager.CUSTOMER,
        state=KeyState.ENABLED,
        description=description,
        policy=policy or default_policy(caller),
        created_at_ms=engine.now_ms(),
        tags=tuple(sorted(TAG_RULE.sent(tags))),
    )
    engine.catalog.insert_kms_key(key, engine.keys.new_material(key.key_id, 1))
    return {"KeyMetadata": metadata(key)}


def describe_key(engine: Engine, caller: Caller, *, key_id: str, grant_tokens: Sequence[str] | None = None) -> Answer:
    """All that is known of a key but its material and policy; an alias will do."""
    return {"KeyMetadata": metadata(find_key(engine, caller.account_id, caller.region, key_id))}


def list_keys(engine: Engine, caller: Caller, *, limit: int | None = None, marker: str | None = None) -> Answer:
    """The account's keys in a region, in order of id."""
    keys = engine.catalog.kms_keys(caller.account_id, caller.region)
    return kms_page(
        *(engine, caller, "ListKeys", "Keys", keys),
        lambda key: key.key_id,
        lambda key: {"KeyId": key.key_id, "KeyArn": key.arn},
        *(limit, marker),
    )


def enable_key(engine: Engine, caller: Caller, *, key_id: str) -> Answer:
    """Let a key be used; it may be enabled already."""
    return _set_state(engine, caller, key_id, KeyState.ENABLED)


def disable_key(engine: Engine, caller: Caller, *, key_id: str) -> Answer:
    """Stop every use of a key, at once and on every server process."""
    return _set_state(engine, caller, key_id, KeyState.DISABLED)


def update_key_description(engine: Engine, caller: Caller, *, key_id: str, description: str) -> Answer:
    """Another description."""
    change_key(engine, caller, key_id, lambda key: replace(key, description=description))
    return {}


def schedule_key_deletion(engine: Engine, caller: Caller, *, key_id: str, pending_window_in_days: int = 30) -> Answer:
    """Stop every use of a key, and destroy it after 7 to 30 days: what it encrypted is unreadable from then on."""
    deletion_at_ms = engine.timekeeper.dated_ms() + pending_window_in_days * DAY_MS
    key = change_key(
        engine,
        caller,
        key_id,
        lambda key: replace(key, state=KeyState.PENDING_DELETION, deletion_at_ms=deletion_at_ms),
    )
    return {
        "KeyId": key.arn,
        "DeletionDate": deletion_at_ms,
        "KeyState": key.state,
        "PendingWindowInDays": pending_window_in_days,
    }


def cancel_key_deletion(engine: Engine, caller: Caller, *, key_id: str) -> Answer:
    """Keep a key whose deletion is pending; it is disabled then."""

    def cancel(key: KmsKey) -> KmsKey:
        if key.state is not KeyState.PENDING_DELETION:
            raise KmsKeyStateError(f"{key.arn} is not pending deletion.")
        return replace(key, state=KeyState.DISABLED, deletion_at_ms=None)

    return {"KeyId": change_own_key(engine, own_key(engine, caller, key_id), cancel).arn}


def tag_resource(engine: Engine, caller: Caller, *, key_id: str, tags: SentTags) -> Answer:
    """Add tags to a key, in place of those with the same keys."""
    sent = TAG_RULE.sent(tags)
    change_key(engine, caller, key_id, lambda key: replace(key, tags=tuple(sorted(TAG_RULE.added(key.tags, sent)))))
    return {}


def untag_resource(engine: Engine, caller: Caller, *, key_id: str, tag_keys: Sequence[str]) -> Answer:
    """Take tags away; those that are not there do not matter."""
    change_key(engine, caller, key_id, lambda key: replace(key, tags=TAG_RULE.without(key.tags, tag_keys)))
    return {}


def list_resource_tags(
    engine: Engine, caller: Caller, *, key_id: str, limit: int | None = None, marker: str | None = None
) -> Answer:
    """A key's tags, in order of tag key."""
    tags = find_key_itself(engine, caller.account_id, caller.region, key_id).tags
    return kms_page(
        *(engine, caller, f"ListResourceTags {key_id}", "Tags", tags),
        lambda tag: tag[0],
        lambda tag: {"TagKey": tag[0], "TagValue": tag[1]},
        *(limit, marker),
    )


def metadata(key: KmsKey) -> Answer:
    """KeyMetadata (docs/aws-behaviour/encryption-and-kms.md, KMS-5)."""
    return {
        "AWSAccountId": key.account_id,
        "KeyId": key.key_id,
        "Arn": key.arn,
        "CreationDate": key.created_at_ms,
        "Enabled": key.state is KeyState.ENABLED,
        "Description": key.description,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": str(key.state),
        "DeletionDate": key.deletion_at_ms,
        "Origin": "AWS_KMS",
        "KeyManager": str(key.manager),
        "CustomerMasterKeySpec": SYMMETRIC,
        "KeySpec": SYMMETRIC,
        "EncryptionAlgorithms": [SYMMETRIC],
        "MultiRegion": False,
    }


def own_key(engine: Engine, caller: Caller, key_id: str) -> KmsKey:
    """A customer managed key named by id or ARN. Raises ManagedKeyError for one that AWS manages."""
    key = find_key_itself(engine, caller.account_id, caller.region, key_id)
    if key.manager is KeyManager.AWS:
        raise ManagedKeyError(f"{key.arn} is managed by AWS: it can be used, not changed")
    return key


def change_key(engine: Engine, caller: Caller, key_id: str, change: Callable[[KmsKey], KmsKey]) -> KmsKey:
    """Change a customer managed key whose deletion is not pending. Raises as `own_key`, and KmsKeyStateError."""

    def checked(key: KmsKey) -> KmsKey:
        require_not_pending(key)
        return change(key)

    return change_own_key(engine, own_key(engine, caller, key_id), checked)


def change_own_key(engine: Engine, key: KmsKey, change: Callable[[KmsKey], KmsKey]) -> KmsKey:
    """Change a key in whatever state it is. Raises KmsKeyNotFoundError if it is gone."""
    changed = engine.catalog.change_kms_key(key.key_id, change)
    if changed is None:
        raise KmsKeyNotFoundError(f"Key '{key.arn}' does not exist")
    return changed


def _set_state(engine: Engine, caller: Caller, key_id: str, state: KeyState) -> Answer:
    change_key(engine, caller, key_id, lambda key: replace(key, state=state))
    return {}
