"""The commands about accounts, users and keys beside a running server: what they change counts for the next request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.conformance.faults import expect_refusal
from tests.conformance.test_iam import client
from tests.server_process import ServerProcess

from snapstone.cli.main import main


def run(server: ServerProcess, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The result of a command on the server's data folder."""
    assert main([*arguments, "--json", "--data", str(server.data_folder)]) == 0
    printed = capsys.readouterr().out
    return json.loads(printed) if printed else None


def test_a_users_key_is_made_and_disabled(server: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    run(server, capsys, "user", "create", "commanded", "--policy", "SnapstoneReadOnly")
    key = run(server, capsys, "key", "create", "--user", "commanded")
    ec2 = client(server, "ec2", key)
    assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] is not None
    run(server, capsys, "user", "policy", "detach", "commanded", "SnapstoneReadOnly")
    with expect_refusal("UnauthorizedOperation", 403):
        ec2.describe_snapshots(OwnerIds=["self"])
    run(server, capsys, "key", "disable", key["AccessKeyId"], "--user", "commanded")
    with expect_refusal("AuthFailure", 401):
        ec2.describe_snapshots(OwnerIds=["self"])


def test_an_account_is_a_world_of_its_own(server: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    key = run(server, capsys, "account", "create", "laboratory")
    snapshot_id = client(server, "ebs", key).start_snapshot(VolumeSize=1)["SnapshotId"]
    [snapshot] = client(server, "ec2", key).describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert snapshot["OwnerId"] == key["AccountId"]
    with expect_refusal("InvalidSnapshot.NotFound", 400):
        server.client("ec2").describe_snapshots(SnapshotIds=[snapshot_id])
