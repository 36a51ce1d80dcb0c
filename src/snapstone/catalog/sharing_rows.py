"""What the rows of sharing and of regional settings look like once read: frozen values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EncryptionDefaults:
    """How an account encrypts new snapshots in a region where nobody says otherwise."""

    encrypted: bool = False
    """Whether every new snapshot is encrypted."""
    key_arn: str | None = None
    """The customer key that was set, or None: the AWS managed key."""
