"""Who acts: an account's root, a user, or a role's session, as policies see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from snapstone.core.ids import AccountId


class PrincipalKind(StrEnum):
    """What acts, in the words of the condition key aws:PrincipalType."""

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
    """JSON of the policies that a session was narrowed to when it began; None where it was not."""
    session_issued_at_ms: int | None = None


def root_principal(account_id: AccountId) -> Principal:
    """The root of an account."""
    return Principal(PrincipalKind.ROOT, account_id, f"arn:aws:iam::{account_id}:root", account_id)
