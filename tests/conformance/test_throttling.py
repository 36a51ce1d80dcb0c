"""Quotas through unmodified boto3: each service's own answer, retried by the SDK, and one rate for all workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.conformance.given import A, completed, put, started
from tests.server_process import REGION, Client, ServerProcess

SLOW = {"rate": 0.001, "burst": 3}
"""Three calls, and no other within a test's time."""

QUOTAS = {
    "account": {
        "ebs:StartSnapshot": SLOW,
        "ebs:ListSnapshotBlocks": {"rate": 0.5, "burst": 1},
        "ec2:DescribeRegions": SLOW,
        "kms:ListKeys": SLOW,
        "sts:GetCallerIdentity": SLOW,
        "iam:ListUsers": SLOW,
    },
    "snapshot": {"ebs:PutSnapshotBlock": SLOW},
}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of two workers with quotas."""
    folder: Path = tmp_path_factory.mktemp("limited")
    (folder / "quotas.json").write_text(json.dumps(QUOTAS))
    arguments = ["--workers", "2", "--quotas", str(folder / "quotas.json")]
    with ServerProcess(folder / "data", arguments) as server:
        yield server


def refusal_after_three(server: ServerProcess, service: str, method: str, region: str) -> ClientError:
    """The error of the fourth call; each call has a connection of its own, so that both workers are met."""
    for _ in range(3):
        getattr(server.client(service, region), method)()
    with pytest.raises(ClientError) as caught:
        getattr(server.client(service, region), method)()
    return caught.value


@pytest.mark.parametrize(
    ("service", "method", "code", "status"),
    [
        ("ec2", "describe_regions", "RequestLimitExceeded", 503),
        ("kms", "list_keys", "ThrottlingException", 400),
        ("sts", "get_caller_identity", "Throttling", 400),
        ("iam", "list_users", "Throttling", 400),
    ],
)
def test_each_service_throttles_in_its_own_words(
    limited: ServerProcess, service: str, method: str, code: str, status: int
) -> None:
    response = refusal_after_three(limited, service, method, "us-east-1").response
    assert response["Error"]["Code"] == code
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_two_workers_start_three_snapshots_together_and_another_region_three_more(limited: ServerProcess) -> None:
    for region in (REGION, "us-west-2"):
        outcomes = [start_outcome(limited.client("ebs", region)) for _ in range(8)]
        assert sorted(outcomes) == sorted(["started"] * 3 + ["RequestThrottledException ACCOUNT_THROTTLED 400"] * 5)


def start_outcome(ebs: Client) -> str:
    """`started`, or error code, reason and status."""
    try:
        started(ebs)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return f"{error.response['Error']['Code']} {error.response.get('Reason')} {status}"
    return "started"


def test_a_snapshot_has_a_rate_of_its_own(limited: ServerProcess) -> None:
    ebs = limited.client("ebs", "us-east-1")
    first, second = started(ebs), started(ebs)
    for block_index in range(3):
        put(ebs, first, block_index, A)
    with pytest.raises(ClientError) as caught:
        put(ebs, first, 3, A)
    assert caught.value.response["Error"]["Code"] == "RequestThrottledException"
    assert caught.value.response["Reason"] == "RESOURCE_LEVEL_THROTTLE"
    put(ebs, second, 0, A)


def test_pending_snapshots_are_limited_across_workers(tmp_path: Path) -> None:
    (tmp_path / "quotas.json").write_text('{"pending_snapshots": 2}')
    arguments = ["--workers", "2", "--quotas", str(tmp_path / "quotas.json")]
    with ServerProcess(tmp_path / "data", arguments) as server:
        outcomes = [start_outcome(server.client("ebs")) for _ in range(4)]
    assert outcomes == ["started"] * 2 + ["ConcurrentLimitExceededException None 400"] * 2


def test_the_sdk_tries_again_and_succeeds(limited: ServerProcess) -> None:
    ebs = patient_client(limited, "eu-west-1")
    snapshot_id = completed(ebs, {0: A})
    ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
    answer = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
    assert [entry["BlockIndex"] for entry in answer["Blocks"]] == [0]
    assert answer["ResponseMetadata"]["RetryAttempts"] > 0


def patient_client(server: ServerProcess, region: str) -> Client:
    """A client that tries a request up to ten times, as SDKs do."""
    return boto3.client(
        "ebs",
        endpoint_url=server.endpoint,
        region_name=region,
        aws_access_key_id=server.key.access_key_id,
        aws_secret_access_key=server.key.secret_access_key,
        config=Config(retries={"total_max_attempts": 10, "mode": "standard"}),
    )
