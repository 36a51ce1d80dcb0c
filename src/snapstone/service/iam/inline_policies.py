"""Policies inside one user or role: Put, Get, List, Delete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from snapstone.catalog.identity_rows import Identity, IdentityKind
from snapstone.core.identity_errors import IdentityLimitError, NoSuchEntityError
from snapstone.service.engine import Caller
from snapstone.service.iam.identity_engine import IdentityEngine
from snapstone.service.iam.members import POLICY_NAME_LIMIT, check_name
from snapstone.service.iam.owners import Owner, change, find
from snapstone.service.iam.paging import page_of
from snapstone.service.iam.stored_policies import check_policy, policy_size

SIZE_LIMITS: Final[Mapping[IdentityKind, int]] = {IdentityKind.USER: 2_048, IdentityKind.ROLE: 10_240}
"""Characters of all inline policies of one identity together, without white space."""


def put_policy(
    engine: IdentityEngine, caller: Caller, owner: Owner, *, policy_name: str, policy_document: str
) -> dict[str, object]:
    """Put a policy in place of the one of its name."""
    check_name("policyName", policy_name, POLICY_NAME_LIMIT)
    check_policy(policy_document)

    def with_policy(identity: Identity) -> Identity:
        policies = dict(identity.inline_policies) | {policy_name: policy_document}
        if sum(map(policy_size, policies.values())) > SIZE_LIMITS[owner.kind]:
            raise IdentityLimitError(
                f"Maximum policy size of {SIZE_LIMITS[owner.kind]} bytes exceeded for {owner.kind} {owner.name}"
            )
        return replace(identity, inline_policies=tuple(sorted(policies.items())))

    return change(engine, caller.account_id, owner, with_policy)


def get_policy_of(engine: IdentityEngine, caller: Caller, owner: Owner, *, policy_name: str) -> dict[str, object]:
    """A policy's document, percent-encoded as AWS sends it."""
    identity = find(engine, caller.account_id, owner)
    for name, document in identity.inline_policies:
        if name == policy_name:
            return {
                f"{owner.kind.capitalize()}Name": identity.name,
                "PolicyName": name,
                "PolicyDocument": quote(document, safe=""),
            }
    raise _no_inline_policy(owner, policy_name)


def list_policies_of(
    engine: IdentityEngine, caller: Caller, owner: Owner, *, marker: str | None = None, max_items: int | None = None
) -> dict[str, object]:
    """Names of the inline policies."""
    names = [name for name, _ in find(engine, caller.account_id, owner).inline_policies]
    return page_of(names, str, "PolicyNames", str, marker, max_items)


def delete_policy_of(engine: IdentityEngine, caller: Caller, owner: Owner, *, policy_name: str) -> dict[str, object]:
    """Delete an inline policy."""

    def without_policy(identity: Identity) -> Identity:
        left = tuple(policy for policy in identity.inline_policies if policy[0] != policy_name)
        if left == identity.inline_policies:
            raise _no_inline_policy(owner, policy_name)
        return replace(identity, inline_policies=left)

    return change(engine, caller.account_id, owner, without_policy)


def _no_inline_policy(owner: Owner, policy_name: str) -> NoSuchEntityError:
    return NoSuchEntityError(f"The {owner.kind} policy with name {policy_name} cannot be found.")
