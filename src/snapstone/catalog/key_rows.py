"""What rows about KMS keys look like once read: frozen values, times in milliseconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from snapstone.core.ids import AccountId, Region


class KeyManager(StrEnum):
    """Who manages a key."""

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
    """None where it is not rotated by itself."""
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
