"""A user of the shared server, and snapshots to look at."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.server_process import ServerProcess
from tests.unit.cli.running import Client, client_of

MakeSnapshot = Callable[..., str]


@pytest.fixture
def client(server: ServerProcess, tmp_path: Path) -> Client:
    """Somebody with an empty home, who is root on the shared server."""
    return client_of(server, tmp_path)


@pytest.fixture(scope="session")
def make_snapshot(server: ServerProcess) -> MakeSnapshot:
    """Makes a snapshot of given blocks by boto3, completed unless said otherwise."""
    ebs, ec2 = server.client("ebs"), server.client("ec2")

    def make(
        blocks: Mapping[int, bytes] | None = None,
        *,
        volume_size_gib: int = 1,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        complete: bool = True,
    ) -> str:
        wanted = {"Description": description} if description else {}
        tag_list = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
        snapshot_id: str = ebs.start_snapshot(VolumeSize=volume_size_gib, Tags=tag_list, **wanted)["SnapshotId"]
        for block_index, block in (blocks or {}).items():
            ebs.put_snapshot_block(
                SnapshotId=snapshot_id,
                BlockIndex=block_index,
                BlockData=block,
                DataLength=len(block),
                Checksum=b64encode(hashlib.sha256(block).digest()).decode(),
                ChecksumAlgorithm="SHA256",
            )
        if complete:
            ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(blocks or {}))
            ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig={"Delay": 1})
        return snapshot_id

    return make
