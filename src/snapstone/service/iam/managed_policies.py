"""Managed policies: CreatePolicy, GetPolicy, ListPolicies, DeletePolicy, and their versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from snapstone.catalog.identity_contract import NameTakenError, StillUsedError, TooManyError
from snapstone.catalog.identity_rows import ManagedPolicy, PolicyVersion
from snapstone.core.identity_errors import (
    DeleteConflictError,
    EntityAlreadyExistsError,
    IdentityLimitError,
    NoSuchEntityError,
)
from snapstone.core.ids import AccountId
from snapstone.service.engine import Caller
from snapstone.service.iam.arns import POLICY_ID_PREFIX, mint_id, policy_arn
from snapstone.service.iam.built_in_policies import BUILT_IN, built_in
from snapstone.service.iam.identity_engine import IdentityEngine
from snapstone.service.iam.members import (
    DESCRIPTION_LIMIT,
    POLICY_NAME_LIMIT,
    Tag,
    check_length,
    check_name,
    check_path,
    read_tags,
    tag_members,
)
from snapstone.service.iam.paging import page_of
from snapstone.service.iam.stored_policies import check_policy, policy_size

POLICY_LIMIT: Final = 1_500
"""Policies of one account."""

VERSION_LIMIT: Final = 5
SIZE_LIMIT: Final = 6_144
"""Characters of a managed policy, without white space."""

Counts = Mapping[str, tuple[int, int]]


def create_policy(
    engine: IdentityEngine,
    caller: Caller,
    *,
    policy_name: str,
    policy_document: str,
    path: str = "/",
    description: str = "",
    tags: Sequence[Tag] | None = None,
) -> dict[str, object]:
    """A policy with its first version."""
    check_name("policyName", policy_name, POLICY_NAME_LIMIT)
    check_path(path)
    check_length("description", description, 0, DESCRIPTION_LIMIT)
    _check_document(policy_document)
    now_ms = engine.now_ms()
    policy = ManagedPolicy(
        policy_arn(caller.account_id, path, policy_name),
        mint_id(POLICY_ID_PREFIX, engine.random_bytes),
        caller.account_id,
        policy_name,
        path,
        description,
        now_ms,
        now_ms,
        default_version=1,
        next_version=2,
        versions=(PolicyVersion(1, policy_document, now_ms),),
        tags=read_tags(tags),
    )
    try:
        engine.catalog.insert_managed_policy(policy, POLICY_LIMIT)
    except NameTakenError:
        raise EntityAlreadyExistsError(
            f"A policy called {policy_name} already exists. Duplicate names are not allowed."
        ) from None
    except TooManyError as error:
        raise IdentityLimitError(f"Cannot exceed quota for PoliciesPerAccount: {error.limit}") from None
    return {"Policy": _members(policy, {}, with_details=True)}


def get_policy(engine: IdentityEngine, caller: Caller, *, policy_arn: str) -> dict[str, object]:
    """One policy, of the account or of those that come with Snapstone."""
    policy = _find(engine, caller.account_id, policy_arn)
    return {"Policy": _members(policy, engine.catalog.attachment_counts(caller.account_id), with_details=True)}


def list_policies(
    engine: IdentityEngine,
    caller: Caller,
    *,
    scope: str = "All",
    only_attached: bool = False,
    path_prefix: str = "/",
    policy_usage_filter: str | None = None,
    marker: str | None = None,
    max_items: int | None = None,
) -> dict[str, object]:
    """Policies of the account (scope Local), those that come with Snapstone (scope AWS), or both, by ARN."""
    own = engine.catalog.managed_policies(caller.account_id) if scope != "AWS" else []
    supplied = BUILT_IN if scope != "Local" else ()
    counts = engine.catalog.attachment_counts(caller.account_id)
    use = {"PermissionsPolicy": (0,), "PermissionsBoundary": (1,)}.get(policy_usage_filter or "", (0, 1))

    def is_wanted(policy: ManagedPolicy) -> bool:
        used = counts.get(policy.arn, (0, 0))
        asked_for_use = only_attached or policy_usage_filter is not None
        return policy.path.startswith(path_prefix) and (not asked_for_use or any(used[each] for each in use))

    return page_of(
        filter(is_wanted, (*own, *supplied)),
        lambda policy: policy.arn,
        "Policies",
        lambda policy: _members(policy, counts, with_details=False),
        marker,
        max_items,
    )


def delete_policy(engine: IdentityEngine, caller: Caller, *, policy_arn: str) -> dict[str, object]:
    """Delete a policy that is attached to nothing and has only its default version."""
    _require_own(caller.account_id, policy_arn)
    try:
        deleted = engine.catalog.delete_managed_policy(policy_arn)
    except StillUsedError as error:
        raise DeleteConflictError(
            "Cannot delete a policy attached to entities."
            if error.what == "attachments"
            else "This policy has more than one version. Before you delete a policy, you must delete the policy's "
            "versions. The default version is deleted with the policy."
        ) from None
    if not deleted:
        raise _missing(policy_arn)
    return {}


def create_policy_version(
    engine: IdentityEngine, caller: Caller, *, policy_arn: str, policy_document: str, set_as_default: bool = False
) -> dict[str, object]:
    """Another version, which counts at once where it is made the default."""
    _check_document(policy_document)
    now_ms = engine.now_ms()

    def with_version(policy: ManagedPolicy) -> ManagedPolicy:
        if len(policy.versions) >= VERSION_LIMIT:
            raise IdentityLimitError(
                f"A managed policy can have up to {VERSION_LIMIT} versions. Before you create a new version, you must "
                "delete an existing version."
            )
        return replace(
            policy,
            versions=(*policy.versions, PolicyVersion(policy.next_version, policy_document, now_ms)),
            default_version=policy.next_version if set_as_default else policy.default_version,
            next_version=policy.next_version + 1,
            updated_at_ms=now_ms,
        )

    policy = _change(engine, caller.account_id, policy_arn, with_version)
    return {"PolicyVersion": _version_members(policy, policy.versions[-1], with_document=False)}


def get_policy_version(
    engine: IdentityEngine, caller: Caller, *, policy_arn: str, version_id: str
) -> dict[str, object]:
    """One version with its document, percent-encoded as AWS sends it."""
    policy = _find(engine, caller.account_id, policy_arn)
    return {"PolicyVersion": _version_members(policy, _version(policy, version_id), with_document=True)}


def list_policy_versions(
    engine: IdentityEngine, caller: Caller, *, policy_arn: str, marker: str | None = None, max_items: int | None = None
) -> dict[str, object]:
    """Versions in the order in which they were made."""
    policy = _find(engine, caller.account_id, policy_arn)
    return page_of(
        policy.versions,
        lambda version: f"{version.number:012d}",
        "Versions",
        lambda version: _version_members(policy, version, with_document=False),
        marker,
        max_items,
    )


def set_default_policy_version(
    engine: IdentityEngine, caller: Caller, *, policy_arn: str, version_id: str
) -> dict[str, object]:
    """Which version counts."""
    now_ms = engine.now_ms()
    _change(
        engine,
        caller.account_id,
        policy_arn,
        lambda policy: replace(policy, default_version=_version(policy, version_id).number, updated_at_ms=now_ms),
    )
    return {}


def delete_policy_version(
    engine: IdentityEngine, caller: Caller, *, policy_arn: str, version_id: str
) -> dict[str, object]:
    """Delete a version that is not the default one."""

    def without_version(policy: ManagedPolicy) -> ManagedPolicy:
        gone = _version(policy, version_id)
        if gone.number == policy.default_version:
            raise DeleteConflictError("Cannot delete the default version of a policy.")
        return replace(policy, versions=tuple(version for version in policy.versions if version != gone))

    _change(engine, caller.account_id, policy_arn, without_version)
    return {}


def _check_document(document: str) -> None:
    check_policy(document)
    if policy_size(document) > SIZE_LIMIT:
        raise IdentityLimitError(f"Cannot exceed quota for PolicySize: {SIZE_LIMIT}")


def _find(engine: IdentityEngine, account_id: AccountId, arn: str) -> ManagedPolicy:
    policy = built_in(arn) or engine.catalog.managed_policy(arn)
    if policy is None or policy.account_id not in (account_id, "aws"):
        raise _missing(arn)
    return policy


def _change(
    engine: IdentityEngine, account_id: AccountId, arn: str, alter: Callable[[ManagedPolicy], ManagedPolicy]
) -> ManagedPolicy:
    _require_own(account_id, arn)
    policy = engine.catalog.change_managed_policy(arn, alter)
    if policy is None:
        raise _missing(arn)
    return policy


def _require_own(account_id: AccountId, arn: str) -> None:
    """Policies that come with Snapstone, and other accounts', are not there to be changed."""
    if not arn.startswith(f"arn:aws:iam::{account_id}:policy/"):
        raise _missing(arn)


def _missing(arn: str) -> NoSuchEntityError:
    return NoSuchEntityError(f"Policy {arn} was not found.")


def _version(policy: ManagedPolicy, version_id: str) -> PolicyVersion:
    for version in policy.versions:
        if version_id == f"v{version.number}":
            return version
    raise NoSuchEntityError(f"Policy {policy.arn} version {version_id} does not exist or is not attachable.")


def _members(policy: ManagedPolicy, counts: Counts, with_details: bool) -> dict[str, object]:
    attached, bounding = counts.get(policy.arn, (0, 0))
    members: dict[str, object] = {
        "PolicyName": policy.name,
        "PolicyId": policy.policy_id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": f"v{policy.default_version}",
        "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": bounding,
        "IsAttachable": True,
        "CreateDate": policy.created_at_ms,
        "UpdateDate": policy.updated_at_ms,
    }
    if with_details:
        members |= {"Description": policy.description, "Tags": tag_members(policy.tags)}
    return members


def _version_members(policy: ManagedPolicy, version: PolicyVersion, with_document: bool) -> dict[str, object]:
    members: dict[str, object] = {
        "VersionId": f"v{version.number}",
        "IsDefaultVersion": version.number == policy.default_version,
        "CreateDate": version.created_at_ms,
    }
    return members | ({"Document": quote(version.document, safe="")} if with_document else {})
