"""Locks, block public access, the recycle bin, the archive tier and copies, through unmodified boto3."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.conformance.faults import expect_refusal, expect_snapshot_not_found
from tests.conformance.given import ZERO, A, B, completed, content, started
from tests.server_process import Client, ServerProcess

FAR: Any = datetime(2099, 1, 1, tzinfo=UTC)

ELSEWHERE = "us-west-2"


@pytest.fixture(scope="module")
def rbin(server: ServerProcess) -> Client:
    """The recycle bin's own service."""
    return server.client("rbin")


@pytest.fixture
def kept_tag(rbin: Client) -> Iterator[dict[str, str]]:
    """A tag whose snapshots a rule keeps for a week."""
    rule = rbin.create_rule(
        ResourceType="EBS_SNAPSHOT",
        RetentionPeriod={"RetentionPeriodValue": 7, "RetentionPeriodUnit": "DAYS"},
        ResourceTags=[{"ResourceTagKey": "keep", "ResourceTagValue": "week"}],
    )
    yield {"Key": "keep", "Value": "week"}
    rbin.delete_rule(Identifier=rule["Identifier"])


def described(ec2: Client, snapshot_id: str) -> Any:
    """One snapshot as EC2 shows it."""
    (snapshot,) = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return snapshot


def wait_until_completed(ec2: Client, snapshot_id: str) -> None:
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig={"Delay": 1, "MaxAttempts": 60})


class TestLocks:
    def test_a_lock_keeps_a_snapshot_until_it_is_taken_off(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = completed(ebs, {0: A})
        before = datetime.now(UTC) - timedelta(seconds=1)
        answer = ec2.lock_snapshot(SnapshotId=snapshot_id, LockMode="governance", LockDuration=3)
        assert answer["LockState"] == "governance"
        assert answer["LockDuration"] == 3
        assert before <= answer["LockCreatedOn"] <= datetime.now(UTC) + timedelta(seconds=1)
        assert answer["LockExpiresOn"] - answer["LockDurationStartTime"] == timedelta(days=3)
        with expect_refusal("OperationNotPermitted", 400):
            ec2.delete_snapshot(SnapshotId=snapshot_id)
        [locked] = ec2.describe_locked_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        assert locked["SnapshotId"] == snapshot_id
        assert ec2.unlock_snapshot(SnapshotId=snapshot_id)["SnapshotId"] == snapshot_id
        ec2.delete_snapshot(SnapshotId=snapshot_id)
        with expect_snapshot_not_found(snapshot_id):
            ebs.list_snapshot_blocks(SnapshotId=snapshot_id)

    def test_a_date_and_a_cooling_off_period(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = completed(ebs, {})
        answer = ec2.lock_snapshot(SnapshotId=snapshot_id, LockMode="compliance", CoolOffPeriod=72, ExpirationDate=FAR)
        assert answer["LockState"] == "compliance-cooloff"
        assert answer["LockExpiresOn"] == FAR
        assert answer["CoolOffPeriodExpiresOn"] - answer["LockCreatedOn"] == timedelta(hours=72)
        ec2.unlock_snapshot(SnapshotId=snapshot_id)

    def test_compliance_without_cooling_off_is_for_good(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = completed(ebs, {})
        ec2.lock_snapshot(SnapshotId=snapshot_id, LockMode="compliance", LockDuration=1)
        with expect_refusal("OperationNotPermitted", 400):
            ec2.unlock_snapshot(SnapshotId=snapshot_id)
        with expect_refusal("OperationNotPermitted", 400):
            ec2.delete_snapshot(SnapshotId=snapshot_id)

    def test_a_dry_run_locks_nothing(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = completed(ebs, {})
        with expect_refusal("DryRunOperation", 412):
            ec2.lock_snapshot(SnapshotId=snapshot_id, LockMode="governance", LockDuration=3, DryRun=True)
        assert ec2.describe_locked_snapshots(SnapshotIds=[snapshot_id])["Snapshots"] == []


def test_public_access_is_blocked_and_unblocked(ebs: Client, server: ServerProcess) -> None:
    ec2 = server.client("ec2", region="eu-north-1")
    snapshot_id = completed(server.client("ebs", region="eu-north-1"), {})
    assert ec2.get_snapshot_block_public_access_state()["State"] == "unblocked"
    assert ec2.enable_snapshot_block_public_access(State="block-new-sharing")["State"] == "block-new-sharing"
    with expect_refusal("OperationNotPermitted", 400):
        ec2.modify_snapshot_attribute(
            SnapshotId=snapshot_id,
            Attribute="createVolumePermission",
            OperationType="add",
            GroupNames=["all"],
        )
    assert ec2.disable_snapshot_block_public_access()["State"] == "unblocked"
    assert ec2.get_snapshot_block_public_access_state()["State"] == "unblocked"


class TestRecycleBin:
    def test_a_deletion_is_undone(self, ebs: Client, ec2: Client, kept_tag: dict[str, str]) -> None:
        snapshot_id = completed(ebs, {0: A, 3: B}, Tags=[kept_tag], Description="nightly")
        ec2.delete_snapshot(SnapshotId=snapshot_id)
        with expect_refusal("InvalidSnapshot.NotFound", 400):
            ec2.describe_snapshots(SnapshotIds=[snapshot_id])
        with expect_snapshot_not_found(snapshot_id):
            ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
        [recycled] = ec2.list_snapshots_in_recycle_bin(SnapshotIds=[snapshot_id])["Snapshots"]
        assert recycled["Description"] == "nightly"
        assert recycled["RecycleBinExitTime"] - recycled["RecycleBinEnterTime"] == timedelta(days=7)
        answer = ec2.restore_snapshot_from_recycle_bin(SnapshotId=snapshot_id)
        assert (answer["SnapshotId"], answer["State"]) == (snapshot_id, "completed")
        assert content(ebs, snapshot_id) == {0: A, 3: B}
        assert described(ec2, snapshot_id)["Tags"] == [kept_tag]

    def test_rules(self, rbin: Client) -> None:
        made = rbin.create_rule(
            ResourceType="EBS_SNAPSHOT",
            RetentionPeriod={"RetentionPeriodValue": 3, "RetentionPeriodUnit": "DAYS"},
            Description="keep what is tagged",
            Tags=[{"Key": "team", "Value": "storage"}],
            ResourceTags=[{"ResourceTagKey": "nobody", "ResourceTagValue": "has this"}],
        )
        assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
        rule_id, arn = made["Identifier"], made["RuleArn"]
        shown = rbin.get_rule(Identifier=rule_id)
        assert shown["RetentionPeriod"] == {"RetentionPeriodValue": 3, "RetentionPeriodUnit": "DAYS"}
        assert shown["Description"] == "keep what is tagged"
        assert shown["Status"] == "available"
        assert rule_id in {rule["Identifier"] for rule in rbin.list_rules(ResourceType="EBS_SNAPSHOT")["Rules"]}
        rbin.update_rule(Identifier=rule_id, RetentionPeriod={"RetentionPeriodValue": 4, "RetentionPeriodUnit": "DAYS"})
        assert rbin.get_rule(Identifier=rule_id)["RetentionPeriod"]["RetentionPeriodValue"] == 4
        assert rbin.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "storage"}]
        rbin.tag_resource(ResourceArn=arn, Tags=[{"Key": "more", "Value": ""}])
        rbin.untag_resource(ResourceArn=arn, TagKeys=["team"])
        assert rbin.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "more", "Value": ""}]
        rbin.delete_rule(Identifier=rule_id)
        with expect_refusal("ResourceNotFoundException", 404, "RULE_NOT_FOUND"):
            rbin.get_rule(Identifier=rule_id)

    def test_a_locked_rule_is_a_typed_conflict(self, server: ServerProcess) -> None:
        rbin = server.client("rbin", region="ap-south-1")
        delay = {"UnlockDelay": {"UnlockDelayValue": 7, "UnlockDelayUnit": "DAYS"}}
        rule_id = rbin.create_rule(
            ResourceType="EBS_SNAPSHOT",
            RetentionPeriod={"RetentionPeriodValue": 1, "RetentionPeriodUnit": "DAYS"},
            LockConfiguration=delay,
        )["Identifier"]
        with pytest.raises(rbin.exceptions.ConflictException):
            rbin.delete_rule(Identifier=rule_id)
        answer = rbin.unlock_rule(Identifier=rule_id)
        assert answer["LockState"] == "pending_unlock"
        assert answer["LockEndTime"] > datetime.now(UTC) + timedelta(days=6)
        assert rbin.lock_rule(Identifier=rule_id, LockConfiguration=delay)["LockState"] == "locked"


class TestTiers:
    def test_an_archived_snapshot_is_restored(self, ebs: Client, ec2: Client) -> None:
        snapshot_id = completed(ebs, {0: A})
        assert "TieringStartTime" in ec2.modify_snapshot_tier(SnapshotId=snapshot_id, StorageTier="archive")
        assert described(ec2, snapshot_id)["StorageTier"] == "archive"
        with expect_refusal("ValidationException", 400, "INVALID_SNAPSHOT_ID"):
            ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
        with expect_refusal("ValidationException", 400, "INVALID_SNAPSHOT_ID"):
            started(ebs, ParentSnapshotId=snapshot_id)
        with expect_refusal("IncorrectState", 400):
            ec2.copy_snapshot(SourceRegion=ec2.meta.region_name, SourceSnapshotId=snapshot_id)
        answer = ec2.restore_snapshot_tier(SnapshotId=snapshot_id, TemporaryRestoreDays=2)
        assert (answer["RestoreDuration"], answer["IsPermanentRestore"]) == (2, False)
        assert content(ebs, snapshot_id) == {0: A}
        snapshot = described(ec2, snapshot_id)
        assert snapshot["StorageTier"] == "standard"
        assert snapshot["RestoreExpiryTime"] > datetime.now(UTC) + timedelta(days=1)
        filters = [{"Name": "snapshot-id", "Values": [snapshot_id]}]
        [status] = ec2.describe_snapshot_tier_status(Filters=filters)["SnapshotTierStatuses"]
        assert status["LastTieringOperationStatus"] == "temporary-restore-completed"
        ec2.restore_snapshot_tier(SnapshotId=snapshot_id, PermanentRestore=True)
        assert "RestoreExpiryTime" not in described(ec2, snapshot_id)


class TestCopies:
    def test_within_a_region(self, ebs: Client, ec2: Client) -> None:
        source = completed(ebs, {0: A, 7: ZERO}, Description="source")
        answer = ec2.copy_snapshot(
            SourceRegion=ec2.meta.region_name,
            SourceSnapshotId=source,
            Description="copy",
            TagSpecifications=[{"ResourceType": "snapshot", "Tags": [{"Key": "k", "Value": "v"}]}],
        )
        assert answer["Tags"] == [{"Key": "k", "Value": "v"}]
        wait_until_completed(ec2, answer["SnapshotId"])
        snapshot = described(ec2, answer["SnapshotId"])
        assert (snapshot["Description"], snapshot["Encrypted"]) == ("copy", False)
        assert snapshot["TransferType"] == "standard"
        assert snapshot["VolumeId"] == "vol-ffffffff"
        assert content(ebs, answer["SnapshotId"]) == {0: A, 7: ZERO}

    def test_between_regions_with_the_presigned_url_that_boto3_adds(
        self, ebs: Client, ec2: Client, server: ServerProcess
    ) -> None:
        source = completed(ebs, {0: A})
        elsewhere = server.client("ec2", region=ELSEWHERE)
        answer = elsewhere.copy_snapshot(SourceRegion=ec2.meta.region_name, SourceSnapshotId=source)
        wait_until_completed(elsewhere, answer["SnapshotId"])
        assert content(server.client("ebs", region=ELSEWHERE), answer["SnapshotId"]) == {0: A}

    def test_encrypting(self, ebs: Client, ec2: Client, server: ServerProcess) -> None:
        source = completed(ebs, {0: A, 1: B, 9: ZERO})
        key_arn = server.client("kms").create_key()["KeyMetadata"]["Arn"]
        answer = ec2.copy_snapshot(
            SourceRegion=ec2.meta.region_name, SourceSnapshotId=source, Encrypted=True, KmsKeyId=key_arn
        )
        wait_until_completed(ec2, answer["SnapshotId"])
        snapshot = described(ec2, answer["SnapshotId"])
        assert (snapshot["Encrypted"], snapshot["KmsKeyId"]) == (True, key_arn)
        assert content(ebs, answer["SnapshotId"]) == {0: A, 1: B, 9: ZERO}

    def test_an_unknown_key_makes_a_copy_in_error(self, ebs: Client, ec2: Client) -> None:
        source = completed(ebs, {0: A})
        answer = ec2.copy_snapshot(
            SourceRegion=ec2.meta.region_name, SourceSnapshotId=source, Encrypted=True, KmsKeyId="alias/nobodys"
        )
        snapshot = described(ec2, answer["SnapshotId"])
        assert snapshot["State"] == "error"
        assert snapshot["StateMessage"] == "Given key ID is not accessible"

    def test_refusals(self, ebs: Client, ec2: Client) -> None:
        region = ec2.meta.region_name
        source = completed(ebs, {})
        with expect_refusal("InvalidSnapshot.NotFound", 400):
            ec2.copy_snapshot(SourceRegion=region, SourceSnapshotId="snap-0123456789abcdef0")
        with expect_refusal("InvalidRegion", 400):
            ec2.copy_snapshot(SourceRegion="mars-north-1", SourceSnapshotId=source, PresignedUrl="https://x/")
        with expect_refusal("IncorrectState", 400):
            ec2.copy_snapshot(SourceRegion=region, SourceSnapshotId=started(ebs))
        with expect_refusal("InvalidParameterDependency", 400):
            ec2.copy_snapshot(SourceRegion=region, SourceSnapshotId=source, KmsKeyId="alias/aws/ebs")
        with expect_refusal("DryRunOperation", 412):
            ec2.copy_snapshot(SourceRegion=region, SourceSnapshotId=source, DryRun=True)
