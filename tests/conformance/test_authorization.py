"""Users' policies held against calls of EBS, EC2 and KMS through unmodified boto3."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.installation import block, checksum
from tests.server_process import REGION, Client, ServerProcess


@pytest.fixture(scope="module")
def iam(server: ServerProcess) -> Client:
    return server.client("iam")


def set_policy(iam: Client, name: str, *statements: dict[str, Any]) -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=document)


def key_of(iam: Client, name: str) -> dict[str, str]:
    iam.create_user(UserName=name)
    key: dict[str, str] = iam.create_access_key(UserName=name)["AccessKey"]
    return key


def client(server: ServerProcess, key: dict[str, str], service: str) -> Client:
    return boto3.client(
        service,
        endpoint_url=server.endpoint,
        region_name=REGION,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )


def put(ebs: Client, snapshot_id: str) -> int:
    content = block("a")
    answer = ebs.put_snapshot_block(
        SnapshotId=snapshot_id,
        BlockIndex=0,
        BlockData=content,
        DataLength=len(content),
        Checksum=checksum(content),
        ChecksumAlgorithm="SHA256",
    )
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


def test_a_user_writes_only_the_snapshots_that_its_policy_names(
    server: ServerProcess, iam: Client, ebs: Client
) -> None:
    mine, yours = (ebs.start_snapshot(VolumeSize=1)["SnapshotId"] for _ in range(2))
    writer = client(server, key_of(iam, "one-snapshot"), "ebs")
    statement = {"Effect": "Allow", "Action": "ebs:*", "Resource": f"arn:aws:ec2:{REGION}::snapshot/{mine}"}
    set_policy(iam, "one-snapshot", statement)
    assert put(writer, mine) == 201
    with pytest.raises(ClientError) as refused:
        put(writer, yours)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    set_policy(iam, "one-snapshot", statement, {"Effect": "Deny", "Action": "ebs:PutSnapshotBlock", "Resource": "*"})
    with pytest.raises(ClientError, match="AccessDeniedException"):
        put(writer, mine)


def test_ec2_refuses_before_it_answers_a_dry_run(server: ServerProcess, iam: Client, ebs: Client) -> None:
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    cleaner = client(server, key_of(iam, "cleaner"), "ec2")
    with pytest.raises(ClientError, match="UnauthorizedOperation") as refused:
        cleaner.delete_snapshot(SnapshotId=snapshot_id, DryRun=True)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    set_policy(iam, "cleaner", {"Effect": "Allow", "Action": "ec2:DeleteSnapshot", "Resource": "*"})
    with pytest.raises(ClientError, match="DryRunOperation"):
        cleaner.delete_snapshot(SnapshotId=snapshot_id, DryRun=True)


def test_a_comparison_needs_its_permission_on_both_snapshots_and_a_denial_names_the_one_that_lacks_it(
    server: ServerProcess, iam: Client, ebs: Client
) -> None:
    allowed, other = (ebs.start_snapshot(VolumeSize=1)["SnapshotId"] for _ in range(2))
    reader = client(server, key_of(iam, "of-one-side"), "ebs")
    resource = f"arn:aws:ec2:{REGION}::snapshot/{allowed}"
    set_policy(iam, "of-one-side", {"Effect": "Allow", "Action": "ebs:ListChangedBlocks", "Resource": resource})
    for first, second in ((allowed, other), (other, allowed)):
        with pytest.raises(ClientError, match="AccessDeniedException") as refused:
            reader.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)
        assert f"snapshot/{other} " in refused.value.response["Error"]["Message"]


def test_what_describes_or_sets_a_whole_region_has_no_resource_but_the_star(server: ServerProcess, iam: Client) -> None:
    ec2 = client(server, key_of(iam, "of-snapshots"), "ec2")
    calls = [ec2.describe_snapshots, ec2.get_ebs_encryption_by_default, ec2.get_snapshot_block_public_access_state]
    set_policy(iam, "of-snapshots", {"Effect": "Allow", "Action": "ec2:*", "Resource": "arn:aws:ec2:*::snapshot/*"})
    for call in calls:
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            call()
    set_policy(iam, "of-snapshots", {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"})
    for call in calls:
        assert call()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_the_request_itself_is_a_condition(server: ServerProcess, iam: Client) -> None:
    key = key_of(iam, "by-address")
    local = {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}, "StringLike": {"aws:UserAgent": "*Boto3/*"}}
    statement = {"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}
    set_policy(iam, "by-address", statement | {"Condition": local})
    ec2 = client(server, key, "ec2")
    assert ec2.describe_regions()["Regions"]
    set_policy(iam, "by-address", statement | {"Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}})
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        ec2.describe_regions()


def test_a_key_is_refused_by_its_own_policy_even_to_root(server: ServerProcess) -> None:
    kms = server.client("kms")
    account = server.client("sts").get_caller_identity()["Account"]
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    root = {"AWS": f"arn:aws:iam::{account}:root"}
    everything = {"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}
    no_encrypt = {"Effect": "Deny", "Principal": root, "Action": "kms:Encrypt", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [everything, no_encrypt]})
    assert kms.encrypt(KeyId=key_id, Plaintext=b"x")["CiphertextBlob"]
    kms.put_key_policy(KeyId=key_id, Policy=document)
    with pytest.raises(ClientError, match="AccessDeniedException"):
        kms.encrypt(KeyId=key_id, Plaintext=b"x")
    assert kms.describe_key(KeyId=key_id)["KeyMetadata"]["Enabled"]
