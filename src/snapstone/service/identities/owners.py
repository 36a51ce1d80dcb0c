"""Users and roles as calls name them: looked up, changed in one transaction, shown in answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from snapstone.catalog.contract.identities import Identity, IdentityKind, NameTakenError, PolicyGoneError
from snapstone.core.errors import EntityAlreadyExistsError, NoSuchEntityError
from snapstone.core.ids import AccountId
from snapstone.service.identities.arns import identity_arn
from snapstone.service.identities.engine import IdentityEngine
from snapstone.service.identities.members import check_name, tag_members

BOUNDARY_TYPE: Final = "PermissionsBoundaryPolicy"


@dataclass(frozen=True, slots=True)
class Owner:
    """A user or role, by name."""

    kind: IdentityKind
    name: str


def find(engine: IdentityEngine, account_id: AccountId, owner: Owner) -> Identity:
    """Raises NoSuchEntityError and IdentityValidationError."""
    check_name(f"{owner.kind}Name", owner.name, 128)
    identity = engine.catalog.identity(account_id, owner.kind, owner.name)
    if identity is None:
        raise missing(owner)
    return identity


def change(
    engine: IdentityEngine, account_id: AccountId, owner: Owner, alter: Callable[[Identity], Identity]
) -> dict[str, object]:
    """Put what `alter` makes of it in its place; the answer of a call that answers nothing.

    Raises NoSuchEntityError (also for a policy to attach), EntityAlreadyExistsError, and whatever `alter` does.
    """
    try:
        changed = engine.catalog.change_identity(account_id, owner.kind, owner.name, alter)
    except NameTakenError as error:
        raise already_exists(owner.kind, error.name) from None
    except PolicyGoneError as error:
        raise no_policy(error.arn) from None
    if changed is None:
        raise missing(owner)
    return {}


def missing(owner: Owner) -> NoSuchEntityError:
    return NoSuchEntityError(f"The {owner.kind} with name {owner.name} cannot be found.")


def already_exists(kind: IdentityKind, name: str) -> EntityAlreadyExistsError:
    return EntityAlreadyExistsError(f"{kind.capitalize()} with name {name} already exists.")


def no_policy(arn: str) -> NoSuchEntityError:
    return NoSuchEntityError(f"Policy {arn} does not exist or is not attachable.")


def identity_members(identity: Identity, with_details: bool) -> dict[str, object]:
    """The members that users and roles have in common; listings leave the details out, as AWS's do."""
    members: dict[str, object] = {
        "Path": identity.path,
        f"{identity.kind.capitalize()}Name": identity.name,
        f"{identity.kind.capitalize()}Id": identity.identity_id,
        "Arn": identity_arn(identity),
        "CreateDate": identity.created_at_ms,
    }
    if with_details and identity.boundary_arn is not None:
        members["PermissionsBoundary"] = {
            "PermissionsBoundaryType": BOUNDARY_TYPE,
            "PermissionsBoundaryArn": identity.boundary_arn,
        }
    if with_details and identity.tags:
        members["Tags"] = tag_members(identity.tags)
    return members
