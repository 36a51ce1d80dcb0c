"""There are neither instances nor volumes, and who names one is told so."""

from __future__ import annotations

import pytest

from snapstone.core.errors import DryRunPassedError, InstanceNotFoundError, VolumeNotFoundError
from snapstone.service.ec2.filters import Filter
from snapstone.service.ec2.regions import describe_instances, describe_volumes
from tests.installation import CALLER, Installation


def test_lists_are_empty_whatever_the_filters(installation: Installation) -> None:
    filters: list[Filter] = [{"Name": "instance-state-name", "Values": ["running"]}]
    assert describe_instances(installation.engine, CALLER, filters=filters) == {"Reservations": []}
    assert describe_volumes(installation.engine, CALLER) == {"Volumes": []}


def test_what_is_named_does_not_exist(installation: Installation) -> None:
    with pytest.raises(InstanceNotFoundError):
        describe_instances(installation.engine, CALLER, instance_ids=["i-0123456789abcdef0"])
    with pytest.raises(VolumeNotFoundError):
        describe_volumes(installation.engine, CALLER, volume_ids=["vol-ffffffff"])


def test_a_dry_run_comes_first(installation: Installation) -> None:
    with pytest.raises(DryRunPassedError):
        describe_instances(installation.engine, CALLER, instance_ids=["i-0123456789abcdef0"], dry_run=True)
    with pytest.raises(DryRunPassedError):
        describe_volumes(installation.engine, CALLER, volume_ids=["vol-ffffffff"], dry_run=True)
