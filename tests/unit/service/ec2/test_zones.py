"""DescribeAvailabilityZones and DescribeRegions: names, ids, and which filters there are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from snapstone.core.errors import DryRunPassedError, InvalidParameterError
from snapstone.core.ids import Region
from snapstone.service.ec2.regions import describe_availability_zones, describe_regions
from tests.installation import CALLER, Installation


def zones(installation: Installation, region: str = "eu-west-1", **members: Any) -> list[dict[str, Any]]:
    caller = replace(CALLER, region=Region(region))
    answer: dict[str, Any] = describe_availability_zones(installation.engine, caller, **members)
    return list(answer["AvailabilityZones"])


def test_a_region_has_three_zones(installation: Installation) -> None:
    found = zones(installation)
    assert [zone["ZoneName"] for zone in found] == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
    assert found[0] == {
        "ZoneName": "eu-west-1a",
        "ZoneId": "euw1-az1",
        "State": "available",
        "RegionName": "eu-west-1",
        "ZoneType": "availability-zone",
        "GroupName": "eu-west-1-zg-1",
        "NetworkBorderGroup": "eu-west-1",
        "OptInStatus": "opt-in-not-required",
        "Messages": [],
    }


@pytest.mark.parametrize(
    ("region", "zone_id"),
    [
        ("us-east-1", "use1-az2"),
        ("ap-northeast-3", "apne3-az2"),
        ("ap-southeast-2", "apse2-az2"),
        ("eu-central-1", "euc1-az2"),
        ("me-south-1", "mes1-az2"),
        ("home", "home-az2"),
        ("my-lab-7", "mylab7-az2"),
    ],
)
def test_ids_abbreviate_the_region_as_aws_does(installation: Installation, region: str, zone_id: str) -> None:
    assert zones(installation, region)[1]["ZoneId"] == zone_id


@pytest.mark.parametrize(
    ("members", "letters"),
    [
        ({"zone_names": ["eu-west-1b"]}, "b"),
        ({"zone_ids": ["euw1-az3", "euw1-az1"]}, "ac"),
        ({"zone_names": ["eu-west-1b"], "zone_ids": ["euw1-az1"]}, ""),
        ({"all_availability_zones": True}, "abc"),
        ({"filters": [{"Name": "zone-name", "Values": ["*a"]}]}, "a"),
        ({"filters": [{"Name": "zone-id", "Values": ["euw1-az2"]}]}, "b"),
        ({"filters": [{"Name": "region-name", "Values": ["eu-west-1"]}]}, "abc"),
        ({"filters": [{"Name": "state", "Values": ["unavailable"]}]}, ""),
        ({"filters": [{"Name": "zone-type", "Values": ["availability-zone"]}]}, "abc"),
        ({"filters": [{"Name": "opt-in-status", "Values": ["opt-in-not-required"]}]}, "abc"),
        ({"filters": [{"Name": "group-name", "Values": ["eu-west-1-zg-1"]}]}, "abc"),
        ({"filters": [{"Name": "parent-zone-id", "Values": ["*"]}]}, ""),
        ({"filters": [{"Name": "parent-zone-name", "Values": ["*"]}]}, ""),
        ({"filters": [{"Name": "group-long-name", "Values": ["*"]}]}, ""),
        ({"filters": [{"Name": "message", "Values": ["*"]}]}, ""),
    ],
)
def test_names_ids_and_filters_select(installation: Installation, members: dict[str, Any], letters: str) -> None:
    assert "".join(zone["ZoneName"][-1] for zone in zones(installation, **members)) == letters


@pytest.mark.parametrize(
    "members",
    [
        {"zone_names": ["eu-west-2a"]},
        {"zone_ids": ["euw1-az4"]},
        {"filters": [{"Name": "tag:a", "Values": ["b"]}]},
        {"filters": [{"Name": "colour", "Values": ["b"]}]},
    ],
)
def test_what_there_is_not_is_refused(installation: Installation, members: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError):
        zones(installation, **members)


def test_a_dry_run_describes_nothing(installation: Installation) -> None:
    with pytest.raises(DryRunPassedError):
        zones(installation, dry_run=True)


def test_regions_have_no_tags_to_filter_by(installation: Installation) -> None:
    with pytest.raises(InvalidParameterError):
        describe_regions(installation.engine, CALLER, filters=[{"Name": "tag-key", "Values": ["a"]}])
