"""ARNs and ids of users, roles and policies: how they are written, and read."""

from __future__ import annotations

import re
from base64 import b32decode, b32encode, b64encode
from binascii import Error as EncodingError
from collections.abc import Callable
from typing import Final

from snapstone.catalog.contract.identities import Identity, IdentityKind
from snapstone.core.ids import AccountId

RandomBytes = Callable[[int], bytes]

ID_PREFIXES: Final = {IdentityKind.USER: "AIDA", IdentityKind.ROLE: "AROA"}
POLICY_ID_PREFIX: Final = "ANPA"
LONG_TERM_PREFIX: Final = "AKIA"
TEMPORARY_PREFIX: Final = "ASIA"

BUILT_IN_ARN: Final = "arn:aws:iam::aws:policy/"
"""How the ARNs of policies begin that come with Snapstone."""

_ROLE_ARN: Final = re.compile(r"arn:aws:iam::(\d{12}):role/(?:[!-~]*/)?([\w+=,.@-]+)", re.ASCII)


def mint_id(prefix: str, random_bytes: RandomBytes) -> str:
    """`prefix` and 16 of A-Z2-7."""
    return prefix + b32encode(random_bytes(10)).decode()


def mint_temporary_key_id(account_id: AccountId, random_bytes: RandomBytes) -> str:
    """`ASIA` and 16 of A-Z2-7: the account's number in 5 bytes, and 5 random ones."""
    return TEMPORARY_PREFIX + b32encode(int(account_id).to_bytes(5, "big") + random_bytes(5)).decode()


def account_of_temporary_key(access_key_id: str) -> AccountId | None:
    """The account that such an ID names, or None if it is not one."""
    try:
        number = int.from_bytes(b32decode(access_key_id.removeprefix(TEMPORARY_PREFIX))[:5], "big")
    except EncodingError:
        return None
    return AccountId(f"{number:012d}") if number < 10**12 else None


def mint_secret(random_bytes: RandomBytes) -> str:
    """The secret of a key: 40 characters."""
    return b64encode(random_bytes(30)).decode()


def identity_arn(identity: Identity) -> str:
    """`arn:aws:iam::ACCOUNT:user/PATH/NAME`, or `role` in place of `user`."""
    return f"arn:aws:iam::{identity.account_id}:{identity.kind}{identity.path}{identity.name}"


def session_arn(account_id: AccountId, role_name: str, session_name: str) -> str:
    """Of a role's session; it has no path."""
    return f"arn:aws:sts::{account_id}:assumed-role/{role_name}/{session_name}"


def policy_arn(account_id: AccountId, path: str, name: str) -> str:
    """Of a managed policy."""
    return f"arn:aws:iam::{account_id}:policy{path}{name}"


def parse_role_arn(arn: str) -> tuple[AccountId, str] | None:
    """Account and name of a role, or None if the text is not a role's ARN."""
    match = _ROLE_ARN.fullmatch(arn)
    return None if match is None else (AccountId(match[1]), match[2])
