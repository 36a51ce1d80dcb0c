"""DescribeInstances and DescribeVolumes: there are none, which tools that look through them are told plainly."""

from __future__ import annotations

from collections.abc import Sequence

from snapstone.core.absent_errors import InstanceNotFoundError, VolumeNotFoundError
from snapstone.core.errors import DryRunPassedError
from snapstone.service.ec2.filters import Filter
from snapstone.service.engine import Caller, Engine

Answer = dict[str, object]


def describe_instances(
    engine: Engine,
    caller: Caller,
    *,
    instance_ids: Sequence[str] | None = None,
    include_managed_resources: bool = False,
    filters: Sequence[Filter] | None = None,
    max_results: int | None = None,
    next_token: str | None = None,
    dry_run: bool = False,
) -> Answer:
    """No reservation, whatever the filters; an instance that is named does not exist."""
    if dry_run:
        raise DryRunPassedError
    for instance_id in instance_ids or ():
        raise InstanceNotFoundError(instance_id)
    return {"Reservations": []}


def describe_volumes(
    engine: Engine,
    caller: Caller,
    *,
    volume_ids: Sequence[str] | None = None,
    include_managed_resources: bool = False,
    filters: Sequence[Filter] | None = None,
    max_results: int | None = None,
    next_token: str | None = None,
    dry_run: bool = False,
) -> Answer:
    """No volume, whatever the filters; one that is named does not exist."""
    if dry_run:
        raise DryRunPassedError
    for volume_id in volume_ids or ():
        raise VolumeNotFoundError(volume_id)
    return {"Volumes": []}
