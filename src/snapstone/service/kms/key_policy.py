"""The policy of a key: what it is unless somebody says otherwise, and what may be put in its place."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from snapstone.core.identity_errors import MalformedPolicyError
from snapstone.core.policy.document import PolicyKind, read_policy
from snapstone.core.policy.evaluation import Decision, Question, decide
from snapstone.service.engine import Caller, Engine
from snapstone.service.iam.identity import policies_of

MAX_POLICY_SIZE: Final = 32_768
"""Bytes (AWS KMS quotas)."""


def checked_policy(engine: Engine, caller: Caller, key_arn: str, policy: str, *, may_lock_out: bool) -> str:
    """The policy as it was given.

    Raises MalformedPolicyError for what is no key policy, and, unless the caller wants it so, for one that would not
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
    """What a key has whose maker names no policy: its account decides by its own policies who may do what."""
    statement = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{caller.account_id}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement]})
