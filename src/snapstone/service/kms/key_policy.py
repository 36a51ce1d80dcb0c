"""The policy of a key: what it is unless somebody says otherwise, and what may be put in its place."""

from __future__ import annotations

import json

from snapstone.core.policy.document import PolicyKind, read_policy
from snapstone.service.engine import Caller


def checked_policy(policy: str) -> str:
    """The policy as it was given. Raises MalformedPolicyError for what is no key policy."""
    read_policy(policy, PolicyKind.RESOURCE)
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
