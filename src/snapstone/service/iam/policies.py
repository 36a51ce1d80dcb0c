"""Policies: managed ones with their versions, their attachment to users and roles, boundaries, and inline ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from snapstone.catalog.contract.identities import (
    Identity,
    IdentityKind,
    ManagedPolicy,
    NameTakenError,
    PolicyVersion,
    StillUsedError,
    TooManyError,
)
from snapstone.core.errors import DeleteConflictError, EntityAlreadyExistsError, IdentityLimitError, NoSuchEntityError
from snapstone.core.ids import AccountId
from snapstone.service.engine import Caller
from snapstone.service.identities.arns import POLICY_ID_PREFIX, mint_id, policy_arn
from snapstone.service.identities.engine import IdentityEngine
from snapstone.service.identities.members import (
    DESCRIPTION_LIMIT,
    POLICY_NAME_LIMIT,
    Tag,
    check_length,
    check_name,
    check_path,
    page_of,
    read_tags,
    tag_members,
)
from snapstone.service.identities.owners import Owner, change, find
from snapstone.service.identities.policies import BUILT_IN, built_in, check_policy, policy_size, require_policy

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
    """Another version, which counts at once if it is made the default."""
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
