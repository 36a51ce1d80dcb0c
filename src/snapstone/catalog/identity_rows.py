"""Rows of accounts, users, roles, access keys and managed policies, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from snapstone.core.ids import AccountId


class IdentityKind(StrEnum):
    """What policies can be given to."""

    USER = "user"
    ROLE = "role"


@dataclass(frozen=True, slots=True)
class Account:
    """One account: a namespace of users, keys and snapshots."""

    account_id: AccountId
    name: str
    """Empty for an account that nobody has named."""
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class Identity:
    """A user or a role, with all that belongs to it but its keys."""

    identity_id: str
    """`AIDA...` or `AROA...`."""
    kind: IdentityKind
    account_id: AccountId
    name: str
    path: str
    created_at_ms: int
    boundary_arn: str | None = None
    """The managed policy that bounds its permissions."""
    trust_policy: str | None = None
    """Of a role: who may assume it."""
    description: str = ""
    max_session_seconds: int = 3600
    tags: tuple[tuple[str, str], ...] = ()
    """By key, as the next two are by name and ARN."""
    inline_policies: tuple[tuple[str, str], ...] = ()
    """Name and document."""
    attached_arns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SealedAccessKey:
    """A long-term key; its secret is sealed by the installation's root key."""

    access_key_id: str
    account_id: AccountId
    user_id: str | None
    """None: the account's root."""
    active: bool
    created_at_ms: int
    sealed_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One version of a managed policy's document."""

    number: int
    document: str
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """A policy that can be attached to users and roles."""

    arn: str
    policy_id: str
    account_id: AccountId
    name: str
    path: str
    description: str
    created_at_ms: int
    updated_at_ms: int
    default_version: int
    next_version: int
    """Numbers of deleted versions are not given again."""
    versions: tuple[PolicyVersion, ...] = ()
    """By number."""
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def document(self) -> str:
        """The default version's."""
        return next(version.document for version in self.versions if version.number == self.default_version)
