"""Users and roles, and their tags: the operations that create, get, list, update, delete and tag them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from snapstone.catalog.contract.identities import (
    Identity,
    IdentityKind,
    NameTakenError,
    PolicyGoneError,
    StillUsedError,
    TooManyError,
)
from snapstone.core.errors import DeleteConflictError, IdentityLimitError, IdentityValidationError
from snapstone.core.ids import AccountId
from snapstone.core.policy.principals import PrincipalKind
from snapstone.service.engine import Caller
from snapstone.service.identities.arns import ID_PREFIXES, mint_id
from snapstone.service.identities.engine import IdentityEngine
from snapstone.service.identities.members import (
    DESCRIPTION_LIMIT,
    TAG_RULE,
    Tag,
    check_length,
    check_name,
    check_path,
    check_range,
    page_of,
    read_tags,
)
from snapstone.service.identities.owners import (
    Owner,
    already_exists,
    change,
    find,
    identity_members,
    missing,
    no_policy,
)
from snapstone.service.identities.policies import check_trust, require_policy

LIMITS: Final = {IdentityKind.USER: 5_000, IdentityKind.ROLE: 1_000}
"""Of one account."""


def create_user(
    engine: IdentityEngine,
    caller: Caller,
    *,
    user_name: str,
    path: str = "/",
    permissions_boundary: str | None = None,
    tags: Sequence[Tag] | None = None,
) -> dict[str, object]:
    """A user without keys or policies."""
    user = Identity(
        mint_id(ID_PREFIXES[IdentityKind.USER], engine.random_bytes),
        IdentityKind.USER,
        caller.account_id,
        user_name,
        path,
        engine.now_ms(),
        boundary_arn=permissions_boundary,
        tags=read_tags(tags),
    )
    insert(engine, user)
    return {"User": identity_members(user, with_details=True)}


def insert(engine: IdentityEngine, identity: Identity) -> None:
    """Add a user or role. Raises IdentityValidationError, EntityAlreadyExistsError, IdentityLimitError and
    NoSuchEntityError (of the boundary)."""
    check_name(f"{identity.kind}Name", identity.name)
    check_path(identity.path)
    if identity.boundary_arn is not None:
        require_policy(engine, identity.account_id, identity.boundary_arn)
    try:
        engine.catalog.insert_identity(identity, LIMITS[identity.kind])
    except NameTakenError as error:
        raise already_exists(identity.kind, error.name) from None
    except TooManyError as error:
        quota = f"{identity.kind.capitalize()}sPerAccount"
        raise IdentityLimitError(f"Cannot exceed quota for {quota}: {error.limit}") from None
    except PolicyGoneError as error:
        raise no_policy(error.arn) from None


def get_user(engine: IdentityEngine, caller: Caller, *, user_name: str | None = None) -> dict[str, object]:
    """A user; without a name, the caller."""
    if user_name is None and caller.principal.kind is PrincipalKind.ROOT:
        return {"User": _root_members(engine, caller)}
    user = find(engine, caller.account_id, Owner(IdentityKind.USER, user_name or own_name(caller)))
    return {"User": identity_members(user, with_details=True)}


def own_name(caller: Caller) -> str:
    """The name of the user who calls. Raises IdentityValidationError for a role's session."""
    if caller.principal.kind is not PrincipalKind.USER:
        raise IdentityValidationError("Must specify userName when calling with non-User credentials")
    return caller.principal.name


def _root_members(engine: IdentityEngine, caller: Caller) -> dict[str, object]:
    account = engine.catalog.account(caller.account_id)
    return {
        "Path": "/",
        "UserName": (account and account.name) or "root",
        "UserId": caller.account_id,
        "Arn": caller.principal.arn,
        "CreateDate": 0 if account is None else account.created_at_ms,
    }


def list_users(
    engine: IdentityEngine,
    caller: Caller,
    *,
    path_prefix: str = "/",
    marker: str | None = None,
    max_items: int | None = None,
) -> dict[str, object]:
    """Users whose path begins so, by name."""
    users = engine.catalog.identities(caller.account_id, IdentityKind.USER)
    return page_of(
        (user for user in users if user.path.startswith(path_prefix)),
        lambda user: user.name.lower(),
        "Users",
        lambda user: identity_members(user, with_details=False),
        marker,
        max_items,
    )


def update_user(
    engine: IdentityEngine,
    caller: Caller,
    *,
    user_name: str,
    new_path: str | None = None,
    new_user_name: str | None = None,
) -> dict[str, object]:
    """Another name or path; keys, policies and the user's id stay."""
    if new_user_name is not None:
        check_name("newUserName", new_user_name)
    if new_path is not None:
        check_path(new_path)

    def renamed(user: Identity) -> Identity:
        return replace(user, name=user.name if new_user_name is None else new_user_name, path=new_path or user.path)

    return change(engine, caller.account_id, Owner(IdentityKind.USER, user_name), renamed)


def delete_user(engine: IdentityEngine, caller: Caller, *, user_name: str) -> dict[str, object]:
    """Delete a user who has neither keys nor policies."""
    return delete(engine, caller.account_id, Owner(IdentityKind.USER, user_name))


def delete(engine: IdentityEngine, account_id: AccountId, owner: Owner) -> dict[str, object]:
    """Delete a user or role. Raises NoSuchEntityError and DeleteConflictError."""
    try:
        deleted = engine.catalog.delete_identity(account_id, owner.kind, owner.name)
    except StillUsedError as error:
        verb = "detach all" if "attached" in error.what else "delete"
        noun = "policies" if "attached" in error.what else error.what
        raise DeleteConflictError(f"Cannot delete entity, must {verb} {noun} first.") from None
    if not deleted:
        raise missing(owner)
    return {}


def remove_user(engine: IdentityEngine, account_id: AccountId, user_name: str) -> None:
    """Delete a user with keys and policies. Raises NoSuchEntityError and IdentityValidationError."""
    owner = Owner(IdentityKind.USER, user_name)
    user = find(engine, account_id, owner)
    for key in engine.catalog.sealed_access_keys(account_id, user.identity_id):
        engine.catalog.delete_access_key(key)
    change(engine, account_id, owner, lambda each: replace(each, inline_policies=(), attached_arns=()))
    delete(engine, account_id, owner)


def list_account_aliases(
    engine: IdentityEngine, caller: Caller, *, marker: str | None = None, max_items: int | None = None
) -> dict[str, object]:
    """The account's name, if it has one."""
    account = engine.catalog.account(caller.account_id)
    names = [account.name] if account is not None and account.name else []
    return page_of(names, str, "AccountAliases", str, marker, max_items)


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
    """Replace the trust policy; existing sessions are unaffected."""
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


def tag(engine: IdentityEngine, caller: Caller, owner: Owner, *, tags: Sequence[Tag]) -> dict[str, object]:
    """Add tags, in place of those of the same key."""
    added = read_tags(tags)
    return change(
        engine,
        caller.account_id,
        owner,
        lambda identity: replace(identity, tags=tuple(sorted(TAG_RULE.added(identity.tags, added)))),
    )


def untag(engine: IdentityEngine, caller: Caller, owner: Owner, *, tag_keys: Sequence[str]) -> dict[str, object]:
    """Remove the tags of these keys; keys that it does not have change nothing."""
    return change(
        engine,
        caller.account_id,
        owner,
        lambda identity: replace(identity, tags=TAG_RULE.without(identity.tags, tag_keys)),
    )


def list_tags(
    engine: IdentityEngine, caller: Caller, owner: Owner, *, marker: str | None = None, max_items: int | None = None
) -> dict[str, object]:
    """Tags by key."""
    tags = find(engine, caller.account_id, owner).tags
    return page_of(
        tags, lambda each: each[0], "Tags", lambda each: {"Key": each[0], "Value": each[1]}, marker, max_items
    )
