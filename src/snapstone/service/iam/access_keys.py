"""Access keys of users and of root; and accounts, which no AWS API creates here: the command line does."""

from __future__ import annotations

from typing import Final

from snapstone.catalog.contract.identities import (
    Account,
    IdentityKind,
    NameTakenError,
    OwnerGoneError,
    SealedAccessKey,
    TooManyError,
)
from snapstone.core.errors import (
    EntityAlreadyExistsError,
    IdentityLimitError,
    IdentityValidationError,
    NoSuchEntityError,
)
from snapstone.core.ids import AccountId
from snapstone.core.policy.principals import PrincipalKind
from snapstone.service.engine import Caller
from snapstone.service.iam.users import own_name
from snapstone.service.identities.arns import LONG_TERM_PREFIX, RandomBytes, mint_id, mint_secret
from snapstone.service.identities.engine import IdentityEngine
from snapstone.service.identities.members import check_name, page_of
from snapstone.service.identities.owners import Owner, find, missing

KEY_LIMIT: Final = 2
"""Keys of one user, and of root: one in use and the one that takes its place."""

STATUSES: Final = {"Active": True, "Inactive": False}


def create_access_key(engine: IdentityEngine, caller: Caller, *, user_name: str | None = None) -> dict[str, object]:
    """A new key, with its secret, which is not shown again."""
    owner = _owner(caller, user_name)
    key, secret = mint_access_key(engine, caller.account_id, owner)
    return {"AccessKey": _members(key, owner) | {"SecretAccessKey": secret}}


def mint_access_key(engine: IdentityEngine, account_id: AccountId, owner: Owner | None) -> tuple[SealedAccessKey, str]:
    """Make and store a key of a user, or of root, and tell its secret. Raises IdentityLimitError and
    NoSuchEntityError."""
    secret = mint_secret(engine.random_bytes)
    access_key_id = mint_id(LONG_TERM_PREFIX, engine.random_bytes)
    key = sealed_key(engine, access_key_id, secret, account_id, _user_id(engine, account_id, owner))
    try:
        engine.catalog.insert_access_key(key, KEY_LIMIT)
    except TooManyError as error:
        raise IdentityLimitError(f"Cannot exceed quota for AccessKeysPerUser: {error.limit}") from None
    except OwnerGoneError:
        assert owner is not None, "root is never gone"
        raise missing(owner) from None
    return key, secret


def sealed_key(
    engine: IdentityEngine, access_key_id: str, secret: str, account_id: AccountId, user_id: str | None
) -> SealedAccessKey:
    """An active key, sealed as the catalog keeps it."""
    sealed = engine.keys.root_key.seal(secret.encode(), access_key_purpose(access_key_id))
    return SealedAccessKey(access_key_id, account_id, user_id, True, engine.now_ms(), sealed)


def access_key_purpose(access_key_id: str) -> str:
    """The purpose that a key's secret is sealed for."""
    return f"access key {access_key_id}"


def list_access_keys(
    engine: IdentityEngine,
    caller: Caller,
    *,
    user_name: str | None = None,
    marker: str | None = None,
    max_items: int | None = None,
) -> dict[str, object]:
    """A user's keys without their secrets; without a name, the caller's own."""
    owner = _owner(caller, user_name)
    return page_of(
        keys_of(engine, caller.account_id, owner),
        lambda key: key.access_key_id,
        "AccessKeyMetadata",
        lambda key: _members(key, owner),
        marker,
        max_items,
    )


def update_access_key(
    engine: IdentityEngine, caller: Caller, *, access_key_id: str, status: str, user_name: str | None = None
) -> dict[str, object]:
    """Switch a key on or off; it counts for the next request."""
    if status not in STATUSES:
        raise IdentityValidationError(
            f"1 validation error detected: Value '{status[:64]}' at 'status' failed to satisfy constraint: "
            "Member must satisfy enum value set: [Active, Inactive]"
        )
    key = find_key(engine, caller.account_id, _owner(caller, user_name), access_key_id)
    if not engine.catalog.set_access_key_active(key, STATUSES[status]):
        raise _no_key(access_key_id)
    return {}


def delete_access_key(
    engine: IdentityEngine, caller: Caller, *, access_key_id: str, user_name: str | None = None
) -> dict[str, object]:
    """Delete a key; the sessions that it requested end with it."""
    key = find_key(engine, caller.account_id, _owner(caller, user_name), access_key_id)
    if not engine.catalog.delete_access_key(key):
        raise _no_key(access_key_id)
    return {}


def keys_of(engine: IdentityEngine, account_id: AccountId, owner: Owner | None) -> list[SealedAccessKey]:
    """A user's keys, or root's, the oldest first. Raises NoSuchEntityError."""
    return engine.catalog.sealed_access_keys(account_id, _user_id(engine, account_id, owner))


def find_key(engine: IdentityEngine, account_id: AccountId, owner: Owner | None, access_key_id: str) -> SealedAccessKey:
    """A key of this user, or of root. Raises NoSuchEntityError."""
    user_id = _user_id(engine, account_id, owner)
    key = engine.catalog.sealed_access_key(access_key_id)
    if key is None or (key.account_id, key.user_id) != (account_id, user_id):
        raise _no_key(access_key_id)
    return key


def _owner(caller: Caller, user_name: str | None) -> Owner | None:
    """The user that the call is about: the named one, else the caller; None is root."""
    if user_name is None and caller.principal.kind is PrincipalKind.ROOT:
        return None
    return Owner(IdentityKind.USER, user_name or own_name(caller))


def _user_id(engine: IdentityEngine, account_id: AccountId, owner: Owner | None) -> str | None:
    return None if owner is None else find(engine, account_id, owner).identity_id


def _no_key(access_key_id: str) -> NoSuchEntityError:
    return NoSuchEntityError(f"The Access Key with id {access_key_id[:128]} cannot be found.")


def _members(key: SealedAccessKey, owner: Owner | None) -> dict[str, object]:
    return {
        "UserName": None if owner is None else owner.name,
        "AccessKeyId": key.access_key_id,
        "Status": "Active" if key.active else "Inactive",
        "CreateDate": key.created_at_ms,
    }


LEAST_ACCOUNT_NUMBER: Final = 10**11
"""An account id has twelve digits, and the first is not 0 here: some tools read it as a number."""


def mint_account_id(random_bytes: RandomBytes) -> AccountId:
    """Twelve random digits, the first not 0."""
    number = int.from_bytes(random_bytes(16), "big") % (9 * LEAST_ACCOUNT_NUMBER) + LEAST_ACCOUNT_NUMBER
    return AccountId(str(number))


def create_account(engine: IdentityEngine, name: str) -> tuple[Account, str, str]:
    """A new account, with the id and the secret of its root's access key. Raises EntityAlreadyExistsError and
    IdentityValidationError."""
    check_name("accountName", name)
    account = Account(mint_account_id(engine.random_bytes), name, engine.now_ms())
    try:
        engine.catalog.insert_account(account)
    except NameTakenError:
        raise _taken(name) from None
    key, secret = mint_access_key(engine, account.account_id, None)
    return account, key.access_key_id, secret


def rename_account(engine: IdentityEngine, account: Account, name: str) -> None:
    """Raises EntityAlreadyExistsError, IdentityValidationError and NoSuchEntityError."""
    check_name("accountName", name)
    try:
        renamed = engine.catalog.rename_account(account.account_id, name)
    except NameTakenError:
        raise _taken(name) from None
    if not renamed:
        raise NoSuchEntityError(f"There is no account {account.account_id}.")


def find_account(engine: IdentityEngine, id_or_name: str | None) -> Account:
    """An account by its id or its name; None is the first account. Raises NoSuchEntityError."""
    accounts = engine.catalog.accounts()
    for account in accounts:
        if id_or_name is None or id_or_name in (account.account_id, account.name):
            return account
    raise NoSuchEntityError("There is no account yet." if id_or_name is None else f"There is no account {id_or_name}.")


def _taken(name: str) -> EntityAlreadyExistsError:
    return EntityAlreadyExistsError(f"Account with name {name} already exists.")
