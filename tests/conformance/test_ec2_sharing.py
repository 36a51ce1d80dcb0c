"""Sharing through boto3: two accounts on one server, both spellings, and what each sees and reads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.conformance.faults import expect_refusal, expect_snapshot_not_found
from tests.conformance.given import A, completed, content, started
from tests.conformance.raw_client import RawClient
from tests.server_process import SOURCE, AccessKeyPair, Client, ServerProcess

MANAGED_KEY_TEXT = "Encrypted snapshots with EBS default key cannot be shared"


@pytest.fixture(scope="module")
def other(server: ServerProcess) -> dict[str, str]:
    """A second account and the key of its root, made as an operator makes one."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snapstone", "account", "create", "reader-of-shares"),
            *("--data", str(server.data_folder), "--json"),
        ],
        env=server.environment() | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made: dict[str, str] = json.loads(done.stdout)
    return made


@pytest.fixture(scope="module")
def other_id(other: dict[str, str]) -> str:
    return other["AccountId"]


@pytest.fixture(scope="module")
def other_ebs(server: ServerProcess, other: dict[str, str]) -> Client:
    return server.client("ebs", key=AccessKeyPair(other["AccessKeyId"], other["SecretAccessKey"]))


@pytest.fixture(scope="module")
def other_ec2(server: ServerProcess, other: dict[str, str]) -> Client:
    return server.client("ec2", key=AccessKeyPair(other["AccessKeyId"], other["SecretAccessKey"]))


@contextmanager
def expect_unknown(snapshot_id: str) -> Iterator[None]:
    """EC2's one answer for every snapshot that a caller may not see, or may only read."""
    with expect_refusal("InvalidSnapshot.NotFound", 400, None, f"The snapshot '{snapshot_id}' does not exist."):
        yield


def key_policy(*account_ids: str) -> str:
    """A key's policy that lets these accounts do everything."""
    principal = {"AWS": [f"arn:aws:iam::{each}:root" for each in account_ids]}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "kms:*", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def seen(ec2: Client, **members: object) -> set[str]:
    return {snapshot["SnapshotId"] for snapshot in ec2.describe_snapshots(**members)["Snapshots"]}


def readers(ec2: Client, snapshot_id: str) -> list[dict[str, str]]:
    answer = ec2.describe_snapshot_attribute(SnapshotId=snapshot_id, Attribute="createVolumePermission")
    assert answer["SnapshotId"] == snapshot_id
    return list(answer["CreateVolumePermissions"])


def test_a_share_is_seen_and_read_until_it_ends(
    ebs: Client, ec2: Client, other_ebs: Client, other_ec2: Client, other_id: str
) -> None:
    snapshot_id = completed(ebs, {0: A})
    with expect_unknown(snapshot_id):
        other_ec2.describe_snapshots(SnapshotIds=[snapshot_id])
    ec2.modify_snapshot_attribute(
        SnapshotId=snapshot_id, Attribute="createVolumePermission", OperationType="add", UserIds=[other_id]
    )
    assert readers(ec2, snapshot_id) == [{"UserId": other_id}]
    assert snapshot_id in seen(other_ec2)
    assert snapshot_id in seen(other_ec2, RestorableByUserIds=["self"])
    assert snapshot_id in seen(ec2, RestorableByUserIds=[other_id])
    assert snapshot_id not in seen(other_ec2, OwnerIds=["self"])
    assert content(other_ebs, snapshot_id) == {0: A}
    with expect_snapshot_not_found(snapshot_id):
        other_ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=snapshot_id)
    with expect_unknown(snapshot_id):
        other_ec2.delete_snapshot(SnapshotId=snapshot_id)
    with expect_unknown(snapshot_id):
        readers(other_ec2, snapshot_id)
    ec2.reset_snapshot_attribute(SnapshotId=snapshot_id, Attribute="createVolumePermission")
    assert readers(ec2, snapshot_id) == []
    with expect_snapshot_not_found(snapshot_id):
        other_ebs.list_snapshot_blocks(SnapshotId=snapshot_id)


def test_a_public_snapshot_is_listed_for_all_and_read_by_its_owner(
    ebs: Client, ec2: Client, other_ebs: Client, other_ec2: Client
) -> None:
    snapshot_id = completed(ebs, {0: A})
    ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission={"Add": [{"Group": "all"}]})
    assert readers(ec2, snapshot_id) == [{"Group": "all"}]
    assert snapshot_id in seen(other_ec2, RestorableByUserIds=["all"])
    with expect_refusal("ValidationException", 400, "INVALID_SNAPSHOT_ID", "Public snapshots are not supported"):
        other_ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
    assert content(ebs, snapshot_id) == {0: A}
    ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission={"Remove": [{"Group": "all"}]})
    assert snapshot_id not in seen(other_ec2)


def test_what_is_encrypted_is_never_public_and_under_the_managed_key_not_shared(
    ebs: Client, ec2: Client, other_id: str
) -> None:
    snapshot_id = started(ebs, Encrypted=True)
    with expect_refusal("OperationNotPermitted", 400, None, "Encrypted snapshots cannot be made public"):
        ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission={"Add": [{"Group": "all"}]})
    with expect_refusal("OperationNotPermitted", 400, None, MANAGED_KEY_TEXT):
        ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission={"Add": [{"UserId": other_id}]})


def test_under_a_customers_key_it_is_shared_and_shows_its_key(
    ebs: Client, ec2: Client, server: ServerProcess, other_ec2: Client, other_id: str
) -> None:
    key_arn = server.client("kms").create_key()["KeyMetadata"]["Arn"]
    snapshot_id = started(ebs, KmsKeyArn=key_arn)
    ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission={"Add": [{"UserId": other_id}]})
    [shown] = other_ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert (shown["Encrypted"], shown["KmsKeyId"]) == (True, key_arn)
    assert len(shown["DataEncryptionKeyId"]) == 36


def test_what_is_encrypted_is_read_where_the_keys_policy_lets_the_reader_in(
    ebs: Client, ec2: Client, server: ServerProcess, other_ebs: Client, other_id: str
) -> None:
    kms = server.client("kms")
    own_id = kms.create_key()["KeyMetadata"]["AWSAccountId"]
    key = kms.create_key(Policy=key_policy(own_id, other_id))["KeyMetadata"]
    snapshot_id = completed(ebs, {0: A}, KmsKeyArn=key["Arn"])
    ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission={"Add": [{"UserId": other_id}]})
    assert content(other_ebs, snapshot_id) == {0: A}
    kms.put_key_policy(KeyId=key["KeyId"], PolicyName="default", Policy=key_policy(own_id))
    with expect_refusal("ResourceNotFoundException", 404, "DEPENDENCY_RESOURCE_NOT_FOUND"):
        other_ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
    assert content(ebs, snapshot_id) == {0: A}


def test_a_readers_user_needs_a_policy_of_its_own_account_and_sees_the_owners_account_in_it(
    ebs: Client, ec2: Client, server: ServerProcess, other: dict[str, str], other_id: str
) -> None:
    snapshot_id = completed(ebs, {0: A})
    ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission={"Add": [{"UserId": other_id}]})
    [shown] = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    iam = server.client("iam", key=AccessKeyPair(other["AccessKeyId"], other["SecretAccessKey"]))
    iam.create_user(UserName="reader")
    made = iam.create_access_key(UserName="reader")["AccessKey"]
    reader = server.client("ebs", key=AccessKeyPair(made["AccessKeyId"], made["SecretAccessKey"]))
    with expect_denial():
        reader.list_snapshot_blocks(SnapshotId=snapshot_id)
    iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=reading_of(shown["OwnerId"]))
    assert content(reader, snapshot_id) == {0: A}
    iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=reading_of(other_id))
    with expect_denial():
        reader.list_snapshot_blocks(SnapshotId=snapshot_id)


def reading_of(account_id: str) -> str:
    """A policy that lets its user read blocks of one account's snapshots."""
    condition = {"StringEquals": {"aws:ResourceAccount": account_id}}
    statement = {"Effect": "Allow", "Action": "ebs:*", "Resource": "*", "Condition": condition}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@contextmanager
def expect_denial() -> Iterator[None]:
    """Expect AccessDeniedException, whatever its reason: AWS's denials have none."""
    with pytest.raises(ClientError) as caught:
        yield
    response: Any = caught.value.response
    assert response["Error"]["Code"] == "AccessDeniedException", response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_adding_and_removing_at_once_is_refused(ebs: Client, ec2: Client, other_id: str) -> None:
    permission = {"Add": [{"UserId": other_id}], "Remove": [{"Group": "all"}]}
    with expect_refusal("InvalidParameterCombination", 400):
        ec2.modify_snapshot_attribute(SnapshotId=started(ebs), CreateVolumePermission=permission)


def test_a_malformed_account_is_refused(ebs: Client, ec2: Client) -> None:
    with expect_refusal("InvalidUserID.Malformed", 400):
        ec2.modify_snapshot_attribute(SnapshotId=started(ebs), OperationType="add", UserIds=["1234"])


def test_there_are_no_product_codes(ebs: Client, ec2: Client) -> None:
    answer = ec2.describe_snapshot_attribute(SnapshotId=started(ebs), Attribute="productCodes")
    assert answer["ProductCodes"] == []


def test_dry_runs_change_nothing(ebs: Client, ec2: Client) -> None:
    snapshot_id = started(ebs)
    members = {"SnapshotId": snapshot_id, "DryRun": True}
    permission = {"Add": [{"Group": "all"}]}
    with expect_refusal("DryRunOperation", 412):
        ec2.modify_snapshot_attribute(**members, CreateVolumePermission=permission)
    with expect_refusal("DryRunOperation", 412):
        ec2.reset_snapshot_attribute(**members, Attribute="createVolumePermission")
    with expect_refusal("DryRunOperation", 412):
        ec2.describe_snapshot_attribute(**members, Attribute="createVolumePermission")
    assert readers(ec2, snapshot_id) == []


def test_a_change_returns_true_on_the_wire(ebs: Client, raw: RawClient) -> None:
    snapshot_id = started(ebs)
    added = "CreateVolumePermission.Add.1.Group=all&CreateVolumePermission.Add.2.UserId=123456789012"
    changed = raw.action("ModifySnapshotAttribute", f"SnapshotId={snapshot_id}&{added}")
    shown = raw.action("DescribeSnapshotAttribute", f"SnapshotId={snapshot_id}&Attribute=createVolumePermission")
    reset = raw.action("ResetSnapshotAttribute", f"SnapshotId={snapshot_id}&Attribute=createVolumePermission")
    assert (changed.status, shown.status, reset.status) == (200, 200, 200)
    assert b"<return>true</return>" in changed.body
    assert b"<return>true</return>" in reset.body
    assert (
        b"<createVolumePermission><item><userId>123456789012</userId></item>"
        b"<item><group>all</group></item></createVolumePermission>"
    ) in shown.body
