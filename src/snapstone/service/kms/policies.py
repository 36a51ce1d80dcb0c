"""KMS operations on key policies: each key has one, named `default`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from snapstone.core.errors import KmsKeyNotFoundError
from snapstone.service.engine import Caller, Engine
from snapstone.service.keys.kms_keys import find_key_itself
from snapstone.service.kms.key_operations import change_own_key, checked_policy, own_key
from snapstone.service.paging import kms_page

POLICY_NAME: Final = "default"

Answer = dict[str, object]


def get_key_policy(engine: Engine, caller: Caller, *, key_id: str, policy_name: str = POLICY_NAME) -> Answer:
    """The policy as it was put."""
    _check_name(policy_name)
    policy = find_key_itself(engine, caller.account_id, caller.region, key_id).policy
    return {"Policy": policy, "PolicyName": POLICY_NAME}


def put_key_policy(
    engine: Engine,
    caller: Caller,
    *,
    key_id: str,
    policy: str,
    policy_name: str = POLICY_NAME,
    bypass_policy_lockout_safety_check: bool = False,
) -> Answer:
    """Another policy, from the next request on."""
    _check_name(policy_name)
    key = own_key(engine, caller, key_id)
    checked = checked_policy(engine, caller, key.arn, policy, may_lock_out=bypass_policy_lockout_safety_check)
    change_own_key(engine, key, lambda row: replace(row, policy=checked))
    return {}


def list_key_policies(
    engine: Engine, caller: Caller, *, key_id: str, limit: int | None = None, marker: str | None = None
) -> Answer:
    """The one name."""
    find_key_itself(engine, caller.account_id, caller.region, key_id)
    names: Sequence[str] = [POLICY_NAME]
    return kms_page(engine, caller, f"ListKeyPolicies {key_id}", "PolicyNames", names, str, str, limit, marker)


def _check_name(policy_name: str) -> None:
    if policy_name != POLICY_NAME:
        raise KmsKeyNotFoundError(f"No such policy exists: {policy_name}")
