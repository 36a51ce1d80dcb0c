"""Managed policies that come with Snapstone, for every account: full access, reading, and a backup's two sides."""

from __future__ import annotations

from base64 import b32encode
from hashlib import sha256
from typing import Final

from snapstone.catalog.identity_rows import ManagedPolicy, PolicyVersion
from snapstone.core.ids import AccountId
from snapstone.core.policy.managed import MANAGED_POLICIES
from snapstone.service.iam.arns import BUILT_IN_ARN, POLICY_ID_PREFIX

BUILT_IN: Final = tuple(
    ManagedPolicy(
        arn,
        POLICY_ID_PREFIX + b32encode(sha256(arn.encode()).digest()[:10]).decode(),
        AccountId("aws"),
        arn.removeprefix(BUILT_IN_ARN),
        "/",
        "",
        created_at_ms=0,
        updated_at_ms=0,
        default_version=1,
        next_version=2,
        versions=(PolicyVersion(1, document, 0),),
    )
    for arn, document in MANAGED_POLICIES.items()
)

_BY_ARN: Final = {policy.arn: policy for policy in BUILT_IN}


def built_in(arn: str) -> ManagedPolicy | None:
    """A policy that comes with Snapstone, or None."""
    return _BY_ARN.get(arn)
