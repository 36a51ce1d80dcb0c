"""CreateTags, DeleteTags and DescribeTags through boto3; what a value that was not sent is, and one that is empty."""

from __future__ import annotations

from uuid import uuid4

import boto3
import pytest
from tests.conformance.faults import NO_SNAPSHOT, expect_refusal
from tests.conformance.given import started
from tests.conformance.raw_client import RawClient
from tests.server_process import REGION, Client, ServerProcess


def tags_of(ec2: Client, snapshot_id: str) -> dict[str, str]:
    [snapshot] = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return {tag["Key"]: tag["Value"] for tag in snapshot.get("Tags", [])}


def test_tags_are_added_changed_and_removed(ebs: Client, ec2: Client) -> None:
    snapshot_id = started(ebs, Tags=[{"Key": "a", "Value": "1"}])
    ec2.create_tags(Resources=[snapshot_id], Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": ""}, {"Key": "c"}])
    assert tags_of(ec2, snapshot_id) == {"a": "2", "b": "", "c": ""}
    ec2.delete_tags(Resources=[snapshot_id], Tags=[{"Key": "a", "Value": ""}, {"Key": "b", "Value": ""}])
    assert tags_of(ec2, snapshot_id) == {"a": "2", "c": ""}
    ec2.delete_tags(Resources=[snapshot_id], Tags=[{"Key": "a"}])
    assert tags_of(ec2, snapshot_id) == {"c": ""}
    ec2.create_tags(Resources=[snapshot_id], Tags=[{"Key": "d", "Value": "ü <&> \"'"}])
    assert tags_of(ec2, snapshot_id) == {"c": "", "d": "ü <&> \"'"}
    ec2.delete_tags(Resources=[snapshot_id])
    [snapshot] = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert "Tags" not in snapshot


def test_where_one_resource_is_missing_none_is_tagged(ebs: Client, ec2: Client) -> None:
    snapshot_id = started(ebs)
    with expect_refusal("InvalidSnapshot.NotFound", 400, None, f"The snapshot '{NO_SNAPSHOT}' does not exist."):
        ec2.create_tags(Resources=[snapshot_id, NO_SNAPSHOT], Tags=[{"Key": "a", "Value": "1"}])
    assert tags_of(ec2, snapshot_id) == {}


@pytest.mark.parametrize(
    ("resource", "tags", "code"),
    [
        (None, [{"Key": "aws:x", "Value": ""}], "InvalidTagKey.Malformed"),
        (None, [{"Key": "AWS:x", "Value": ""}], "InvalidTagKey.Malformed"),
        (None, [{"Key": "", "Value": ""}], "InvalidTagKey.Malformed"),
        (None, [{"Key": str(number), "Value": ""} for number in range(51)], "TagLimitExceeded"),
        (None, [{"Key": "a", "Value": "v" * 257}], "InvalidParameterValue"),
        ("vol-0123456789abcdef0", [{"Key": "a", "Value": ""}], "InvalidID"),
        ("snap-xyz", [{"Key": "a", "Value": ""}], "InvalidSnapshotID.Malformed"),
    ],
)
def test_what_cannot_be_is_refused(
    ebs: Client, ec2: Client, resource: str | None, tags: list[dict[str, str]], code: str
) -> None:
    with expect_refusal(code, 400):
        ec2.create_tags(Resources=[resource or started(ebs)], Tags=tags)


def test_dry_runs_change_nothing(ebs: Client, ec2: Client) -> None:
    snapshot_id = started(ebs, Tags=[{"Key": "a", "Value": "1"}])
    with expect_refusal("DryRunOperation", 412):
        ec2.create_tags(Resources=[snapshot_id], Tags=[{"Key": "b", "Value": ""}], DryRun=True)
    with expect_refusal("DryRunOperation", 412):
        ec2.delete_tags(Resources=[snapshot_id], DryRun=True)
    with expect_refusal("DryRunOperation", 412):
        ec2.describe_tags(DryRun=True)
    assert tags_of(ec2, snapshot_id) == {"a": "1"}


def test_the_paginator_joins_every_tag(ebs: Client, ec2: Client) -> None:
    value = uuid4().hex
    made = [started(ebs, Tags=[{"Key": key, "Value": value} for key in "abcd"]) for _ in range(3)]
    filters = [{"Name": "value", "Values": [value]}]
    pages = list(ec2.get_paginator("describe_tags").paginate(Filters=filters, PaginationConfig={"PageSize": 5}))
    assert [len(page["Tags"]) for page in pages] == [5, 5, 2]
    assert sorted((tag["ResourceId"], tag["Key"]) for page in pages for tag in page["Tags"]) == sorted(
        (snapshot_id, key) for snapshot_id in made for key in "abcd"
    )
    assert {tag["ResourceType"] for page in pages for tag in page["Tags"]} == {"snapshot"}


def test_boto3s_resource_tags(ebs: Client, server: ServerProcess) -> None:
    session = boto3.Session(server.key.access_key_id, server.key.secret_access_key, region_name=REGION)
    resource = session.resource("ec2", endpoint_url=server.endpoint)
    snapshot = resource.Snapshot(started(ebs))
    [tag] = snapshot.create_tags(Tags=[{"Key": "a", "Value": "1"}])
    snapshot.reload()
    assert snapshot.tags == [{"Key": "a", "Value": "1"}]
    tag.delete()
    snapshot.reload()
    assert not snapshot.tags


def test_a_change_returns_true_on_the_wire(ebs: Client, raw: RawClient) -> None:
    snapshot_id = started(ebs)
    for action in ("CreateTags", "DeleteTags"):
        answer = raw.action(action, f"ResourceId.1={snapshot_id}&Tag.1.Key=a&Tag.1.Value=")
        assert answer.status == 200
        assert b"<return>true</return>" in answer.body
