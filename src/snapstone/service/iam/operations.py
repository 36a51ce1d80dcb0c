"""The function behind each operation of IAM and of STS."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Final

from snapstone.catalog.contract.identities import IdentityKind
from snapstone.service.engine import Caller
from snapstone.service.iam import access_keys, policies, sts, users
from snapstone.service.identities.engine import IdentityEngine
from snapstone.service.identities.owners import Owner

Operation = Callable[..., dict[str, object]]
OwnerOperation = Callable[Concatenate[IdentityEngine, Caller, Owner, ...], dict[str, object]]
"""An operation that exists for users and for roles."""


def _of_user(operation: OwnerOperation) -> Operation:
    return _of_owner(operation, IdentityKind.USER)


def _of_role(operation: OwnerOperation) -> Operation:
    return _of_owner(operation, IdentityKind.ROLE)


def _of_owner(operation: OwnerOperation, kind: IdentityKind) -> Operation:
    """The operation of a user or role by name; its signature defines the members."""
    member = f"{kind}_name"

    def call(engine: IdentityEngine, caller: Caller, **members: Any) -> dict[str, object]:
        return operation(engine, caller, Owner(kind, members.pop(member)), **members)

    engine, caller, _, *own = inspect.signature(operation).parameters.values()
    named = inspect.Parameter(member, inspect.Parameter.KEYWORD_ONLY)
    vars(call)["__signature__"] = inspect.Signature([engine, caller, named, *own])
    return call


IAM_OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateUser": users.create_user,
    "GetUser": users.get_user,
    "ListUsers": users.list_users,
    "UpdateUser": users.update_user,
    "DeleteUser": users.delete_user,
    "TagUser": _of_user(users.tag),
    "UntagUser": _of_user(users.untag),
    "ListUserTags": _of_user(users.list_tags),
    "PutUserPolicy": _of_user(policies.put_policy),
    "GetUserPolicy": _of_user(policies.get_policy_of),
    "ListUserPolicies": _of_user(policies.list_policies_of),
    "DeleteUserPolicy": _of_user(policies.delete_policy_of),
    "AttachUserPolicy": _of_user(policies.attach_policy),
    "DetachUserPolicy": _of_user(policies.detach_policy),
    "ListAttachedUserPolicies": _of_user(policies.list_attached_policies),
    "PutUserPermissionsBoundary": _of_user(policies.put_permissions_boundary),
    "DeleteUserPermissionsBoundary": _of_user(policies.delete_permissions_boundary),
    "CreateAccessKey": access_keys.create_access_key,
    "ListAccessKeys": access_keys.list_access_keys,
    "UpdateAccessKey": access_keys.update_access_key,
    "DeleteAccessKey": access_keys.delete_access_key,
    "CreateRole": users.create_role,
    "GetRole": users.get_role,
    "ListRoles": users.list_roles,
    "UpdateRole": users.update_role,
    "UpdateAssumeRolePolicy": users.update_assume_role_policy,
    "DeleteRole": users.delete_role,
    "TagRole": _of_role(users.tag),
    "UntagRole": _of_role(users.untag),
    "ListRoleTags": _of_role(users.list_tags),
    "PutRolePolicy": _of_role(policies.put_policy),
    "GetRolePolicy": _of_role(policies.get_policy_of),
    "ListRolePolicies": _of_role(policies.list_policies_of),
    "DeleteRolePolicy": _of_role(policies.delete_policy_of),
    "AttachRolePolicy": _of_role(policies.attach_policy),
    "DetachRolePolicy": _of_role(policies.detach_policy),
    "ListAttachedRolePolicies": _of_role(policies.list_attached_policies),
    "PutRolePermissionsBoundary": _of_role(policies.put_permissions_boundary),
    "DeleteRolePermissionsBoundary": _of_role(policies.delete_permissions_boundary),
    "CreatePolicy": policies.create_policy,
    "GetPolicy": policies.get_policy,
    "ListPolicies": policies.list_policies,
    "DeletePolicy": policies.delete_policy,
    "CreatePolicyVersion": policies.create_policy_version,
    "GetPolicyVersion": policies.get_policy_version,
    "ListPolicyVersions": policies.list_policy_versions,
    "SetDefaultPolicyVersion": policies.set_default_policy_version,
    "DeletePolicyVersion": policies.delete_policy_version,
    "ListAccountAliases": users.list_account_aliases,
}

STS_OPERATIONS: Final[Mapping[str, Operation]] = {
    "GetCallerIdentity": sts.get_caller_identity,
    "AssumeRole": sts.assume_role,
    "GetSessionToken": sts.get_session_token,
    "GetAccessKeyInfo": sts.get_access_key_info,
}
