"""The part of the catalog's contract about KMS keys, their materials, aliases and tags, and about data keys and domain
keys, which are kept sealed, never in the clear; and its rows. Times are in milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Protocol

from snapstone.core.ids import AccountId, Region


class KeyManager(StrEnum):
    """The manager of a key."""

    CUSTOMER = "CUSTOMER"
    AWS = "AWS"
    """Made by the service when first needed: alias/aws/ebs."""


class KeyState(StrEnum):
    """Whether a key may be used."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"
    PENDING_DELETION = "PendingDeletion"


@dataclass(frozen=True, slots=True)
class KmsKey:
    """One KMS key, without its material."""

    key_id: str
    """A UUID."""
    account_id: AccountId
    region: Region
    manager: KeyManager
    state: KeyState
    description: str
    policy: str
    """JSON."""
    created_at_ms: int
    deletion_at_ms: int | None = None
    """When it is destroyed: only while its deletion is pending."""
    rotation_period_days: int | None = None
    """None if it is not rotated by itself."""
    next_rotation_at_ms: int | None = None
    material_version: int = 1
    """The newest material, which new work uses."""
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def arn(self) -> str:
        return key_arn(self.account_id, self.region, self.key_id)


@dataclass(frozen=True, slots=True)
class KeyAlias:
    """A name for a key in one account and region."""

    name: str
    """With its `alias/`."""
    account_id: AccountId
    region: Region
    key_id: str
    created_at_ms: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """One rotation of a key's material."""

    version: int
    rotated_at_ms: int
    on_demand: bool


def key_arn(account_id: AccountId, region: Region, key_id: str) -> str:
    """The ARN of a key."""
    return f"arn:aws:kms:{region}:{account_id}:key/{key_id}"


class AliasTakenError(Exception):
    """An alias of that name is there already."""


class MaterialAdded(Enum):
    """The outcome of adding material."""

    ADDED = "added"
    ANOTHER = "another caller has just added some, or none is due"
    NOT_ENABLED = "the key is not enabled or was deleted"
    LIMIT = "the key has been rotated on demand as often as it may be"


class KeyCatalog(Protocol):
    """Rows of keys, durable when a call returns. Material comes and goes sealed."""

    def insert_kms_key(self, key: KmsKey, sealed_material: bytes, alias: str | None = None) -> bool:
        """Store a key with its first material, and an alias for it if one is given, or nothing of it.

        False if the alias is there already: then somebody else made such a key. Raises RowRefusedError if the id
        exists already.
        """

    def kms_key(self, key_id: str) -> KmsKey | None:
        """One key of any owner; as it is now; cheap."""

    def kms_keys(self, account_id: AccountId, region: Region) -> list[KmsKey]:
        """An account's keys in a region, in order of id."""

    def change_kms_key(self, key_id: str, change: Callable[[KmsKey], KmsKey]) -> KmsKey | None:
        """Put what `change` makes of a key in its place, inside one transaction; whatever it raises changes nothing.

        State, description, policy, tags, deletion and rotation are taken. None if there is no such key.
        """

    def key_material(self, key_id: str, version: int) -> bytes | None:
        """A version of a key's material, sealed."""

    def add_key_material(
        self, key: KmsKey, sealed_material: bytes, now_ms: int, on_demand_limit: int | None = None
    ) -> MaterialAdded:
        """Add the version after `key.material_version` to an enabled key.

        On demand if a limit to such versions is given; else because the key's own rotation is due, and then the
        next one is `rotation_period_days` after `now_ms`.
        """

    def key_rotations(self, key_id: str) -> list[KeyRotation]:
        """Every version of the material but the first, in order."""

    def kms_alias(self, account_id: AccountId, region: Region, name: str) -> KeyAlias | None:
        """One alias; as it is now; cheap."""

    def kms_aliases(self, account_id: AccountId, region: Region) -> list[KeyAlias]:
        """An account's aliases in a region, in order of name."""

    def insert_kms_alias(self, alias: KeyAlias) -> bool:
        """Store an alias; False if its key is gone or pending deletion. Raises AliasTakenError."""

    def move_kms_alias(self, account_id: AccountId, region: Region, name: str, key_id: str, now_ms: int) -> bool:
        """Let an alias name another key; False if there is no such alias, or the key is gone or pending deletion."""

    def delete_kms_alias(self, account_id: AccountId, region: Region, name: str) -> bool:
        """Remove an alias; False if there was none."""

    def keys_to_destroy(self, due_ms: int) -> Collection[str]:
        """Keys whose deletion is due."""

    def keys_to_rotate(self, due_ms: int) -> Collection[KmsKey]:
        """Enabled keys whose rotation is due."""

    def destroy_kms_key(self, key_id: str, due_ms: int) -> bool:
        """Remove a key whose deletion is due with all that it sealed: data keys, the domain key, aliases.

        False if its deletion is not due.
        """

    def forget_destroyed_keys(self) -> bool:
        """Leave nothing of destroyed keys in the catalog's files; False if a reader still needs an older state.

        Does not wait: call it again until it returns True, after a restart too.
        """


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A key as the catalog keeps it: sealed by one version of a KMS key's material."""

    key_id: str
    """Of the KMS key."""
    material_version: int
    sealed: bytes = field(repr=False)


class DataKeyCatalog(Protocol):
    """Rows that go with their KMS key: when it is destroyed, they are."""

    def insert_data_key(self, data_key_id: bytes, key: SealedKey, now_ms: int) -> bool:
        """Store a data key; False, and nothing is stored, if its KMS key does not exist any more."""

    def data_key(self, data_key_id: bytes) -> SealedKey | None:
        """The data key of that id."""

    def present_domain_key(self, key_id: str) -> SealedKey | None:
        """The domain key of a KMS key, or None if there is none (yet)."""

    def has_blocks_under(self, kms_key_arn: str) -> bool:
        """Whether blocks were written under a KMS key, to pending snapshots too. Looks through all snapshots."""

    def domain_key(self, candidate: SealedKey) -> SealedKey | None:
        """The domain key of the candidate's KMS key; the candidate becomes it if there is none yet.

        None if the KMS key does not exist any more. One winner among racing callers.
        """
