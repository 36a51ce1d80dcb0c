"""A server killed in the middle of copies: what was accepted is finished by the next one."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.given import ZERO, Blocks, block, completed, content
from tests.server_process import REGION, Client, ServerProcess

BLOCKS: Blocks = {number * 3: block(f"n{number}") for number in range(40)} | {1: ZERO}


def wait_until_completed(ec2: Client, snapshot_id: str) -> None:
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_copies_that_a_kill_cut_off_are_finished_by_the_next_server(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        source = completed(server.client("ebs"), BLOCKS)
        key_arn = server.client("kms").create_key()["KeyMetadata"]["Arn"]
        ec2 = server.client("ec2")
        members = {"SourceRegion": REGION, "SourceSnapshotId": source}
        plain = ec2.copy_snapshot(**members)["SnapshotId"]
        encrypted = ec2.copy_snapshot(**members, Encrypted=True, KmsKeyId=key_arn)["SnapshotId"]
        server.kill()
    with ServerProcess(tmp_path / "data") as server:
        ebs, ec2 = server.client("ebs"), server.client("ec2")
        for snapshot_id in (plain, encrypted):
            wait_until_completed(ec2, snapshot_id)
            assert content(ebs, snapshot_id) == BLOCKS


def test_a_lock_that_was_answered_survives_a_kill(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        snapshot_id = completed(server.client("ebs"), {})
        server.client("ec2").lock_snapshot(SnapshotId=snapshot_id, LockMode="compliance", LockDuration=1)
        server.kill()
    with ServerProcess(tmp_path / "data") as server:
        [locked] = server.client("ec2").describe_locked_snapshots()["Snapshots"]
        assert (locked["SnapshotId"], locked["LockState"]) == (snapshot_id, "compliance")
