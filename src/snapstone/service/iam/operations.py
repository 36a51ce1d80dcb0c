"""The function behind each operation of IAM and of STS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Final

from snapstone.catalog.identity_rows import IdentityKind
from snapstone.service.engine import Caller
from snapstone.service.iam import access_keys, attachments, inline_policies, managed_policies, roles, sts, tags, users
from snapstone.service.iam.identity_engine import IdentityEngine
from snapstone.service.iam.owners import Owner

Operation = Callable[..., dict[str, object]]
OwnerOperation = Callable[Concatenate[IdentityEngine, Caller, Owner, ...], dict[str, object]]
"""An operation that exists for users and for roles."""


def _of_user(operation: OwnerOperation) -> Operation:
    def call(engine: IdentityEngine, caller: Caller, *, user_name: str, **members: Any) -> dict[str, object]:
        return operation(engine, caller, Owner(IdentityKind.USER, user_name), **members)

    return call


def _of_role(operation: OwnerOperation) -> Operation:
    def call(engine: IdentityEngine, caller: Caller, *, role_name: str, **members: Any) -> dict[str, object]:
        return operation(engine, caller, Owner(IdentityKind.ROLE, role_name), **members)

    return call


IAM_OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateUser": users.create_user,
    "GetUser": users.get_user,
    "ListUsers": users.list_users,
    "UpdateUser": users.update_user,
    "DeleteUser": users.delete_user,
    "TagUser": _of_user(tags.tag),
    "UntagUser": _of_user(tags.untag),
    "ListUserTags": _of_user(tags.list_tags),
    "PutUserPolicy": _of_user(inline_policies.put_policy),
    "GetUserPolicy": _of_user(inline_policies.get_policy_of),
    "ListUserPolicies": _of_user(inline_policies.list_policies_of),
    "DeleteUserPolicy": _of_user(inline_policies.delete_policy_of),
    "AttachUserPolicy": _of_user(attachments.attach_policy),
    "DetachUserPolicy": _of_user(attachments.detach_policy),
    "ListAttachedUserPolicies": _of_user(attachments.list_attached_policies),
    "PutUserPermissionsBoundary": _of_user(attachments.put_permissions_boundary),
    "DeleteUserPermissionsBoundary": _of_user(attachments.delete_permissions_boundary),
    "CreateAccessKey": access_keys.create_access_key,
    "ListAccessKeys": access_keys.list_access_keys,
    "UpdateAccessKey": access_keys.update_access_key,
    "DeleteAccessKey": access_keys.delete_access_key,
    "CreateRole": roles.create_role,
    "GetRole": roles.get_role,
    "ListRoles": roles.list_roles,
    "UpdateRole": roles.update_role,
    "UpdateAssumeRolePolicy": roles.update_assume_role_policy,
    "DeleteRole": roles.delete_role,
    "TagRole": _of_role(tags.tag),
    "UntagRole": _of_role(tags.untag),
    "ListRoleTags": _of_role(tags.list_tags),
    "PutRolePolicy": _of_role(inline_policies.put_policy),
    "GetRolePolicy": _of_role(inline_policies.get_policy_of),
    "ListRolePolicies": _of_role(inline_policies.list_policies_of),
    "DeleteRolePolicy": _of_role(inline_policies.delete_policy_of),
    "AttachRolePolicy": _of_role(attachments.attach_policy),
    "DetachRolePolicy": _of_role(attachments.detach_policy),
    "ListAttachedRolePolicies": _of_role(attachments.list_attached_policies),
    "PutRolePermissionsBoundary": _of_role(attachments.put_permissions_boundary),
    "DeleteRolePermissionsBoundary": _of_role(attachments.delete_permissions_boundary),
    "CreatePolicy": managed_policies.create_policy,
    "GetPolicy": managed_policies.get_policy,
    "ListPolicies": managed_policies.list_policies,
    "DeletePolicy": managed_policies.delete_policy,
    "CreatePolicyVersion": managed_policies.create_policy_version,
    "GetPolicyVersion": managed_policies.get_policy_version,
    "ListPolicyVersions": managed_policies.list_policy_versions,
    "SetDefaultPolicyVersion": managed_policies.set_default_policy_version,
    "DeletePolicyVersion": managed_policies.delete_policy_version,
    "ListAccountAliases": users.list_account_aliases,
}

STS_OPERATIONS: Final[Mapping[str, Operation]] = {
    "GetCallerIdentity": sts.get_caller_identity,
    "AssumeRole": sts.assume_role,
    "GetSessionToken": sts.get_session_token,
    "GetAccessKeyInfo": sts.get_access_key_info,
}
