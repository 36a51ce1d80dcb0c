"""The part of the catalog's contract about accounts, users, roles, access keys and policies, and its rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from snapstone.core.ids import AccountId


class IdentityKind(StrEnum):
    """What policies can be attached to."""

    USER = "user"
    ROLE = "role"


@dataclass(frozen=True, slots=True)
class Account:
    """One account: a namespace of users, keys and snapshots."""

    account_id: AccountId
    name: str
    """Empty for an account without a name."""
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


@dataclass(eq=False)
class NameTakenError(Exception):
    """Another account, user, role or policy has this name."""

    name: str


@dataclass(eq=False)
class TooManyError(Exception):
    """A limit is reached."""

    limit: int


@dataclass(eq=False)
class PolicyGoneError(Exception):
    """A policy that an identity was to be given does not exist (any more)."""

    arn: str


class OwnerGoneError(Exception):
    """The user that was to have a key does not exist (any more)."""


@dataclass(eq=False)
class StillUsedError(Exception):
    """The object to delete still has, or is attached to, something."""

    what: str
    """Of a user or role `policies`, `attached policies` or `access keys`; of a policy `attachments` or `versions`."""


class IdentityCatalog(Protocol):
    """Rows of identities, durable when a call returns.

    Names of users, roles and policies differ by more than case: each is found by its name in any case, and lists by
    name take no notice of it. A policy whose ARN is of the account `aws` has no row, and is always there.
    """

    # -- accounts --

    def account(self, account_id: AccountId) -> Account | None:
        """The account of that id."""

    def accounts(self) -> list[Account]:
        """All accounts, in the order in which they were added."""

    def insert_account(self, account: Account) -> None:
        """Add an account. Raises NameTakenError, also where the id is taken."""

    def rename_account(self, account_id: AccountId, name: str) -> bool:
        """Name an account; False if there is none. Raises NameTakenError."""

    # -- users and roles --

    def identity(self, account_id: AccountId, kind: IdentityKind, name: str) -> Identity | None:
        """The user or role of that name."""

    def remembered_identity(self, identity_id: str) -> Identity | None:
        """The user or role of that id, as it is now; cheap."""

    def remembered_role(self, account_id: AccountId, name: str) -> Identity | None:
        """The role of that name, as it is now; cheap."""

    def identities(self, account_id: AccountId, kind: IdentityKind) -> list[Identity]:
        """All users or all roles of an account, by name."""

    def insert_identity(self, identity: Identity, limit: int) -> None:
        """Add a user or role. Raises NameTakenError, TooManyError and PolicyGoneError."""

    def change_identity(
        self, account_id: AccountId, kind: IdentityKind, name: str, change: Callable[[Identity], Identity]
    ) -> Identity | None:
        """Put what `change` makes of a user or role in its place, in one transaction; None if there is none.

        Whatever `change` raises leaves it as it was. Raises NameTakenError and PolicyGoneError (of policies that it
        was not attached to before).
        """

    def delete_identity(self, account_id: AccountId, kind: IdentityKind, name: str) -> bool:
        """Delete a user or role that has no keys and no policies; False if there is none. Raises StillUsedError."""

    # -- access keys --

    def sealed_access_key(self, access_key_id: str) -> SealedAccessKey | None:
        """The key of that id, as it is now; cheap."""

    def sealed_access_keys(self, account_id: AccountId, user_id: str | None) -> list[SealedAccessKey]:
        """A user's keys, or root's, the oldest first."""

    def insert_access_key(self, key: SealedAccessKey, limit: int) -> None:
        """Add a key of an existing user or of root. Raises TooManyError, NameTakenError if the id is taken, and
        OwnerGoneError if the user does not exist (any more)."""

    def set_access_key_active(self, key: SealedAccessKey, active: bool) -> bool:
        """Switch a key on or off; False if it is gone."""

    def delete_access_key(self, key: SealedAccessKey) -> bool:
        """Delete a key; False if it is gone."""

    # -- managed policies --

    def managed_policy(self, arn: str) -> ManagedPolicy | None:
        """The policy of that ARN, as it is now; cheap."""

    def managed_policies(self, account_id: AccountId) -> list[ManagedPolicy]:
        """All policies of an account, by name."""

    def insert_managed_policy(self, policy: ManagedPolicy, limit: int) -> None:
        """Add a policy. Raises NameTakenError and TooManyError."""

    def change_managed_policy(self, arn: str, change: Callable[[ManagedPolicy], ManagedPolicy]) -> ManagedPolicy | None:
        """As `change_identity`; name and path stay."""

    def delete_managed_policy(self, arn: str) -> bool:
        """Delete a policy that nothing has, with its only version; False if there is none. Raises StillUsedError."""

    def attachment_counts(self, account_id: AccountId) -> dict[str, tuple[int, int]]:
        """By ARN: how many of an account's users and roles a policy is attached to, and how many it bounds."""
