"""The part of the catalog's contract about KMS keys, their materials, aliases and tags."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from typing import Protocol

from snapstone.catalog.key_rows import KeyAlias, KeyRotation, KmsKey
from snapstone.core.ids import AccountId, Region


class AliasTakenError(Exception):
    """An alias of that name is there already."""


class MaterialAdded(Enum):
    """What came of adding material."""

    ADDED = "added"
    ANOTHER = "another caller has just added some, or none is due any more"
    NOT_ENABLED = "the key is not enabled, or gone"
    LIMIT = "the key has been rotated on demand as often as it may be"


class KeyCatalog(Protocol):
    """Rows of keys, durable when a call returns. Material comes and goes sealed."""

    def insert_kms_key(self, key: KmsKey, sealed_material: bytes, alias: str | None = None) -> bool:
        """Store a key with its first material, and an alias for it where one is given, or nothing of it.

        False where the alias is there already: then somebody else made such a key. Raises RowRefusedError where the id
        exists already.
        """

    def kms_key(self, key_id: str) -> KmsKey | None:
        """One key, whoever owns it; cheap, and as it stands now."""

    def kms_keys(self, account_id: AccountId, region: Region) -> list[KmsKey]:
        """An account's keys in a region, in order of id."""

    def change_kms_key(self, key_id: str, change: Callable[[KmsKey], KmsKey]) -> KmsKey | None:
        """Put what `change` makes of a key in its place, inside one transaction; whatever it raises changes nothing.

        State, description, policy, tags, deletion and rotation are taken. None where there is no such key.
        """

    def key_material(self, key_id: str, version: int) -> bytes | None:
        """A version of a key's material, sealed."""

    def add_key_material(
        self, key: KmsKey, sealed_material: bytes, now_ms: int, on_demand_limit: int | None = None
    ) -> MaterialAdded:
        """Add the version after `key.material_version` to an enabled key.

        On demand where a limit to such versions is given; else because the key's own rotation is due, and then the
        next one is `rotation_period_days` after `now_ms`.
        """

    def key_rotations(self, key_id: str) -> list[KeyRotation]:
        """Every version of the material but the first, in order."""

    def kms_alias(self, account_id: AccountId, region: Region, name: str) -> KeyAlias | None:
        """One alias; cheap, and as it stands now."""

    def kms_aliases(self, account_id: AccountId, region: Region) -> list[KeyAlias]:
        """An account's aliases in a region, in order of name."""

    def insert_kms_alias(self, alias: KeyAlias) -> bool:
        """Store an alias; False where its key is gone or pending deletion. Raises AliasTakenError."""

    def move_kms_alias(self, account_id: AccountId, region: Region, name: str, key_id: str, now_ms: int) -> bool:
        """Let an alias name another key; False where there is no such alias, or the key is gone or pending deletion."""

    def delete_kms_alias(self, account_id: AccountId, region: Region, name: str) -> bool:
        """Remove an alias; False where there was none."""

    def keys_to_destroy(self, due_ms: int) -> Collection[str]:
        """Keys whose deletion is due."""

    def keys_to_rotate(self, due_ms: int) -> Collection[KmsKey]:
        """Enabled keys whose rotation is due."""

    def destroy_kms_key(self, key_id: str, due_ms: int) -> bool:
        """Remove a key whose deletion is due with all that it sealed: data keys, the domain key, aliases.

        False where its deletion is not due.
        """

    def forget_destroyed_keys(self) -> bool:
        """Leave nothing of destroyed keys in the catalog's files; False where a reader still needs an older state.

        Waits for nobody: to be called again until it is True, after a restart too.
        """
