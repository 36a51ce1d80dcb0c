"""Accounts: no API of AWS's makes them here; the command line does."""

from __future__ import annotations

from typing import Final

from snapstone.catalog.identity_contract import NameTakenError
from snapstone.catalog.identity_rows import Account
from snapstone.core.identity_errors import EntityAlreadyExistsError, NoSuchEntityError
from snapstone.core.ids import AccountId
from snapstone.service.iam.access_keys import mint_access_key
from snapstone.service.iam.arns import RandomBytes
from snapstone.service.iam.identity_engine import IdentityEngine
from snapstone.service.iam.members import check_name

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
