"""The function behind each operation of EC2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from snapstone.service.ec2.copies import copy_snapshot
from snapstone.service.ec2.encryption_settings import (
    disable_ebs_encryption_by_default,
    enable_ebs_encryption_by_default,
    get_ebs_default_kms_key_id,
    get_ebs_encryption_by_default,
    modify_ebs_default_kms_key_id,
    reset_ebs_default_kms_key_id,
)
from snapstone.service.ec2.locks import describe_locked_snapshots, lock_snapshot, unlock_snapshot
from snapstone.service.ec2.recycle_bin import list_snapshots_in_recycle_bin, restore_snapshot_from_recycle_bin
from snapstone.service.ec2.regions import (
    describe_availability_zones,
    describe_instances,
    describe_regions,
    describe_volumes,
)
from snapstone.service.ec2.snapshot_attributes import (
    describe_snapshot_attribute,
    disable_snapshot_block_public_access,
    enable_snapshot_block_public_access,
    get_snapshot_block_public_access_state,
    modify_snapshot_attribute,
    reset_snapshot_attribute,
)
from snapstone.service.ec2.snapshots import delete_snapshot, describe_snapshots
from snapstone.service.ec2.tags import create_tags, delete_tags, describe_tags
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


EC2_OPERATIONS: Final[Mapping[str, Callable[..., dict[str, object]]]] = {
    "DescribeSnapshots": describe_snapshots,
    "DeleteSnapshot": delete_snapshot,
    "DescribeSnapshotAttribute": describe_snapshot_attribute,
    "ModifySnapshotAttribute": modify_snapshot_attribute,
    "ResetSnapshotAttribute": reset_snapshot_attribute,
    "CreateTags": create_tags,
    "DeleteTags": delete_tags,
    "DescribeTags": describe_tags,
    "DescribeRegions": describe_regions,
    "DescribeAvailabilityZones": describe_availability_zones,
    "DescribeInstances": describe_instances,
    "DescribeVolumes": describe_volumes,
    "GetEbsEncryptionByDefault": get_ebs_encryption_by_default,
    "EnableEbsEncryptionByDefault": enable_ebs_encryption_by_default,
    "DisableEbsEncryptionByDefault": disable_ebs_encryption_by_default,
    "GetEbsDefaultKmsKeyId": get_ebs_default_kms_key_id,
    "ModifyEbsDefaultKmsKeyId": modify_ebs_default_kms_key_id,
    "ResetEbsDefaultKmsKeyId": reset_ebs_default_kms_key_id,
    **PROTECTION_OPERATIONS,
}
