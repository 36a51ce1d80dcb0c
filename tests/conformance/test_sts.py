"""STS through unmodified boto3: who calls, and temporary keys that do what they may and end when they must."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.conformance.faults import expect_refusal
from tests.conformance.test_iam import client, policy
from tests.server_process import ServerProcess

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def account(server: ServerProcess) -> str:
    return str(server.client("sts").get_caller_identity()["Account"])


@pytest.fixture(scope="module")
def carrier(server: ServerProcess, account: str) -> Answer:
    """The key of a user who may assume roles, and nothing else."""
    iam = server.client("iam")
    iam.create_user(UserName="carrier")
    iam.put_user_policy(UserName="carrier", PolicyName="p", PolicyDocument=json.dumps(policy("sts:AssumeRole")))
    key: Answer = iam.create_access_key(UserName="carrier")["AccessKey"]
    return key


def make_role(server: ServerProcess, name: str, principal: str, condition: Answer | None = None) -> str:
    """A role that may write snapshots and that `principal` may assume; its ARN."""
    iam = server.client("iam")
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [statement | ({"Condition": condition} if condition else {})]}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(policy("ebs:*", "ec2:Describe*")))
    return str(role["Arn"])


def test_root_is_told_who_it_is(server: ServerProcess, account: str) -> None:
    answer = server.client("sts").get_caller_identity()
    assert (answer["UserId"], answer["Arn"]) == (account, f"arn:aws:iam::{account}:root")


def test_a_session_does_what_its_role_may(server: ServerProcess, account: str, carrier: Answer) -> None:
    arn = make_role(server, "Writer", f"arn:aws:iam::{account}:user/carrier")
    with expect_refusal("AccessDeniedException", 403, "UNAUTHORIZED_ACCOUNT"):
        client(server, "ebs", carrier).start_snapshot(VolumeSize=1)
    answer = client(server, "sts", carrier).assume_role(RoleArn=arn, RoleSessionName="nightly")
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{account}:assumed-role/Writer/nightly"
    key = answer["Credentials"]
    hour = datetime.now(UTC) + timedelta(hours=1)
    assert hour - timedelta(minutes=1) < key["Expiration"] <= hour
    assert client(server, "sts", key).get_caller_identity()["Arn"] == answer["AssumedRoleUser"]["Arn"]
    snapshot = client(server, "ebs", key).start_snapshot(VolumeSize=1)
    found = client(server, "ec2", key).describe_snapshots(SnapshotIds=[snapshot["SnapshotId"]])["Snapshots"]
    assert [each["OwnerId"] for each in found] == [account]


def test_a_session_policy_narrows_it(server: ServerProcess, account: str, carrier: Answer) -> None:
    arn = make_role(server, "Narrowed", f"arn:aws:iam::{account}:root")
    answer = client(server, "sts", carrier).assume_role(
        RoleArn=arn, RoleSessionName="nightly", Policy=json.dumps(policy("ec2:Describe*"))
    )
    assert answer["PackedPolicySize"] > 0
    key = answer["Credentials"]
    assert client(server, "ec2", key).describe_snapshots(OwnerIds=["self"])["Snapshots"] is not None
    with expect_refusal("AccessDeniedException", 403, "UNAUTHORIZED_ACCOUNT"):
        client(server, "ebs", key).start_snapshot(VolumeSize=1)


def test_a_role_lets_in_whom_it_trusts(server: ServerProcess, account: str, carrier: Answer) -> None:
    sts = client(server, "sts", carrier)
    other = make_role(server, "Foreign", "arn:aws:iam::999999999999:root")
    for arn in (other, f"arn:aws:iam::{account}:role/None"):
        with expect_refusal("AccessDenied", 403):
            sts.assume_role(RoleArn=arn, RoleSessionName="nightly")


def test_an_external_id_must_be_the_right_one(server: ServerProcess, account: str, carrier: Answer) -> None:
    sts = client(server, "sts", carrier)
    arn = make_role(server, "Guarded", f"arn:aws:iam::{account}:root", {"StringEquals": {"sts:ExternalId": "right"}})
    for members in ({}, {"ExternalId": "wrong"}):
        with expect_refusal("AccessDenied", 403):
            sts.assume_role(RoleArn=arn, RoleSessionName="nightly", **members)
    answer = sts.assume_role(RoleArn=arn, RoleSessionName="nightly", ExternalId="right")
    assert answer["Credentials"]["AccessKeyId"].startswith("ASIA")


def test_a_session_without_its_token_or_role_is_nobodys(server: ServerProcess, account: str, carrier: Answer) -> None:
    arn = make_role(server, "Short", f"arn:aws:iam::{account}:root")
    key = client(server, "sts", carrier).assume_role(RoleArn=arn, RoleSessionName="nightly")["Credentials"]
    for token in (None, key["SessionToken"][:-1], "A" + key["SessionToken"]):
        with expect_refusal("InvalidClientTokenId", 403):
            client(server, "sts", key | {"SessionToken": token}).get_caller_identity()
    with expect_refusal("UnrecognizedClientException", 403):
        client(server, "ebs", key | {"SessionToken": None}).start_snapshot(VolumeSize=1)
    iam = server.client("iam")
    iam.delete_role_policy(RoleName="Short", PolicyName="p")
    iam.delete_role(RoleName="Short")
    with expect_refusal("InvalidClientTokenId", 403):
        client(server, "sts", key).get_caller_identity()


def test_a_users_own_session_may_what_the_user_may(server: ServerProcess, carrier: Answer) -> None:
    key = client(server, "sts", carrier).get_session_token(DurationSeconds=900)["Credentials"]
    sts = client(server, "sts", key)
    assert sts.get_caller_identity()["Arn"].endswith(":user/carrier")
    with expect_refusal("AccessDenied", 403):
        sts.get_session_token()


def test_refusals_have_stss_codes(server: ServerProcess, account: str, carrier: Answer) -> None:
    sts = client(server, "sts", carrier)
    arn = make_role(server, "Codes", f"arn:aws:iam::{account}:root")
    with expect_refusal("ValidationError", 400):
        sts.assume_role(RoleArn=arn, RoleSessionName="nightly", DurationSeconds=3_601)
    with expect_refusal("MalformedPolicyDocument", 400):
        sts.assume_role(RoleArn=arn, RoleSessionName="nightly", Policy="{}")
