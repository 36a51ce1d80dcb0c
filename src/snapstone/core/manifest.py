"""The manifest of a sealed snapshot: what its catalog row cannot be rebuilt without, as canonical JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final

from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError
from snapstone.core.ids import AccountId, Region, SnapshotId

MANIFEST_VERSION: Final = 2
"""Of an encrypted snapshot; a plain one has version 1, without keys."""

PLAIN_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """One sealed snapshot. Times are milliseconds since the epoch."""

    snapshot_id: SnapshotId
    account_id: AccountId
    region: Region
    volume_size_gib: int
    parent_id: SnapshotId | None
    lineage_id: SnapshotId
    root: Address
    block_count: int
    description: str | None
    tags: tuple[tuple[str, str], ...]
    started_at_ms: int
    sealed_at_ms: int
    kms_key_arn: str | None = None
    data_key_id: bytes | None = None

    def encode(self) -> bytes:
        """Canonical JSON: the same manifest is the same bytes, so that sealing twice stores it once."""
        members = asdict(self) | {"version": MANIFEST_VERSION, "root": self.root.hex()}
        if self.data_key_id is None:
            del members["kms_key_arn"], members["data_key_id"]
            members["version"] = PLAIN_VERSION
        else:
            members["data_key_id"] = self.data_key_id.hex()
        return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()


def decode_manifest(content: bytes) -> Manifest:
    """The manifest in a stored object. Raises DamageError if it is not a manifest, or of a newer version."""
    try:
        members = json.loads(content)
        version = members.pop("version")
        members["root"] = Address(bytes.fromhex(members["root"]))
        members["tags"] = tuple((key, value) for key, value in members["tags"])
        if version == MANIFEST_VERSION:
            members["data_key_id"] = bytes.fromhex(members["data_key_id"])
        manifest = Manifest(**members)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError("manifest", f"not a manifest: {error}") from error
    if version not in (PLAIN_VERSION, MANIFEST_VERSION):
        raise DamageError("manifest", f"unknown manifest version {version}")
    return manifest


def manifest_address(snapshot_id: SnapshotId) -> Address:
    """Where a snapshot's manifest is stored: found by the snapshot's id alone."""
    return Address(sha256(b"snapstone manifest\0" + snapshot_id.encode("ascii")).digest())
