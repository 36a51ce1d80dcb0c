"""Every operation through the AWS CLI, which is told of the server by AWS_ENDPOINT_URL alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from tests.conformance.given import A, B, aggregate, block, checksum
from tests.server_process import ServerProcess

AWS: Final = Path(".tools/awscli/bin/aws")
COMMAND_LIMIT_SECONDS: Final = 60.0

Command = Callable[..., Any]


@pytest.fixture
def aws(server: ServerProcess, tmp_path: Path) -> Command:
    """Run one command in a folder with block files a and b; returns its answer."""
    assert AWS.exists(), "the AWS CLI is not set up: make clients"
    (tmp_path / "a").write_bytes(A)
    (tmp_path / "b").write_bytes(B)

    def run(*arguments: str) -> Any:
        done = subprocess.run(
            [AWS.absolute(), *arguments, "--output", "json"],
            cwd=tmp_path,
            env=server.environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run


def put(aws: Command, snapshot_id: str, block_index: int, name: str) -> None:
    """Write the block in a file."""
    answer = aws(
        *("ebs", "put-snapshot-block", "--snapshot-id", snapshot_id, "--block-index", str(block_index)),
        *("--block-data", name, "--data-length", "524288"),
        *("--checksum", checksum(block(name)), "--checksum-algorithm", "SHA256"),
    )
    assert answer == {"Checksum": checksum(block(name)), "ChecksumAlgorithm": "SHA256"}


def complete(aws: Command, snapshot_id: str, blocks: dict[int, bytes]) -> None:
    """Seal with count and aggregate."""
    answer = aws(
        *("ebs", "complete-snapshot", "--snapshot-id", snapshot_id, "--changed-blocks-count", str(len(blocks))),
        *("--checksum", aggregate(blocks), "--checksum-algorithm", "SHA256"),
        *("--checksum-aggregation-method", "LINEAR"),
    )
    assert answer == {"Status": "completed"}


def test_a_snapshot_is_made_compared_read_described_and_deleted(aws: Command, tmp_path: Path) -> None:
    started = aws("ebs", "start-snapshot", "--volume-size", "1", "--description", "first", "--tags", "Key=k,Value=v")
    assert (started["Status"], started["Tags"]) == ("pending", [{"Key": "k", "Value": "v"}])
    first = started["SnapshotId"]
    put(aws, first, 0, "a")
    put(aws, first, 5, "a")
    complete(aws, first, {0: A, 5: A})

    second = aws("ebs", "start-snapshot", "--volume-size", "1", "--parent-snapshot", first)["SnapshotId"]
    put(aws, second, 5, "b")
    complete(aws, second, {5: B})

    listed = aws("ebs", "list-snapshot-blocks", "--snapshot-id", second)
    assert [entry["BlockIndex"] for entry in listed["Blocks"]] == [0, 5]
    changed = aws("ebs", "list-changed-blocks", "--first-snapshot-id", first, "--second-snapshot-id", second)
    (entry,) = changed["ChangedBlocks"]
    assert entry["BlockIndex"] == 5

    got = aws(
        *("ebs", "get-snapshot-block", "--snapshot-id", second, "--block-index", "5"),
        *("--block-token", entry["SecondBlockToken"], "out"),
    )
    assert (got["DataLength"], got["Checksum"]) == (524_288, checksum(B))
    assert (tmp_path / "out").read_bytes() == B

    aws("ec2", "wait", "snapshot-completed", "--snapshot-ids", first, second)
    described = aws("ec2", "describe-snapshots", "--owner-ids", "self", "--filters", f"Name=snapshot-id,Values={first}")
    assert [(entry["SnapshotId"], entry["State"]) for entry in described["Snapshots"]] == [(first, "completed")]
    aws("ec2", "delete-snapshot", "--snapshot-id", first)
    described = aws("ec2", "describe-snapshots", "--filters", f"Name=snapshot-id,Values={first},{second}")
    assert [entry["SnapshotId"] for entry in described["Snapshots"]] == [second]
    regions = aws("ec2", "describe-regions", "--region-names", "eu-west-1")["Regions"]
    assert [region["RegionName"] for region in regions] == ["eu-west-1"]


def test_a_fault_is_told_by_its_name(server: ServerProcess) -> None:
    done = subprocess.run(
        [AWS.absolute(), "ebs", "list-snapshot-blocks", "--snapshot-id", "snap-0123456789abcdef0"],
        env=server.environment(),
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode != 0
    assert "ResourceNotFoundException" in done.stderr
    assert "The snapshot 'snap-0123456789abcdef0' does not exist." in done.stderr
