"""Faults on demand, met by unmodified boto3."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, IncompleteReadError, ResponseStreamingError
from tests.conformance.given import A, completed, read, tokens
from tests.server_process import REGION, SOURCE, Client, ServerProcess

FAULTS = "faults.json"


def inject(server: ServerProcess, *rules: dict[str, object]) -> None:
    """Replace the rules, as an operator's editor does."""
    target = server.data_folder.with_name(FAULTS)
    fresh = target.with_suffix(".new")
    fresh.write_text(json.dumps(rules))
    fresh.replace(target)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that may inject faults."""
    folder: Path = tmp_path_factory.mktemp("faulty")
    (folder / FAULTS).write_text("[]")
    arguments = ["--faults", str(folder / FAULTS), "--allow-fault-injection"]
    with ServerProcess(folder / "data", arguments) as server:
        yield server


@pytest.fixture
def ebs(faulty: ServerProcess) -> Iterator[Client]:
    """A client for a test that leaves no rules behind."""
    yield faulty.client("ebs")
    inject(faulty)


@pytest.mark.parametrize(
    ("service", "method", "error", "code", "status"),
    [
        ("ebs", "start_snapshot", "internal", "InternalServerException", 500),
        ("ebs", "start_snapshot", "throttled", "RequestThrottledException", 400),
        ("ec2", "describe_regions", "internal", "InternalError", 500),
        ("ec2", "describe_regions", "throttled", "RequestLimitExceeded", 503),
        ("kms", "list_keys", "internal", "KMSInternalException", 500),
        ("sts", "get_caller_identity", "internal", "InternalFailure", 500),
    ],
)
def test_each_service_fails_in_its_own_words(
    faulty: ServerProcess, ebs: Client, service: str, method: str, error: str, code: str, status: int
) -> None:
    inject(faulty, {"operation": f"{service}:*", "error": error})
    members = {"VolumeSize": 1} if service == "ebs" else {}
    with pytest.raises(ClientError) as caught:
        getattr(faulty.client(service), method)(**members)
    answer = caught.value.response
    assert answer["Error"]["Code"] == code
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-snapstone-fault"] == error


EBS_ERRORS = {
    "RequestThrottledException/ACCOUNT_THROTTLED": 400,
    "RequestThrottledException/RESOURCE_LEVEL_THROTTLE": 400,
    "ServiceQuotaExceededException/DEPENDENCY_SERVICE_QUOTA_EXCEEDED": 402,
    "ConcurrentLimitExceededException": 400,
    "InternalServerException": 500,
    "ResourceNotFoundException/SNAPSHOT_NOT_FOUND": 404,
    "AccessDeniedException": 403,
    "ValidationException/INVALID_BLOCK_TOKEN": 400,
    "ValidationException/INVALID_PAGE_TOKEN": 400,
    "ConflictException": 409,
    "ExpiredTokenException": 403,
}
"""AWS's names, with their reasons, and statuses (docs/aws-behaviour/signing-and-protocols.md, ERR-4)."""


@pytest.mark.parametrize(("name", "status"), EBS_ERRORS.items())
def test_an_error_of_ebs_comes_as_it_is_named(faulty: ServerProcess, ebs: Client, name: str, status: int) -> None:
    inject(faulty, {"operation": "ebs:*", "error": name})
    with pytest.raises(ClientError) as caught:
        ebs.list_snapshot_blocks(SnapshotId="snap-0123456789abcdef0")
    answer = caught.value.response
    code, _, reason = name.partition("/")
    assert answer["Error"]["Code"] == code
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status
    assert not reason or answer["Reason"] == reason


@pytest.mark.parametrize(
    ("service", "method", "code", "status"),
    [
        ("ec2", "describe_regions", "RequestLimitExceeded", 503),
        ("ec2", "describe_regions", "InternalError", 500),
        ("ec2", "describe_regions", "Unavailable", 503),
        ("ec2", "describe_regions", "UnauthorizedOperation", 403),
        ("kms", "list_keys", "ThrottlingException", 400),
        ("kms", "list_keys", "KMSInternalException", 500),
        ("kms", "list_keys", "DependencyTimeoutException", 503),
        ("kms", "list_keys", "LimitExceededException", 400),
        ("sts", "get_caller_identity", "Throttling", 400),
        ("sts", "get_caller_identity", "ServiceUnavailable", 503),
        ("iam", "list_users", "InternalFailure", 500),
        ("iam", "list_users", "LimitExceeded", 409),
        ("iam", "list_users", "AccessDenied", 403),
    ],
)
def test_an_error_of_another_service_comes_as_it_is_named(
    faulty: ServerProcess, ebs: Client, service: str, method: str, code: str, status: int
) -> None:
    inject(faulty, {"operation": f"{service}:*", "error": code})
    with pytest.raises(ClientError) as caught:
        getattr(faulty.client(service), method)()
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_only_every_nth_of_the_first_n_calls_is_hit(faulty: ServerProcess, ebs: Client) -> None:
    inject(faulty, {"operation": "ebs:StartSnapshot", "error": "internal", "every": 2, "first": 5})
    assert [starts(ebs) for _ in range(8)] == [True, False, True, False, True, True, True, True]


def test_a_seed_gives_the_same_faults_again(faulty: ServerProcess, ebs: Client) -> None:
    runs = []
    for _ in range(2):
        inject(faulty, {"operation": "ebs:Start*", "error": "internal", "rate": 0.5, "seed": 7})
        runs.append([starts(ebs) for _ in range(20)])
    assert runs[0] == runs[1]
    assert {True, False} == set(runs[0])


def starts(ebs: Client) -> bool:
    """Whether a snapshot can be started."""
    try:
        ebs.start_snapshot(VolumeSize=1)
    except ClientError:
        return False
    return True


def test_a_cut_in_the_middle_of_a_block_is_no_block(faulty: ServerProcess, ebs: Client) -> None:
    snapshot_id = completed(ebs, {0: A})
    token = tokens(ebs, snapshot_id)[0]
    inject(faulty, {"operation": "ebs:GetSnapshotBlock", "cut_after": 1000, "first": 1})
    with pytest.raises((IncompleteReadError, ResponseStreamingError)):
        read(ebs, snapshot_id, 0, token)
    assert read(ebs, snapshot_id, 0, token) == A


def test_a_delay_alone_lets_the_call_succeed_and_says_so(faulty: ServerProcess, ebs: Client) -> None:
    inject(faulty, {"operation": "ebs:StartSnapshot", "latency_ms": 1, "jitter_ms": 1})
    headers = ebs.start_snapshot(VolumeSize=1)["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-snapstone-fault"] == "latency"


def test_rules_that_cannot_be_read_leave_the_old_ones(faulty: ServerProcess, ebs: Client) -> None:
    inject(faulty, {"operation": "ebs:StartSnapshot", "error": "internal"})
    assert not starts(ebs)
    inject(faulty, {"error": "unheard-of"})
    assert not starts(ebs)


def test_the_log_warns_at_the_start_and_names_each_fault(faulty: ServerProcess, ebs: Client) -> None:
    inject(faulty, {"operation": "ebs:StartSnapshot", "error": "snapshot-throttled"})
    assert not starts(ebs)
    text = faulty.log_path.read_text()
    assert "fault injection is on" in text
    assert "snapshot-throttled" in text


def test_no_server_injects_faults_by_accident(tmp_path: Path) -> None:
    (tmp_path / FAULTS).write_text("[]")
    ended = subprocess.run(
        [sys.executable, "-m", "snapstone", "serve", "--data", str(tmp_path / "data"), "--port", "0",
         "--region", REGION, "--faults", str(tmp_path / FAULTS)],
        capture_output=True, text=True, timeout=60, check=False, env={"PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert ended.returncode != 0
    assert "--allow-fault-injection" in ended.stderr
