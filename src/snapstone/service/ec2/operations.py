"""The function behind each operation of EC2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from snapstone.service.ec2.absent import describe_instances, describe_volumes
from snapstone.service.ec2.describe_snapshots import describe_snapshots
from snapstone.service.ec2.describe_tags import describe_tags
from snapstone.service.ec2.encryption_settings import (
    disable_ebs_encryption_by_default,
    enable_ebs_encryption_by_default,
    get_ebs_default_kms_key_id,
    get_ebs_encryption_by_default,
    modify_ebs_default_kms_key_id,
    reset_ebs_default_kms_key_id,
)
from snapstone.service.ec2.protection_operations import PROTECTION_OPERATIONS
from snapstone.service.ec2.regions import describe_regions
from snapstone.service.ec2.snapshot_attributes import (
    describe_snapshot_attribute,
    modify_snapshot_attribute,
    reset_snapshot_attribute,
)
from snapstone.service.ec2.snapshots import delete_snapshot
from snapstone.service.ec2.tags import create_tags, delete_tags
from snapstone.service.ec2.zones import describe_availability_zones

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
