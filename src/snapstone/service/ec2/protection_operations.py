"""The function behind each operation of EC2 that protects snapshots or copies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from snapstone.service.ec2.copies import copy_snapshot
from snapstone.service.ec2.locks import describe_locked_snapshots, lock_snapshot, unlock_snapshot
from snapstone.service.ec2.public_access import (
    disable_snapshot_block_public_access,
    enable_snapshot_block_public_access,
    get_snapshot_block_public_access_state,
)
from snapstone.service.ec2.recycle_bin import list_snapshots_in_recycle_bin, restore_snapshot_from_recycle_bin
from snapstone.service.ec2.tiers import describe_snapshot_tier_status, modify_snapshot_tier, restore_snapshot_tier

PROTECTION_OPERATIONS: Final[Mapping[str, Callable[..., dict[str, object]]]] = {
    "CopySnapshot": copy_snapshot,
    "LockSnapshot": lock_snapshot,
    "UnlockSnapshot": unlock_snapshot,
    "DescribeLockedSnapshots": describe_locked_snapshots,
    "EnableSnapshotBlockPublicAccess": enable_snapshot_block_public_access,
    "DisableSnapshotBlockPublicAccess": disable_snapshot_block_public_access,
    "GetSnapshotBlockPublicAccessState": get_snapshot_block_public_access_state,
    "ListSnapshotsInRecycleBin": list_snapshots_in_recycle_bin,
    "RestoreSnapshotFromRecycleBin": restore_snapshot_from_recycle_bin,
    "ModifySnapshotTier": modify_snapshot_tier,
    "RestoreSnapshotTier": restore_snapshot_tier,
    "DescribeSnapshotTierStatus": describe_snapshot_tier_status,
}
