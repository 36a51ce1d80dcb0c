"""IAM through unmodified boto3: identities, their policies, and what they may do from the next request on."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from tests.conformance.faults import expect_refusal
from tests.server_process import REGION, Client, ServerProcess

READ_ONLY = "arn:aws:iam::aws:policy/SnapstoneReadOnly"

Answer = dict[str, Any]


def policy(*actions: str, effect: str = "Allow") -> dict[str, object]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "One", "Effect": effect, "Action": list(actions), "Resource": "*"}],
    }


def client(server: ServerProcess, service: str, key: Answer) -> Client:
    """A client that signs with a key as IAM or STS answers it."""
    return boto3.client(
        service,
        endpoint_url=server.endpoint,
        region_name=REGION,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        aws_session_token=key.get("SessionToken"),
    )


@pytest.fixture(scope="session")
def iam(server: ServerProcess) -> Client:
    return server.client("iam")


@pytest.fixture
def name(request: pytest.FixtureRequest, iam: Client) -> str:
    """A user of this test alone."""
    name = str(request.node.name)[:64]
    iam.create_user(UserName=name, Path="/tests/")
    return name


def test_a_user_reads_back_as_it_was_made(iam: Client, server: ServerProcess) -> None:
    made = iam.create_user(UserName="reader", Path="/a/", Tags=[{"Key": "team", "Value": "blue + grün"}])["User"]
    account = server.client("sts").get_caller_identity()["Account"]
    assert made["Arn"] == f"arn:aws:iam::{account}:user/a/reader"
    found = iam.get_user(UserName="reader")["User"]
    assert found == made
    assert found["Tags"] == [{"Key": "team", "Value": "blue + grün"}]
    assert found["CreateDate"].year >= 2024


def test_the_account_is_one_for_all_regions(iam: Client, server: ServerProcess, name: str) -> None:
    assert server.client("iam", region="us-west-2").get_user(UserName=name)["User"]["UserName"] == name


def test_a_new_user_may_do_nothing_and_what_is_attached_counts_at_once(
    iam: Client, server: ServerProcess, name: str
) -> None:
    key = iam.create_access_key(UserName=name)["AccessKey"]
    ec2 = client(server, "ec2", key)
    with expect_refusal("UnauthorizedOperation", 403):
        ec2.describe_snapshots(OwnerIds=["self"])
    iam.attach_user_policy(UserName=name, PolicyArn=READ_ONLY)
    assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] is not None
    with expect_refusal("AccessDeniedException", 403, "UNAUTHORIZED_ACCOUNT"):
        client(server, "ebs", key).start_snapshot(VolumeSize=1)
    iam.put_user_policy(UserName=name, PolicyName="no", PolicyDocument=json.dumps(policy("ec2:*", effect="Deny")))
    with expect_refusal("UnauthorizedOperation", 403):
        ec2.describe_snapshots(OwnerIds=["self"])


def test_a_user_may_not_manage_others(iam: Client, server: ServerProcess, name: str) -> None:
    own = client(server, "iam", iam.create_access_key(UserName=name)["AccessKey"])
    for call in (own.list_users, own.list_roles, lambda: own.create_user(UserName="another")):
        with expect_refusal("AccessDenied", 403):
            call()
    assert "another" not in {user["UserName"] for user in iam.list_users()["Users"]}


def test_a_key_that_is_switched_off_is_unknown(iam: Client, server: ServerProcess, name: str) -> None:
    key = iam.create_access_key(UserName=name)["AccessKey"]
    sts = client(server, "sts", key)
    assert sts.get_caller_identity()["Arn"].endswith(f":user/tests/{name}")
    iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with expect_refusal("InvalidClientTokenId", 403):
        sts.get_caller_identity()
    iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Active")
    assert sts.get_caller_identity()["UserId"].startswith("AIDA")
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    with expect_refusal("InvalidClientTokenId", 403):
        sts.get_caller_identity()


def test_documents_come_back_as_they_were_sent(iam: Client, name: str) -> None:
    document = policy("ebs:*", "ec2:Describe*") | {"Id": "ä + ü % & <>"}
    iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=json.dumps(document))
    assert iam.get_user_policy(UserName=name, PolicyName="inline")["PolicyDocument"] == document
    arn = iam.create_policy(PolicyName=f"managed-{name}", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"] == document
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
    iam.create_role(RoleName=f"role-{name}"[:64], AssumeRolePolicyDocument=json.dumps(trust))
    assert iam.get_role(RoleName=f"role-{name}"[:64])["Role"]["AssumeRolePolicyDocument"] == trust


def test_paginators_see_everything_once(iam: Client) -> None:
    for number in range(5):
        iam.create_user(UserName=f"page-{number}", Path="/pages/")
    pages = iam.get_paginator("list_users").paginate(PathPrefix="/pages/", PaginationConfig={"PageSize": 2})
    assert [user["UserName"] for page in pages for user in page["Users"]] == [f"page-{number}" for number in range(5)]


def test_a_waiter_finds_a_user(iam: Client, name: str) -> None:
    iam.get_waiter("user_exists").wait(UserName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 1})
    assert iam.get_user(UserName=name)["User"]["UserName"] == name


def test_refusals_have_iams_codes(iam: Client, name: str) -> None:
    with expect_refusal("NoSuchEntity", 404, message="The user with name nobody cannot be found."):
        iam.get_user(UserName="nobody")
    with expect_refusal("EntityAlreadyExists", 409, message=f"User with name {name} already exists."):
        iam.create_user(UserName=name)
    with expect_refusal("MalformedPolicyDocument", 400):
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument="{}")
    with expect_refusal("ValidationError", 400):
        iam.create_user(UserName="with space")
    with expect_refusal("ValidationError", 400):
        iam.list_users(MaxItems=1, Marker="?")
    with expect_refusal("InvalidInput", 400):
        iam.tag_user(UserName=name, Tags=[{"Key": "a", "Value": ""}, {"Key": "A", "Value": ""}])
    iam.attach_user_policy(UserName=name, PolicyArn=READ_ONLY)
    with expect_refusal("DeleteConflict", 409):
        iam.delete_user(UserName=name)
    for _ in range(2):
        iam.create_access_key(UserName=name)
    with expect_refusal("LimitExceeded", 409):
        iam.create_access_key(UserName=name)
