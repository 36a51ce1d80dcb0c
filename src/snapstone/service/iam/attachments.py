"""Managed policies of users and roles: attached ones, and the one that bounds what they may do."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from snapstone.catalog.identity_rows import Identity
from snapstone.core.identity_errors import IdentityLimitError, NoSuchEntityError
from snapstone.service.engine import Caller
from snapstone.service.iam.identity_engine import IdentityEngine
from snapstone.service.iam.owners import Owner, change, find
from snapstone.service.iam.paging import page_of
from snapstone.service.iam.stored_policies import require_policy

ATTACHMENT_LIMIT: Final = 10
"""Managed policies attached to one user or role."""


def attach_policy(engine: IdentityEngine, caller: Caller, owner: Owner, *, policy_arn: str) -> dict[str, object]:
    """Attach a policy; one that is attached already stays so."""
    require_policy(engine, caller.account_id, policy_arn)

    def attached(identity: Identity) -> Identity:
        arns = {*identity.attached_arns, policy_arn}
        if len(arns) > ATTACHMENT_LIMIT:
            raise IdentityLimitError(
                f"Cannot exceed quota for PoliciesPer{owner.kind.capitalize()}: {ATTACHMENT_LIMIT}"
            )
        return replace(identity, attached_arns=tuple(sorted(arns)))

    return change(engine, caller.account_id, owner, attached)


def detach_policy(engine: IdentityEngine, caller: Caller, owner: Owner, *, policy_arn: str) -> dict[str, object]:
    """Detach an attached policy."""

    def detached(identity: Identity) -> Identity:
        if policy_arn not in identity.attached_arns:
            raise NoSuchEntityError(f"Policy {policy_arn} was not found.")
        return replace(identity, attached_arns=tuple(arn for arn in identity.attached_arns if arn != policy_arn))

    return change(engine, caller.account_id, owner, detached)


def list_attached_policies(
    engine: IdentityEngine,
    caller: Caller,
    owner: Owner,
    *,
    path_prefix: str = "/",
    marker: str | None = None,
    max_items: int | None = None,
) -> dict[str, object]:
    """Attached policies whose path begins so, by ARN."""
    arns = find(engine, caller.account_id, owner).attached_arns
    return page_of(
        (arn for arn in arns if f"/{arn.partition('/')[2]}".startswith(path_prefix)),
        str,
        "AttachedPolicies",
        lambda arn: {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn},
        marker,
        max_items,
    )


def put_permissions_boundary(
    engine: IdentityEngine, caller: Caller, owner: Owner, *, permissions_boundary: str
) -> dict[str, object]:
    """Bound what a user or role may do by a managed policy."""
    require_policy(engine, caller.account_id, permissions_boundary)
    return change(
        engine, caller.account_id, owner, lambda identity: replace(identity, boundary_arn=permissions_boundary)
    )


def delete_permissions_boundary(engine: IdentityEngine, caller: Caller, owner: Owner) -> dict[str, object]:
    """Bound it no more."""
    return change(engine, caller.account_id, owner, lambda identity: replace(identity, boundary_arn=None))
