"""The part of the catalog's contract about tags, sharing and encryption by default."""

from __future__ import annotations

from typing import Protocol

from snapstone.catalog.sharing_rows import EncryptionDefaults
from snapstone.core.ids import AccountId, Region


class SharingCatalog(Protocol):
    """Rows of tags, shares and regional settings, durable when a call returns."""

    # -- encryption by default --

    def encryption_defaults(self, account_id: AccountId, region: Region) -> EncryptionDefaults:
        """What an account has set for a region, and cheap: remembered until something changes."""

    def set_encryption_by_default(self, account_id: AccountId, region: Region, encrypted: bool) -> None:
        """Turn encryption by default on or off; the default key stays as it is."""

    def set_default_key(self, account_id: AccountId, region: Region, key_arn: str | None) -> None:
        """Name the default key, or None for the AWS managed one; encryption by default stays on or off."""
