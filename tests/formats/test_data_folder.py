"""Data folders that Snapstone 0.1.0 left are opened, converted and read back equal: of a server that was stopped, and
of one that was killed.

`data_folder_1` holds them as archives, with what their snapshots hold. They were made through boto3 and are never made
again: completed snapshots with and without a parent, encrypted and copied ones, one in the recycle bin, one that was
deleted, one that is pending; tags, a share, a lock and a retention rule.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from tests.server_process import SOURCE, ServerProcess

FOLDERS: Final = Path(__file__).parent / "data_folder_1"
BLOCK_SIZE: Final = 524_288
DAY_MS: Final = 24 * 3600 * 1000

Snapshots = dict[str, dict[str, Any]]


def block(name: str | None) -> bytes:
    """The content that goes by a name; None is the zero block."""
    line = bytes(1) if name is None else f"golden {name}\n".encode()
    return (line * (BLOCK_SIZE // len(line) + 1))[:BLOCK_SIZE]


@pytest.fixture(params=["stopped", "killed"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def snapshots(kind: str) -> Snapshots:
    found: Snapshots = json.loads((FOLDERS / f"{kind}.json").read_text())
    return found


@pytest.fixture
def data(tmp_path: Path, kind: str) -> Path:
    """The folder as it was left a moment ago: what would have run out since has a day left."""
    folder = tmp_path / "data"
    with tarfile.open(FOLDERS / f"{kind}.tar.xz") as archive:
        archive.extractall(folder)
    folder.chmod(0o700)
    tomorrow_ms = int(time.time() * 1000) + DAY_MS
    with closing(sqlite3.connect(folder / "catalog.db")) as catalog, catalog:
        catalog.execute("UPDATE snapshot SET deadline_at_ms = ? WHERE state = 'pending'", (tomorrow_ms,))
        catalog.execute("UPDATE snapshot SET recycled_until_ms = ? WHERE recycled_until_ms IS NOT NULL", (tomorrow_ms,))
    return folder


def content(server: ServerProcess, snapshot_id: str) -> dict[str, bytes]:
    ebs = server.client("ebs")
    entries = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]
    return {
        str(entry["BlockIndex"]): ebs.get_snapshot_block(SnapshotId=snapshot_id, **entry)["BlockData"].read()
        for entry in entries
    }


def check_completed(server: ServerProcess, snapshots: Snapshots) -> None:
    """Every completed snapshot reads back equal, and what was said of it still holds."""
    for snapshot in snapshots.values():
        if snapshot["state"] == "completed":
            blocks = {index: block(name) for index, name in snapshot["blocks"].items()}
            assert content(server, snapshot["id"]) == blocks
    ec2, first, child = server.client("ec2"), snapshots["first"]["id"], snapshots["child"]["id"]
    changed = server.client("ebs").list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=child)
    assert [entry["BlockIndex"] for entry in changed["ChangedBlocks"]] == [0, 3000]
    [described] = ec2.describe_snapshots(SnapshotIds=[first])["Snapshots"]
    assert (described["Tags"], described["Description"]) == ([{"Key": "Name", "Value": "golden"}], "first")
    shared = ec2.describe_snapshot_attribute(SnapshotId=first, Attribute="createVolumePermission")
    assert shared["CreateVolumePermissions"] == [{"UserId": "444455556666"}]
    assert [each["SnapshotId"] for each in ec2.describe_locked_snapshots()["Snapshots"]] == [child]
    with pytest.raises(ClientError, match="is locked and cannot be deleted"):
        ec2.delete_snapshot(SnapshotId=child)
    with pytest.raises(ClientError, match=r"InvalidSnapshot\.NotFound"):
        ec2.describe_snapshots(SnapshotIds=[snapshots["deleted"]["id"]])


def finish_the_rest(server: ServerProcess, snapshots: Snapshots) -> None:
    """Complete what was pending, and take back what lies in the bin."""
    pending, recycled = snapshots["pending"], snapshots["recycled"]
    answer = server.client("ebs").complete_snapshot(SnapshotId=pending["id"], ChangedBlocksCount=len(pending["blocks"]))
    assert answer["Status"] == "completed"
    assert content(server, pending["id"]) == {index: block(name) for index, name in pending["after"].items()}
    server.client("ec2").restore_snapshot_from_recycle_bin(SnapshotId=recycled["id"])
    assert content(server, recycled["id"]) == {index: block(name) for index, name in recycled["blocks"].items()}


def test_a_folder_of_the_first_version_is_read_written_and_read_again(data: Path, snapshots: Snapshots) -> None:
    with ServerProcess(data) as server:
        check_completed(server, snapshots)
        finish_the_rest(server, snapshots)
    for state in snapshots.values():
        if state["state"] in ("pending", "recycled"):
            state["state"], state["blocks"] = "completed", state.get("after", state["blocks"])
    with ServerProcess(data, ["--workers", "2"]) as server:
        check_completed(server, snapshots)
    with closing(sqlite3.connect(data / "objects" / "index.db")) as index:
        assert index.execute("PRAGMA user_version").fetchall() == [(2,)]


def test_a_conversion_that_is_killed_again_and_again_is_finished_by_the_next_start(
    data: Path, snapshots: Snapshots
) -> None:
    command = [sys.executable, "-m", "snapstone", "serve", "--data", str(data), "--port", "0", "--workers", "1"]
    for step in range(8):
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.15 + 0.12 * step)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with ServerProcess(data) as server:
        check_completed(server, snapshots)
        finish_the_rest(server, snapshots)
