"""The function behind each operation of EC2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from snapstone.service.ec2.describe_snapshots import describe_snapshots
from snapstone.service.ec2.describe_tags import describe_tags
from snapstone.service.ec2.protection_operations import PROTECTION_OPERATIONS
from snapstone.service.ec2.regions import describe_regions
from snapstone.service.ec2.snapshots import delete_snapshot
from snapstone.service.ec2.tags import create_tags, delete_tags
from snapstone.service.ec2.zones import describe_availability_zones

EC2_OPERATIONS: Final[Mapping[str, Callable[..., dict[str, object]]]] = {
    "DescribeSnapshots": describe_snapshots,
    "DeleteSnapshot": delete_snapshot,
    "CreateTags": create_tags,
    "DeleteTags": delete_tags,
    "DescribeTags": describe_tags,
    "DescribeRegions": describe_regions,
    "DescribeAvailabilityZones": describe_availability_zones,
    **PROTECTION_OPERATIONS,
}
