"""EC2's view of snapshots: DescribeSnapshots, DeleteSnapshot, DescribeRegions (docs/aws-behaviour/snapshots.md)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import WaiterError
from tests.conformance.faults import NO_SNAPSHOT, expect_refusal, expect_snapshot_not_found
from tests.conformance.given import ZERO, A, B, complete, completed, content, failed, put, started
from tests.conformance.raw_client import FORM, Answer, RawClient
from tests.server_process import REGION, Client, ServerProcess


def described(ec2: Client, snapshot_id: str) -> Any:
    """One snapshot as EC2 shows it."""
    (snapshot,) = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return snapshot


def ids(answer: Any) -> list[str]:
    """The ids on one page, in order."""
    return [snapshot["SnapshotId"] for snapshot in answer["Snapshots"]]


def found(ec2: Client, name: str, *values: str, among: Sequence[str]) -> set[int]:
    """Which of the snapshots `among` pass one filter, by their place."""
    passed = set(ids(ec2.describe_snapshots(Filters=[{"Name": name, "Values": list(values)}])))
    return {place for place, snapshot_id in enumerate(among) if snapshot_id in passed}


def expect_snapshot_gone(snapshot_id: str) -> AbstractContextManager[None]:
    """Expect EC2's answer for an id that nobody has."""
    return expect_refusal("InvalidSnapshot.NotFound", 400, None, f"The snapshot '{snapshot_id}' does not exist.")


class TestDescription:
    def test_a_pending_snapshot(self, ebs: Client, ec2: Client) -> None:
        started_answer = ebs.start_snapshot(VolumeSize=3, Description="nightly")
        put(ebs, started_answer["SnapshotId"], 0, A, Progress=50)
        snapshot = described(ec2, started_answer["SnapshotId"])
        assert snapshot["State"] == "pending"
        assert snapshot["Progress"] == "0%"
        assert snapshot["VolumeSize"] == 3
        assert snapshot["Description"] == "nightly"
        assert snapshot["OwnerId"] == started_answer["OwnerId"]
        assert snapshot["VolumeId"] == "vol-ffffffff"
        assert snapshot["Encrypted"] is False
        assert snapshot["StorageTier"] == "standard"
        assert abs(snapshot["StartTime"] - started_answer["StartTime"]) < timedelta(milliseconds=2)
        assert not {"CompletionTime", "StateMessage", "KmsKeyId", "Tags"} & snapshot.keys()

    def test_a_pending_child_has_no_full_size_yet(self, ebs: Client, ec2: Client) -> None:
        child = started(ebs, ParentSnapshotId=completed(ebs, {0: A}))
        assert "FullSnapshotSizeInBytes" not in described(ec2, child)

    def test_a_completed_snapshot(self, ebs: Client, ec2: Client) -> None:
        snapshot = described(ec2, completed(ebs, {0: A}))
        assert snapshot["State"] == "completed"
        assert snapshot["Progress"] == "100%"
        assert snapshot["StartTime"] <= snapshot["CompletionTime"] <= datetime.now(UTC) + timedelta(seconds=1)
        assert snapshot["FullSnapshotSizeInBytes"] == 524_288
        assert "StateMessage" not in snapshot

    def test_a_full_size_is_of_all_present_blocks(self, ebs: Client, ec2: Client) -> None:
        parent = completed(ebs, {0: A, 1: A})
        child = completed(ebs, {1: B, 2: ZERO}, ParentSnapshotId=parent)
        assert described(ec2, child)["FullSnapshotSizeInBytes"] == 3 * 524_288

    def test_a_snapshot_in_error_says_why(self, ebs: Client, ec2: Client) -> None:
        snapshot = described(ec2, failed(ebs))
        assert snapshot["State"] == "error"
        assert snapshot["StateMessage"] == "Changed blocks count mismatch for snapshot"
        assert "CompletionTime" not in snapshot

    def test_no_description_is_an_empty_one(self, ebs: Client, ec2: Client) -> None:
        assert described(ec2, started(ebs))["Description"] == ""

    def test_tags_and_every_character_of_a_description_come_back(self, ebs: Client, ec2: Client) -> None:
        text, tags = 'a <b> & "c" Größe 東京', [{"Key": "<k>", "Value": "&v"}, {"Key": "empty", "Value": ""}]
        snapshot = described(ec2, started(ebs, Description=text, Tags=tags))
        assert snapshot["Description"] == text
        assert sorted(snapshot["Tags"], key=lambda tag: str(tag["Key"])) == tags


class TestSelection:
    def test_without_arguments_all_are_shown_in_order_of_start(self, ebs: Client, ec2: Client) -> None:
        made = [started(ebs), completed(ebs, {}), failed(ebs)]
        answer = ec2.describe_snapshots()
        order = [(snapshot["StartTime"], snapshot["SnapshotId"]) for snapshot in answer["Snapshots"]]
        assert order == sorted(order)
        assert set(made) <= set(ids(answer))
        assert "NextToken" not in answer

    def test_ids_select(self, ebs: Client, ec2: Client) -> None:
        one, two, _ = started(ebs), started(ebs), started(ebs)
        assert set(ids(ec2.describe_snapshots(SnapshotIds=[one, two]))) == {one, two}

    def test_an_empty_list_of_ids_selects_all(self, ebs: Client, ec2: Client) -> None:
        assert started(ebs) in ids(ec2.describe_snapshots(SnapshotIds=[]))

    def test_an_unknown_id_is_not_found(self, ebs: Client, ec2: Client) -> None:
        with expect_snapshot_gone(NO_SNAPSHOT):
            ec2.describe_snapshots(SnapshotIds=[started(ebs), NO_SNAPSHOT])

    @pytest.mark.parametrize("malformed", ["snap-xyz", "snap-0123456789abcdef", "snap-00000000000000000"])
    def test_a_malformed_id_is_told_in_double_quotes(self, ec2: Client, malformed: str) -> None:
        with expect_refusal("InvalidSnapshotID.Malformed", 400, None, f'Invalid id: "{malformed}"'):
            ec2.describe_snapshots(SnapshotIds=[malformed])

    def test_what_is_no_snapshot_id_at_all_is_an_invalid_value(self, ec2: Client) -> None:
        with expect_refusal("InvalidParameterValue", 400):
            ec2.describe_snapshots(SnapshotIds=["disk"])

    def test_a_snapshot_in_another_region_is_not_found(self, ebs: Client, server: ServerProcess) -> None:
        snapshot_id = started(ebs)
        elsewhere = server.client("ec2", region="us-west-2")
        assert snapshot_id not in ids(elsewhere.describe_snapshots())
        with expect_snapshot_gone(snapshot_id):
            elsewhere.describe_snapshots(SnapshotIds=[snapshot_id])

    def test_owners_select(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = started(ebs)
        owner = described(ec2, snapshot_id)["OwnerId"]
        for owners in (["self"], [owner], ["999999999999", "self"]):
            assert snapshot_id in ids(ec2.describe_snapshots(OwnerIds=owners)), owners
        for owners in (["999999999999"], ["amazon"]):
            assert ids(ec2.describe_snapshots(OwnerIds=owners)) == [], owners

    def test_a_malformed_owner_is_refused(self, ec2: Client) -> None:
        with expect_refusal("InvalidUserID.Malformed", 400):
            ec2.describe_snapshots(OwnerIds=["me"])

    def test_who_may_restore_selects(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = started(ebs)
        assert snapshot_id in ids(ec2.describe_snapshots(RestorableByUserIds=["self"]))
        for nobody in (["all"], ["999999999999"]):
            assert ids(ec2.describe_snapshots(RestorableByUserIds=nobody)) == []

    def test_a_dry_run_describes_nothing(self, ec2: Client) -> None:
        with expect_refusal("DryRunOperation", 412):
            ec2.describe_snapshots(DryRun=True)


class TestFilters:
    def test_a_tag_and_its_value(self, ebs: Client, ec2: Client) -> None:
        key = uuid4().hex
        made = [started(ebs, Tags=[{"Key": key, "Value": value}]) for value in ("one", "two", "")]
        assert found(ec2, f"tag:{key}", "one", among=made) == {0}
        assert found(ec2, f"tag:{key}", "one", "two", among=made) == {0, 1}
        assert found(ec2, f"tag:{key}", "One", among=made) == set()
        assert found(ec2, f"tag:{key}", "", among=made) == {2}
        assert found(ec2, "tag-key", key, among=made) == {0, 1, 2}
        assert found(ec2, "tag-key", key.upper() + "x", among=made) == set()

    def test_a_status(self, ebs: Client, ec2: Client) -> None:
        made = [started(ebs), completed(ebs, {}), failed(ebs)]
        for place, status in enumerate(["pending", "completed", "error"]):
            assert found(ec2, "status", status, among=made) == {place}

    def test_an_id(self, ebs: Client, ec2: Client) -> None:
        made = [started(ebs), started(ebs)]
        assert found(ec2, "snapshot-id", made[1], among=made) == {1}
        assert ids(ec2.describe_snapshots(Filters=[{"Name": "snapshot-id", "Values": [NO_SNAPSHOT]}])) == []

    def test_a_description_with_wildcards(self, ebs: Client, ec2: Client) -> None:
        run = uuid4().hex
        texts = [f"{run} disk 1", f"{run} disk 12", f"{run} disk *", f"{run} DISK 1"]
        made = [started(ebs, Description=text) for text in texts]
        assert found(ec2, "description", f"{run} disk 1", among=made) == {0}
        assert found(ec2, "description", f"{run} disk ?", among=made) == {0, 2}
        assert found(ec2, "description", f"{run} disk 1*", among=made) == {0, 1}
        assert found(ec2, "description", f"{run} *", among=made) == {0, 1, 2, 3}
        assert found(ec2, "description", f"{run} disk \\*", among=made) == {2}
        assert found(ec2, "description", "*disk 1", among=made) == {0}

    def test_progress(self, ebs: Client, ec2: Client) -> None:
        made = [started(ebs), completed(ebs, {})]
        assert found(ec2, "progress", "100%", among=made) == {1}
        assert found(ec2, "progress", "0%", among=made) == {0}

    def test_a_volume_and_its_size(self, ebs: Client, ec2: Client) -> None:
        made = [started(ebs), started(ebs, VolumeSize=7)]
        assert found(ec2, "volume-size", "7", among=made) == {1}
        assert found(ec2, "volume-id", "vol-ffffffff", among=made) == {0, 1}
        assert found(ec2, "volume-id", "vol-0123456789abcdef0", among=made) == set()

    def test_an_owner(self, ebs: Client, ec2: Client) -> None:
        made = [started(ebs)]
        owner = described(ec2, made[0])["OwnerId"]
        assert found(ec2, "owner-id", owner, among=made) == {0}
        assert found(ec2, "owner-id", "999999999999", among=made) == set()
        assert found(ec2, "owner-alias", "amazon", among=made) == set()

    def test_encryption_and_tier(self, ebs: Client, ec2: Client) -> None:
        made = [started(ebs)]
        assert found(ec2, "encrypted", "false", among=made) == {0}
        assert found(ec2, "encrypted", "true", among=made) == set()
        assert found(ec2, "storage-tier", "standard", among=made) == {0}
        assert found(ec2, "storage-tier", "archive", among=made) == set()

    def test_a_start_time(self, ebs: Client, ec2: Client) -> None:
        made = [started(ebs)]
        at = described(ec2, made[0])["StartTime"]
        assert found(ec2, "start-time", at.strftime("%Y-%m-%d*"), among=made) == {0}
        assert found(ec2, "start-time", "2020-01-01T*", among=made) == set()

    def test_all_filters_must_pass(self, ebs: Client, ec2: Client) -> None:
        key = uuid4().hex
        tags = [{"Key": key, "Value": "yes"}]
        pending, done = started(ebs, Tags=tags), completed(ebs, {}, Tags=tags)
        filters = [{"Name": f"tag:{key}", "Values": ["yes"]}, {"Name": "status", "Values": ["completed"]}]
        assert ids(ec2.describe_snapshots(Filters=filters)) == [done]
        assert pending not in ids(ec2.describe_snapshots(Filters=filters))

    def test_filters_and_ids_must_both_pass(self, ebs: Client, ec2: Client) -> None:
        pending, done = started(ebs), completed(ebs, {})
        filters = [{"Name": "status", "Values": ["completed"]}]
        assert ids(ec2.describe_snapshots(SnapshotIds=[pending, done], Filters=filters)) == [done]

    def test_an_unknown_filter_is_refused(self, ec2: Client) -> None:
        with expect_refusal("InvalidParameterValue", 400, None, "The filter 'colour' is invalid"):
            ec2.describe_snapshots(Filters=[{"Name": "colour", "Values": ["blue"]}])

    def test_more_than_200_values_are_refused(self, ec2: Client) -> None:
        values = [str(number) for number in range(100)]
        filters = [{"Name": name, "Values": values} for name in ("description", "owner-id")]
        assert ids(ec2.describe_snapshots(Filters=filters)) == []
        with expect_refusal("FilterLimitExceeded", 400):
            ec2.describe_snapshots(Filters=[*filters, {"Name": "status", "Values": ["error"]}])


@pytest.fixture(scope="module")
def twelve(ebs: Client) -> tuple[str, list[str]]:
    """A tag key and twelve snapshots that have it."""
    key = uuid4().hex
    return key, [started(ebs, Tags=[{"Key": key, "Value": ""}]) for _ in range(12)]


class TestPaging:
    def test_pages_join_to_the_whole(self, ec2: Client, twelve: tuple[str, list[str]]) -> None:
        key, made = twelve
        filters = [{"Name": "tag-key", "Values": [key]}]
        pages = list(
            ec2.get_paginator("describe_snapshots").paginate(Filters=filters, PaginationConfig={"PageSize": 5})
        )
        assert [len(page["Snapshots"]) for page in pages if page["Snapshots"]] == [5, 5, 2]
        assert sorted(snapshot_id for page in pages for snapshot_id in ids(page)) == sorted(made)
        assert "NextToken" not in pages[-1]

    def test_a_page_begins_after_the_one_before_whatever_was_deleted(self, ebs: Client, ec2: Client) -> None:
        key = uuid4().hex
        for _ in range(7):
            started(ebs, Tags=[{"Key": key, "Value": ""}])
        query = {"Filters": [{"Name": "tag-key", "Values": [key]}], "MaxResults": 5}
        first = ec2.describe_snapshots(**query)
        ec2.delete_snapshot(SnapshotId=ids(first)[-1])
        second = ec2.describe_snapshots(**query, NextToken=first["NextToken"])
        assert len(set(ids(first)) | set(ids(second))) == 7

    def test_a_limit_below_5_is_refused(self, ec2: Client) -> None:
        with expect_refusal("InvalidParameterValue", 400):
            ec2.describe_snapshots(MaxResults=4)

    def test_a_limit_above_1000_is_cut_and_no_limit_is_none(self, server: ServerProcess) -> None:
        ebs, ec2 = server.client("ebs", region="sa-east-1"), server.client("ec2", region="sa-east-1")
        with ThreadPoolExecutor(8) as threads:
            made = set(threads.map(lambda _: started(ebs), range(1001)))
        first = ec2.describe_snapshots(MaxResults=5000)
        second = ec2.describe_snapshots(MaxResults=5000, NextToken=first["NextToken"])
        assert (len(ids(first)), len(ids(second))) == (1000, 1)
        assert set(ids(first) + ids(second)) == set(ids(ec2.describe_snapshots())) == made

    def test_a_page_token_is_bound_to_its_question(
        self, raw: RawClient, ec2: Client, twelve: tuple[str, list[str]]
    ) -> None:
        filters = [{"Name": "tag-key", "Values": [twelve[0]]}]
        token = ec2.describe_snapshots(Filters=filters, MaxResults=5)["NextToken"]
        answer = raw.action("DescribeSnapshots", f"MaxResults=5&NextToken={quote(token, safe='')}")
        assert answer.status == 400
        assert re.search(rb"<Code>Invalid(Next|Pagination)Token</Code>", answer.body)

    def test_ids_and_a_limit_do_not_go_together(self, ec2: Client, twelve: tuple[str, list[str]]) -> None:
        with expect_refusal("InvalidParameterCombination", 400):
            ec2.describe_snapshots(SnapshotIds=twelve[1][:1], MaxResults=5)

    def test_garbage_is_no_page_token(self, raw: RawClient) -> None:
        answer = raw.action("DescribeSnapshots", "MaxResults=5&NextToken=garbage")
        assert answer.status == 400
        assert re.search(rb"<Code>Invalid(Next|Pagination)Token</Code>", answer.body)


class TestDeletion:
    @pytest.mark.parametrize("state", ["pending", "completed", "error"])
    def test_a_snapshot_of_any_state_can_be_deleted(self, ebs: Client, ec2: Client, state: str) -> None:
        snapshot_id = {"pending": started, "completed": lambda ebs: completed(ebs, {0: A}), "error": failed}[state](ebs)
        assert ec2.delete_snapshot(SnapshotId=snapshot_id)["ResponseMetadata"]["HTTPStatusCode"] == 200
        with expect_snapshot_gone(snapshot_id):
            ec2.describe_snapshots(SnapshotIds=[snapshot_id])
        assert snapshot_id not in ids(ec2.describe_snapshots())
        with expect_snapshot_not_found(snapshot_id):
            ebs.list_snapshot_blocks(SnapshotId=snapshot_id)

    def test_a_deleted_snapshot_is_not_found_again(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = started(ebs)
        ec2.delete_snapshot(SnapshotId=snapshot_id)
        with expect_snapshot_gone(snapshot_id):
            ec2.delete_snapshot(SnapshotId=snapshot_id)

    def test_an_unknown_or_malformed_id_is_told(self, ec2: Client) -> None:
        with expect_snapshot_gone(NO_SNAPSHOT):
            ec2.delete_snapshot(SnapshotId=NO_SNAPSHOT)
        with expect_refusal("InvalidSnapshotID.Malformed", 400, None, 'Invalid id: "snap-xyz"'):
            ec2.delete_snapshot(SnapshotId="snap-xyz")

    def test_a_dry_run_deletes_nothing(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = completed(ebs, {0: A})
        with expect_refusal("DryRunOperation", 412):
            ec2.delete_snapshot(SnapshotId=snapshot_id, DryRun=True)
        assert content(ebs, snapshot_id) == {0: A}

    def test_children_and_parents_keep_every_block(self, ebs: Client, ec2: Client) -> None:
        first = completed(ebs, {0: A, 1: A, 2: A})
        middle = completed(ebs, {1: B}, ParentSnapshotId=first)
        last = completed(ebs, {2: B}, ParentSnapshotId=middle)
        ec2.delete_snapshot(SnapshotId=middle)
        assert content(ebs, first) == {0: A, 1: A, 2: A}
        assert content(ebs, last) == {0: A, 1: B, 2: B}

    def test_equal_blocks_of_another_snapshot_stay(self, ebs: Client, ec2: Client) -> None:
        kept, removed = completed(ebs, {0: A, 1: B}), completed(ebs, {0: A, 1: B})
        ec2.delete_snapshot(SnapshotId=removed)
        assert content(ebs, kept) == {0: A, 1: B}

    def test_a_snapshot_in_another_region_is_not_deleted(self, ebs: Client, server: ServerProcess) -> None:
        snapshot_id = completed(ebs, {0: A})
        with expect_snapshot_gone(snapshot_id):
            server.client("ec2", region="us-west-2").delete_snapshot(SnapshotId=snapshot_id)
        assert content(ebs, snapshot_id) == {0: A}


class TestWaiter:
    def test_a_completed_snapshot_ends_the_wait(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = started(ebs)
        put(ebs, snapshot_id, 0, A)
        complete(ebs, snapshot_id, {0: A})
        ec2.get_waiter("snapshot_completed").wait(
            SnapshotIds=[snapshot_id], WaiterConfig={"Delay": 1, "MaxAttempts": 5}
        )
        assert content(ebs, snapshot_id) == {0: A}

    def test_an_error_ends_the_wait(self, ebs: Client, ec2: Client) -> None:
        with pytest.raises(WaiterError, match="terminal failure"):
            ec2.get_waiter("snapshot_completed").wait(
                SnapshotIds=[failed(ebs)], WaiterConfig={"Delay": 1, "MaxAttempts": 5}
            )

    def test_boto3_pages_what_the_model_pages(self, ec2: Client) -> None:
        paged = [
            "describe_snapshots",
            "describe_tags",
            "describe_snapshot_tier_status",
            "list_snapshots_in_recycle_bin",
        ]
        unpaged = ["describe_regions", "describe_availability_zones", "describe_locked_snapshots"]
        assert [name for name in paged + unpaged if ec2.can_paginate(name)] == paged
        for name in paged:
            assert list(ec2.get_paginator(name).paginate(PaginationConfig={"PageSize": 5, "MaxItems": 5})), name


def test_boto3s_resource_loads_filters_and_deletes(ebs: Client, server: ServerProcess) -> None:
    session = boto3.Session(server.key.access_key_id, server.key.secret_access_key, region_name=REGION)
    resource = session.resource("ec2", endpoint_url=server.endpoint)
    key = uuid4().hex
    snapshot_id = completed(ebs, {0: A}, Tags=[{"Key": key, "Value": ""}])
    (snapshot,) = resource.snapshots.filter(OwnerIds=["self"], Filters=[{"Name": "tag-key", "Values": [key]}])
    snapshot.load()
    assert (snapshot.id, snapshot.state, snapshot.volume_size) == (snapshot_id, "completed", 1)
    snapshot.delete()
    assert list(resource.snapshots.filter(Filters=[{"Name": "tag-key", "Values": [key]}])) == []


class TestRegions:
    def test_regions_have_a_name_an_endpoint_and_a_status(self, ec2: Client, server: ServerProcess) -> None:
        regions = {region["RegionName"]: region for region in ec2.describe_regions()["Regions"]}
        assert {"us-east-1", "eu-west-1", REGION} <= regions.keys()
        assert regions["us-east-1"]["OptInStatus"] == "opt-in-not-required"
        assert server.address[0] in regions["us-east-1"]["Endpoint"]

    def test_every_region_that_is_named_is_served(self, ec2: Client, server: ServerProcess) -> None:
        for region in ec2.describe_regions()["Regions"]:
            assert ids(server.client("ec2", region=region["RegionName"]).describe_snapshots(MaxResults=5)) is not None

    def test_names_select(self, ec2: Client) -> None:
        answer = ec2.describe_regions(RegionNames=["eu-west-1"])
        assert [region["RegionName"] for region in answer["Regions"]] == ["eu-west-1"]

    def test_a_filter_selects(self, ec2: Client) -> None:
        answer = ec2.describe_regions(Filters=[{"Name": "region-name", "Values": ["us-east-*"]}])
        names = {region["RegionName"] for region in answer["Regions"]}
        assert "us-east-1" in names
        assert all(name.startswith("us-east-") for name in names)

    def test_all_regions_are_at_least_the_enabled_ones(self, ec2: Client) -> None:
        assert len(ec2.describe_regions(AllRegions=True)["Regions"]) >= len(ec2.describe_regions()["Regions"])

    def test_an_unknown_name_is_refused(self, ec2: Client) -> None:
        with expect_refusal("InvalidParameterValue", 400):
            ec2.describe_regions(RegionNames=["nowhere-north-1"])

    def test_a_dry_run_describes_nothing(self, ec2: Client) -> None:
        with expect_refusal("DryRunOperation", 412):
            ec2.describe_regions(DryRun=True)


class TestWire:
    def test_a_success_is_xml_with_a_request_id(self, raw: RawClient) -> None:
        answer = raw.action("DescribeRegions")
        assert (answer.status, answer.header("Content-Type")) == (200, "text/xml;charset=UTF-8")
        assert re.search(
            rb'<DescribeRegionsResponse xmlns="http://ec2\.amazonaws\.com/doc/2016-11-15/">\s*'
            rb"<requestId>[0-9a-f-]{36}</requestId>",
            answer.body,
        )

    def test_an_empty_list_is_an_empty_element(self, raw: RawClient) -> None:
        answer = raw.action("DescribeSnapshots", "Owner.1=999999999999")
        assert re.search(rb"<snapshotSet\s*/>|<snapshotSet></snapshotSet>", answer.body)

    def test_an_untagged_snapshot_has_no_set_of_tags(self, raw: RawClient, ebs: Client) -> None:
        answer = raw.action("DescribeSnapshots", f"SnapshotId.1={started(ebs)}")
        assert b"<description/>" in answer.body.replace(b"<description></description>", b"<description/>")
        assert b"tagSet" not in answer.body
        assert re.search(rb"<startTime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z</startTime>", answer.body)

    def test_a_deletion_returns_true(self, raw: RawClient, ebs: Client) -> None:
        answer = raw.action("DeleteSnapshot", f"SnapshotId={started(ebs)}")
        assert answer.status == 200
        assert b"<return>true</return>" in answer.body

    def test_a_fault_has_the_envelope_of_ec2(self, raw: RawClient) -> None:
        answer = raw.action("DeleteSnapshot", f"SnapshotId={NO_SNAPSHOT}")
        assert answer.status == 400
        envelope = (
            rb"<Response><Errors><Error><Code>InvalidSnapshot\.NotFound</Code>"
            rb"<Message>The snapshot (&apos;|&#39;|')" + NO_SNAPSHOT.encode() + rb"(&apos;|&#39;|') does not exist\."
            rb"</Message></Error></Errors><RequestID>[0-9a-f-]{36}</RequestID></Response>"
        )
        assert re.search(envelope, answer.body)

    def test_an_action_may_come_in_the_query_string(self, raw: RawClient, ebs: Client) -> None:
        snapshot_id = started(ebs)
        target = f"/?Action=DescribeSnapshots&Version=2016-11-15&SnapshotId.1={snapshot_id}"
        for method in ("GET", "POST"):
            answer = raw.request(method, target, service="ec2")
            assert answer.status == 200
            assert snapshot_id.encode() in answer.body

    def test_lists_may_be_numbered_with_gaps(self, raw: RawClient, ebs: Client) -> None:
        one, two = started(ebs), started(ebs)
        answer = raw.action("DescribeSnapshots", f"SnapshotId.7={one}&SnapshotId.3={two}")
        assert answer.status == 200
        assert one.encode() in answer.body
        assert two.encode() in answer.body

    def test_members_that_the_model_does_not_know_are_ignored(self, raw: RawClient) -> None:
        assert raw.action("DescribeRegions", "Novelty=1").status == 200

    @pytest.mark.parametrize(
        ("action", "code"),
        [("NoSuchAction", b"InvalidAction"), ("DeleteSnapshot", b"MissingParameter")],
    )
    def test_an_unknown_action_and_a_missing_member_are_told(self, raw: RawClient, action: str, code: bytes) -> None:
        answer = raw.action(action)
        assert answer.status == 400
        assert b"<Code>" + code + b"</Code>" in answer.body

    def test_a_form_without_an_action_is_refused(self, raw: RawClient) -> None:
        answer: Answer = raw.request("POST", "/", FORM, b"Version=2016-11-15", service="ec2")
        assert answer.status == 400
