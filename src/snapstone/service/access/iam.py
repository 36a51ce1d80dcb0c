"""Permissions of IAM's and STS's operations: on the user, role or policy that each one names; a role's trust to assume
it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from snapstone.catalog.contract.identities import Identity, IdentityKind
from snapstone.core.policy.document import PolicyKind
from snapstone.service.access.permission import (
    Keys,
    Members,
    Permission,
    Permissions,
    nothing_needed,
    on_everything,
    request_keys,
    resource_keys,
    sent_tags,
    tagging_keys,
    text_of,
)
from snapstone.service.engine import Caller, Engine
from snapstone.service.identities.arns import identity_arn, parse_role_arn, policy_arn
from snapstone.service.identities.identity import role_of_arn


def _asked(members: Members) -> Keys:
    """Tags, and the policy that is attached or set as a boundary."""
    names = {"policy_arn": "iam:policyarn", "permissions_boundary": "iam:permissionsboundary"}
    return tagging_keys(members) | {key: text_of(members, name) for name, key in names.items() if name in members}


def _on_identity(action: str, kind: IdentityKind) -> Permissions:
    """An action on the user or role that is named; without a name, on the user who calls."""
    member = f"{kind}_name"

    def needs(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
        name = text_of(members, member)
        if not name:
            yield Permission(action, caller.principal.arn, _asked(members), caller.account_id)
            return
        identity = engine.catalog.identity(caller.account_id, kind, name)
        yield Permission(
            action, _arn(caller, kind, name, identity), _asked(members) | _keys_of(identity), caller.account_id
        )

    return needs


def _arn(caller: Caller, kind: IdentityKind, name: str, identity: Identity | None) -> str:
    return f"arn:aws:iam::{caller.account_id}:{kind}/{name}" if identity is None else identity_arn(identity)


def _keys_of(identity: Identity | None) -> Keys:
    return {} if identity is None else resource_keys(identity.tags, "iam")


def _create_identity(action: str, tagging: str, kind: IdentityKind) -> Permissions:
    """A new user or role, at the path that is requested."""

    def needs(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
        path = text_of(members, "path") or "/"
        arn = f"arn:aws:iam::{caller.account_id}:{kind}{path}{text_of(members, f'{kind}_name')}"
        yield Permission(action, arn, _asked(members), caller.account_id)
        if sent_tags(members):
            yield Permission(tagging, arn, _asked(members), caller.account_id)

    return needs


def _update_user(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    """The user as it is, and as it is to be."""
    kind = IdentityKind.USER
    name = text_of(members, "user_name")
    user = engine.catalog.identity(caller.account_id, kind, name)
    yield Permission("iam:UpdateUser", _arn(caller, kind, name, user), _keys_of(user), caller.account_id)
    path = text_of(members, "new_path") or (user.path if user is not None else "/")
    renamed = f"arn:aws:iam::{caller.account_id}:{kind}{path}{text_of(members, 'new_user_name') or name}"
    yield Permission("iam:UpdateUser", renamed, _keys_of(user), caller.account_id)


def _create_policy(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    arn = policy_arn(caller.account_id, text_of(members, "path") or "/", text_of(members, "policy_name"))
    yield Permission("iam:CreatePolicy", arn, _asked(members), caller.account_id)
    if sent_tags(members):
        yield Permission("iam:TagPolicy", arn, _asked(members), caller.account_id)


def _on_policy(action: str) -> Permissions:
    def needs(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
        arn = text_of(members, "policy_arn")
        policy = engine.catalog.managed_policy(arn)
        own = policy is not None and policy.account_id == caller.account_id
        keys = resource_keys(policy.tags, "iam") if policy is not None and own else {}
        yield Permission(action, arn, keys)

    return needs


_ON_IDENTITY: Final = (
    "Get{}", "Delete{}", "Tag{}", "Untag{}", "List{}Tags", "Put{}Policy", "Get{}Policy", "List{}Policies",
    "Delete{}Policy", "Attach{}Policy", "Detach{}Policy", "ListAttached{}Policies", "Put{}PermissionsBoundary",
    "Delete{}PermissionsBoundary",
)  # fmt: skip

_ON_USER: Final = ("CreateAccessKey", "ListAccessKeys", "UpdateAccessKey", "DeleteAccessKey")
_ON_ROLE: Final = ("UpdateRole", "UpdateAssumeRolePolicy")

_ON_POLICY: Final = (
    "GetPolicy", "DeletePolicy", "CreatePolicyVersion", "GetPolicyVersion", "ListPolicyVersions",
    "SetDefaultPolicyVersion", "DeletePolicyVersion",
)  # fmt: skip

_WITHOUT_RESOURCE: Final = ("ListUsers", "ListRoles", "ListPolicies", "ListAccountAliases")


def _of(names: Iterable[str], kind: IdentityKind) -> dict[str, Permissions]:
    return {name: _on_identity(f"iam:{name}", kind) for name in names}


IAM_PERMISSIONS: Final[Mapping[str, Permissions]] = {
    **{name: on_everything(f"iam:{name}") for name in _WITHOUT_RESOURCE},
    **_of((each.format("User") for each in _ON_IDENTITY), IdentityKind.USER),
    **_of((each.format("Role") for each in _ON_IDENTITY), IdentityKind.ROLE),
    **_of(_ON_USER, IdentityKind.USER),
    **_of(_ON_ROLE, IdentityKind.ROLE),
    **{name: _on_policy(f"iam:{name}") for name in _ON_POLICY},
    "CreateUser": _create_identity("iam:CreateUser", "iam:TagUser", IdentityKind.USER),
    "CreateRole": _create_identity("iam:CreateRole", "iam:TagRole", IdentityKind.ROLE),
    "UpdateUser": _update_user,
    "CreatePolicy": _create_policy,
}


def _assume_role(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    """The role's trust policy must allow the caller. A role that does not exist allows nobody."""
    arn = text_of(members, "role_arn")
    role = role_of_arn(engine, arn)
    tags = sent_tags(members)
    asked = _asked_of_sts(members) | request_keys(tags)
    if role is not None:
        asked |= resource_keys(role.tags, "iam")
    parsed = parse_role_arn(arn)
    owner = caller.account_id if parsed is None else parsed[0]
    trust = None if role is None else role.trust_policy
    yield Permission("sts:AssumeRole", arn, asked, owner, trust, PolicyKind.TRUST)
    if tags:
        yield Permission("sts:TagSession", arn, asked, owner, trust, PolicyKind.TRUST)


def _asked_of_sts(members: Members) -> Keys:
    names = {"external_id": "sts:externalid", "role_session_name": "sts:rolesessionname"}
    return {key: text_of(members, name) for name, key in names.items() if members.get(name) is not None}


STS_PERMISSIONS: Final[Mapping[str, Permissions]] = {
    "GetCallerIdentity": nothing_needed,
    "GetSessionToken": nothing_needed,  # a key may always ask for a temporary one that may do the same
    "GetAccessKeyInfo": on_everything("sts:GetAccessKeyInfo"),
    "AssumeRole": _assume_role,
}
