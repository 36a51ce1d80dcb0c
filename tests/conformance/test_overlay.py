"""The overlay: paginators and waiters for the ebs client of boto3 releases years apart, and for the AWS CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError, WaiterError
from tests.conformance.given import A, B, aggregate, completed, failed, put, started
from tests.server_process import REGION, SOURCE, Client, ServerProcess

from snapstone.client.overlay import FOLDER, path_with_overlay, register

PROGRAM: Final = Path(__file__).with_name("overlay_round.py")
AWS: Final = Path(".tools/awscli/bin/aws")
LIMIT_SECONDS: Final = 60.0
AT_ONCE: Final = {"Delay": 0, "MaxAttempts": 1}
SOON: Final = {"Delay": 1, "MaxAttempts": 30}

WITHOUT: Final = {
    "can_paginate": [False, False],
    "waiters": [],
    "refused": ["OperationNotPageableError", "ValueError"],
}


def overlaid(server: ServerProcess) -> dict[str, str]:
    """The environment of a client of the server, with the overlay."""
    return server.environment() | {"AWS_DATA_PATH": str(FOLDER)}


def said(command: list[str], environment: dict[str, str]) -> Any:
    """What a command prints as JSON; None if it prints nothing."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def session_of(server: ServerProcess) -> boto3.Session:
    """A boto3 session that signs with the server's key."""
    return boto3.Session(
        aws_access_key_id=server.key.access_key_id,
        aws_secret_access_key=server.key.secret_access_key,
        region_name=REGION,
    )


@pytest.fixture(scope="module")
def registered(server: ServerProcess) -> Client:
    """The ebs client of a boto3 session to which the overlay was given."""
    session = session_of(server)
    register(session)
    return session.client("ebs", endpoint_url=server.endpoint)


@pytest.fixture(scope="module")
def pair(ebs: Client) -> tuple[str, str]:
    """Two snapshots: blocks 0 to 204 of one byte each, and a child that has other bytes in 150 of them."""
    first = completed(ebs, {index: bytes([index]) * len(A) for index in range(205)})
    return first, completed(
        ebs, {index: bytes([index + 1]) * len(A) for index in range(50, 200)}, ParentSnapshotId=first
    )


@pytest.mark.parametrize("release", ["boto3-2021", "boto3-2023", "today"])
def test_releases_years_apart_find_the_overlay_on_aws_data_path(
    server: ServerProcess, pair: tuple[str, str], release: str
) -> None:
    python = sys.executable if release == "today" else str(Path(".tools", release, "bin/python").absolute())
    assert Path(python).exists(), f"{release} is not set up: make clients"
    assert said([python, str(PROGRAM), server.endpoint, *pair], overlaid(server)) == {
        "can_paginate": [True, True],
        "waiters": ["snapshot_completed", "snapshot_sealed"],
        "pages": [100, 100, 5],
        "changed": list(range(50, 200)),
        "waited": True,
    }


@pytest.mark.parametrize("release", ["boto3-2021", "boto3-2023", "today"])
def test_without_the_overlay_boto3_behaves_as_ever(server: ServerProcess, release: str) -> None:
    python = sys.executable if release == "today" else str(Path(".tools", release, "bin/python").absolute())
    assert said([python, str(PROGRAM), server.endpoint], server.environment()) == WITHOUT


def test_what_snapstone_env_prints_has_the_overlay_behind_what_was_there(server: ServerProcess) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    script = f"""
        set -eu
        eval "$({sys.executable} -m snapstone env --data {server.data_folder})"
        eval "$({sys.executable} -m snapstone env --data {server.data_folder})"
        exec {sys.executable} -c 'import json, os; print(json.dumps(os.environ["AWS_DATA_PATH"]))'
    """
    environment["PYTHONPATH"] = str(SOURCE)
    assert said(["bash", "-c", script], environment) == str(FOLDER)
    environment["AWS_DATA_PATH"] = "/my models:~/others"
    assert said(["bash", "-c", script], environment) == f"/my models:~/others:{FOLDER}"


def test_an_empty_aws_data_path_counts_as_none() -> None:
    assert path_with_overlay("") == path_with_overlay(None) == str(FOLDER)


def test_a_registered_session_paginates_and_keeps_what_every_page_says(
    registered: Client, pair: tuple[str, str]
) -> None:
    paginator = registered.get_paginator("list_snapshot_blocks")
    asked = {"SnapshotId": pair[0], "StartingBlockIndex": 3, "PaginationConfig": {"PageSize": 100}}
    assert [len(page["Blocks"]) for page in paginator.paginate(**asked)] == [100, 100, 2]
    whole = paginator.paginate(**asked).build_full_result()
    assert [entry["BlockIndex"] for entry in whole["Blocks"]] == list(range(3, 205))
    assert (whole["VolumeSize"], whole["BlockSize"]) == (1, 524_288)


def test_a_pagination_goes_on_from_its_resume_token(registered: Client, pair: tuple[str, str]) -> None:
    paginator = registered.get_paginator("list_changed_blocks")
    both = {"FirstSnapshotId": pair[0], "SecondSnapshotId": pair[1]}
    begun = paginator.paginate(**both, PaginationConfig={"PageSize": 100, "MaxItems": 120}).build_full_result()
    rest = paginator.paginate(**both, PaginationConfig={"StartingToken": begun["NextToken"]}).build_full_result()
    indexes = [entry["BlockIndex"] for part in (begun, rest) for entry in part["ChangedBlocks"]]
    assert indexes == list(range(50, 200))


def test_a_snapshot_is_waited_for_until_it_is_completed(registered: Client) -> None:
    snapshot_id = started(registered)
    with pytest.raises(WaiterError, match="Max attempts exceeded"):
        registered.get_waiter("snapshot_completed").wait(SnapshotId=snapshot_id, WaiterConfig=AT_ONCE)
    put(registered, snapshot_id, 0, A)
    sealing = threading.Timer(
        1.0, registered.complete_snapshot, kwargs={"SnapshotId": snapshot_id, "ChangedBlocksCount": 1}
    )
    sealing.start()
    registered.get_waiter("snapshot_completed").wait(SnapshotId=snapshot_id, WaiterConfig=SOON)
    sealing.join()
    assert len(registered.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]) == 1


def test_a_reader_cannot_tell_error_from_pending_and_gives_up_at_the_last_attempt(registered: Client) -> None:
    with pytest.raises(WaiterError, match="Max attempts exceeded") as caught:
        registered.get_waiter("snapshot_completed").wait(
            SnapshotId=failed(registered), WaiterConfig={"Delay": 0, "MaxAttempts": 3}
        )
    assert caught.value.last_response["Error"]["Code"] == "ResourceNotFoundException"


def test_what_waiting_cannot_help_ends_the_wait_at_once(registered: Client) -> None:
    with pytest.raises(WaiterError, match="ValidationException"):
        registered.get_waiter("snapshot_completed").wait(SnapshotId="no-snapshot")


def test_the_writer_waits_by_completing_and_may_repeat_it(registered: Client) -> None:
    snapshot_id = started(registered)
    put(registered, snapshot_id, 7, B)
    sealed = registered.get_waiter("snapshot_sealed")
    for _ in range(2):
        sealed.wait(
            SnapshotId=snapshot_id,
            ChangedBlocksCount=1,
            Checksum=aggregate({7: B}),
            ChecksumAlgorithm="SHA256",
            ChecksumAggregationMethod="LINEAR",
            WaiterConfig=AT_ONCE,
        )
    assert len(registered.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]) == 1


def test_the_writer_learns_at_once_that_the_snapshot_is_in_error(registered: Client) -> None:
    snapshot_id = started(registered)
    with pytest.raises(WaiterError, match=r'terminal failure state: For expression "Status" we matched .*"error"'):
        registered.get_waiter("snapshot_sealed").wait(SnapshotId=snapshot_id, ChangedBlocksCount=3)


def test_a_session_that_learned_that_there_are_no_waiters_forgets_it(server: ServerProcess) -> None:
    session = session_of(server)
    before = session.client("ebs", endpoint_url=server.endpoint)
    assert (before.waiter_names, before.can_paginate("list_snapshot_blocks")) == ([], False)
    register(session)
    register(session)
    after = session.client("ebs", endpoint_url=server.endpoint)
    assert after.waiter_names == ["snapshot_completed", "snapshot_sealed"]
    assert after.can_paginate("list_snapshot_blocks")
    assert session_of(server).client("ebs", endpoint_url=server.endpoint).waiter_names == []


def test_registration_leaves_the_service_model_and_the_other_services_alone(server: ServerProcess) -> None:
    plain, session = session_of(server), session_of(server)
    register(session)
    models = [one.client("ebs", endpoint_url=server.endpoint).meta.service_model for one in (plain, session)]
    assert models[0].operation_names == models[1].operation_names
    ec2 = session.client("ec2", endpoint_url=server.endpoint)
    assert "snapshot_completed" in ec2.waiter_names
    assert ec2.can_paginate("describe_snapshots")
    assert session.get_available_services() == plain.get_available_services()


def test_a_session_of_botocore_is_registered_alike() -> None:
    session = botocore.session.get_session()
    register(session)
    client = session.create_client("ebs", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="y")
    assert client.waiter_names == ["snapshot_completed", "snapshot_sealed"]


def test_the_default_session_of_boto3_is_registered_alike(server: ServerProcess) -> None:
    program = (
        "import boto3; from snapstone.client import overlay; boto3.setup_default_session(); "
        "overlay.register(boto3.DEFAULT_SESSION); print(len(boto3.client('ebs').waiter_names))"
    )
    assert said([sys.executable, "-c", program], server.environment() | {"PYTHONPATH": str(SOURCE)}) == 2


def test_the_aws_cli_joins_pages_and_waits(server: ServerProcess, pair: tuple[str, str]) -> None:
    assert AWS.exists(), "the AWS CLI is not set up: make clients"
    aws, environment = str(AWS.absolute()), overlaid(server)
    assert said([aws, "ebs", "wait", "snapshot-completed", "--snapshot-id", pair[0]], environment) is None
    listed = said([aws, "ebs", "list-snapshot-blocks", "--snapshot-id", pair[0], "--page-size", "100"], environment)
    assert [entry["BlockIndex"] for entry in listed["Blocks"]] == list(range(205))
    changed = said(
        [
            *(aws, "ebs", "list-changed-blocks", "--page-size", "100", "--max-items", "120"),
            *("--first-snapshot-id", pair[0], "--second-snapshot-id", pair[1]),
        ],
        environment,
    )
    assert [entry["BlockIndex"] for entry in changed["ChangedBlocks"]] == list(range(50, 170))
    assert changed["NextToken"]


def test_a_paginator_reports_a_fault_as_the_operation_would(registered: Client) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        registered.get_paginator("list_snapshot_blocks").paginate(SnapshotId=started(registered)).build_full_result()
