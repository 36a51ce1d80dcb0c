"""Zones, and the instances and volumes that there are none of, through boto3."""

from __future__ import annotations

from tests.conformance.faults import expect_refusal
from tests.server_process import Client, ServerProcess


def test_every_region_has_three_zones_with_stable_ids(server: ServerProcess) -> None:
    ec2 = server.client("ec2", region="eu-west-1")
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert [(zone["ZoneName"], zone["ZoneId"], zone["State"]) for zone in zones] == [
        ("eu-west-1a", "euw1-az1", "available"),
        ("eu-west-1b", "euw1-az2", "available"),
        ("eu-west-1c", "euw1-az3", "available"),
    ]
    assert all(zone["RegionName"] == "eu-west-1" and zone["Messages"] == [] for zone in zones)
    [one] = ec2.describe_availability_zones(Filters=[{"Name": "zone-name", "Values": ["*c"]}])["AvailabilityZones"]
    assert one["ZoneId"] == "euw1-az3"
    with expect_refusal("InvalidParameterValue", 400):
        ec2.describe_availability_zones(ZoneNames=["us-east-1a"])
    with expect_refusal("DryRunOperation", 412):
        ec2.describe_availability_zones(DryRun=True)


def test_there_are_no_instances_and_no_volumes(ec2: Client) -> None:
    filters = [{"Name": "instance-state-name", "Values": ["running"]}]
    assert ec2.describe_instances(Filters=filters)["Reservations"] == []
    assert ec2.describe_volumes()["Volumes"] == []
    with expect_refusal("InvalidInstanceID.NotFound", 400):
        ec2.describe_instances(InstanceIds=["i-0123456789abcdef0"])
    with expect_refusal("InvalidVolume.NotFound", 400):
        ec2.describe_volumes(VolumeIds=["vol-ffffffff"])
