"""Roles: CreateRole, GetRole, ListRoles, UpdateRole, UpdateAssumeRolePolicy, DeleteRole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from snapstone.catalog.identity_rows import Identity, IdentityKind
from snapstone.service.engine import Caller
from snapstone.service.iam.arns import ID_PREFIXES, mint_id
from snapstone.service.iam.identity_engine import IdentityEngine
from snapstone.service.iam.members import DESCRIPTION_LIMIT, Tag, check_length, check_range, read_tags
from snapstone.service.iam.owners import Owner, change, find, identity_members
from snapstone.service.iam.paging import page_of
from snapstone.service.iam.stored_policies import check_trust
from snapstone.service.iam.users import delete, insert

LEAST_SESSION_SECONDS: Final = 3_600
MOST_SESSION_SECONDS: Final = 43_200


def create_role(
    engine: IdentityEngine,
    caller: Caller,
    *,
    role_name: str,
    assume_role_policy_document: str,
    path: str = "/",
    description: str = "",
    max_session_duration: int = LEAST_SESSION_SECONDS,
    permissions_boundary: str | None = None,
    tags: Sequence[Tag] | None = None,
) -> dict[str, object]:
    """A role without policies, that its trust policy lets others assume."""
    check_length("description", description, 0, DESCRIPTION_LIMIT)
    check_range("maxSessionDuration", max_session_duration, LEAST_SESSION_SECONDS, MOST_SESSION_SECONDS)
    check_trust(assume_role_policy_document)
    role = Identity(
        mint_id(ID_PREFIXES[IdentityKind.ROLE], engine.random_bytes),
        IdentityKind.ROLE,
        caller.account_id,
        role_name,
        path,
        engine.now_ms(),
        boundary_arn=permissions_boundary,
        trust_policy=assume_role_policy_document,
        description=description,
        max_session_seconds=max_session_duration,
        tags=read_tags(tags),
    )
    insert(engine, role)
    return {"Role": _members(role, with_details=True)}


def get_role(engine: IdentityEngine, caller: Caller, *, role_name: str) -> dict[str, object]:
    """One role."""
    return {"Role": _members(find(engine, caller.account_id, Owner(IdentityKind.ROLE, role_name)), with_details=True)}


def list_roles(
    engine: IdentityEngine,
    caller: Caller,
    *,
    path_prefix: str = "/",
    marker: str | None = None,
    max_items: int | None = None,
) -> dict[str, object]:
    """Roles whose path begins so, by name."""
    roles = engine.catalog.identities(caller.account_id, IdentityKind.ROLE)
    return page_of(
        (role for role in roles if role.path.startswith(path_prefix)),
        lambda role: role.name.lower(),
        "Roles",
        lambda role: _members(role, with_details=False),
        marker,
        max_items,
    )


def update_role(
    engine: IdentityEngine,
    caller: Caller,
    *,
    role_name: str,
    description: str | None = None,
    max_session_duration: int | None = None,
) -> dict[str, object]:
    """Another description or longest session."""
    if description is not None:
        check_length("description", description, 0, DESCRIPTION_LIMIT)
    if max_session_duration is not None:
        check_range("maxSessionDuration", max_session_duration, LEAST_SESSION_SECONDS, MOST_SESSION_SECONDS)

    def updated(role: Identity) -> Identity:
        return replace(
            role,
            description=role.description if description is None else description,
            max_session_seconds=max_session_duration or role.max_session_seconds,
        )

    return change(engine, caller.account_id, Owner(IdentityKind.ROLE, role_name), updated)


def update_assume_role_policy(
    engine: IdentityEngine, caller: Caller, *, role_name: str, policy_document: str
) -> dict[str, object]:
    """Another trust policy; sessions that have begun go on."""
    check_trust(policy_document)
    owner = Owner(IdentityKind.ROLE, role_name)
    return change(engine, caller.account_id, owner, lambda role: replace(role, trust_policy=policy_document))


def delete_role(engine: IdentityEngine, caller: Caller, *, role_name: str) -> dict[str, object]:
    """Delete a role that has no policies; its sessions end with it."""
    return delete(engine, caller.account_id, Owner(IdentityKind.ROLE, role_name))


def _members(role: Identity, with_details: bool) -> dict[str, object]:
    return identity_members(role, with_details) | {
        "AssumeRolePolicyDocument": quote(role.trust_policy or "", safe=""),
        "Description": role.description,
        "MaxSessionDuration": role.max_session_seconds,
    }
