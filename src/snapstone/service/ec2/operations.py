"""The function behind each operation of EC2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from snapstone.service.ec2.regions import describe_regions
from snapstone.service.ec2.snapshots import delete_snapshot, describe_snapshots

EC2_OPERATIONS: Final[Mapping[str, Callable[..., dict[str, object]]]] = {
    "DescribeSnapshots": describe_snapshots,
    "DeleteSnapshot": delete_snapshot,
    "DescribeRegions": describe_regions,
}
