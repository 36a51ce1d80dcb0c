"""Principals (an account's root, a user, a role's session), and the Principal element of a policy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Final

from snapstone.core.ids import AccountId

PRINCIPALS_CACHED: Final = 1_024
"""Root principals that are kept: each signed request of an account's root asks for its own."""


class PrincipalKind(StrEnum):
    """Kinds of principals, as in the condition key aws:PrincipalType."""

    ROOT = "Account"
    USER = "User"
    ROLE = "AssumedRole"


@dataclass(frozen=True, slots=True)
class Principal:
    """One principal, as the signature proved it."""

    kind: PrincipalKind
    account_id: AccountId
    arn: str
    """`arn:aws:iam::ACCOUNT:root`, `arn:aws:iam::ACCOUNT:user/PATH/NAME`, or for a session of a role
    `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`."""
    user_id: str
    """The account id for root, `AIDA...` for a user, `AROA...:SESSION` for a role's session."""
    name: str = ""
    """The user's or the role's name."""
    role_arn: str | None = None
    """Of a role's session: the role's own ARN, which policies may name in place of the session's."""
    tags: Mapping[str, str] = field(default_factory=dict)
    session_policies: tuple[str, ...] | None = None
    """JSON of the policies that a session was narrowed to when it began; None if it was not."""
    session_issued_at_ms: int | None = None


@lru_cache(maxsize=PRINCIPALS_CACHED)
def root_principal(account_id: AccountId) -> Principal:
    """The root of an account."""
    return Principal(PrincipalKind.ROOT, account_id, f"arn:aws:iam::{account_id}:root", account_id)


_ACCOUNT: Final = re.compile(r"\d{12}", re.ASCII)
_NAME: Final = r"[\w+=,.@-]+"
_ARN: Final = re.compile(
    rf"arn:aws:(?:iam::\d{{12}}:(?:root|(?:user|role)/(?:[!-)+->@-~]*/)?{_NAME})"
    rf"|sts::\d{{12}}:(?:assumed-role/{_NAME}/{_NAME}|federated-user/{_NAME}))",
    re.ASCII,
)
_SERVICE: Final = re.compile(r"[a-z0-9.-]+\.amazonaws\.com", re.ASCII)


class PrincipalMatch(IntEnum):
    """How closely a resource's policy names a principal, from not at all upwards."""

    NONE = 0
    ACCOUNT = 1
    """It names the principal's account, which leaves the choice to the account's own policies."""
    ROLE = 2
    """It names everyone, or the role of a session: sessions and boundaries still narrow that."""
    ITSELF = 3
    """It names the root, the user or the session itself."""


@dataclass(frozen=True, slots=True)
class Principals:
    """Those whom a Principal or NotPrincipal element lists."""

    names: frozenset[str]
    """ARNs; an account is listed as its root's."""
    everyone: bool = False
    excluded: bool = False
    """Whether it is a NotPrincipal element."""

    def reach(self, principal: Principal) -> PrincipalMatch:
        """How closely a Principal element names a principal."""
        if principal.arn in self.names:
            return PrincipalMatch.ITSELF
        if self.everyone or principal.role_arn in self.names:
            return PrincipalMatch.ROLE
        return PrincipalMatch.ACCOUNT if _root_arn(principal) in self.names else PrincipalMatch.NONE

    def concerns(self, principal: Principal) -> bool:
        """Whether a statement that denies is about a principal.

        NotPrincipal spares only whom it lists together with the account, and for a session with the role too, as
        AWS's documents ask.
        """
        if not self.excluded:
            return self.reach(principal) > PrincipalMatch.NONE
        return not (self.everyone or _identities(principal) <= self.names)


def read_principal(kind: str, name: str) -> str | None:
    """The ARN that an entry of `{"AWS": ...}` or `{"Service": ...}` names, or None. Raises ValueError for none."""
    if kind == "Service" and _SERVICE.fullmatch(name):
        return None
    if kind == "AWS" and _ACCOUNT.fullmatch(name):
        return f"arn:aws:iam::{name}:root"
    if kind == "AWS" and _ARN.fullmatch(name):
        return name
    raise ValueError("is not an account, a root's, user's, role's or session's ARN without wildcards, or a service")


def _root_arn(principal: Principal) -> str:
    return f"arn:aws:iam::{principal.account_id}:root"


def _identities(principal: Principal) -> set[str]:
    """All that must be spared for a principal to be spared."""
    own = {_root_arn(principal), principal.arn}
    return own | {principal.role_arn} if principal.kind is PrincipalKind.ROLE and principal.role_arn else own
