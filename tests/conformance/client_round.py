"""The main job and its faults through whichever boto3 runs this; what it saw goes to standard output as JSON.

A program of its own, for environments that hold another boto3 and nothing of this project. It takes the endpoint, which
releases before 2023 have to be told; without it AWS_ENDPOINT_URL says where to go.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
from typing import Any

import boto3
from botocore.exceptions import ClientError

BLOCK_SIZE = 524_288
BLOCKS = {name: name.encode() * BLOCK_SIZE for name in "abc"}


def checksum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def put(ebs: Any, snapshot_id: str, block_index: int, name: str, **members: Any) -> Any:
    data = BLOCKS[name]
    fitting = {"BlockData": data, "DataLength": BLOCK_SIZE, "Checksum": checksum(data), "ChecksumAlgorithm": "SHA256"}
    return ebs.put_snapshot_block(SnapshotId=snapshot_id, BlockIndex=block_index, **{**fitting, **members})


def complete(ebs: Any, snapshot_id: str, names: str) -> str:
    digests = b"".join(hashlib.sha256(BLOCKS[name]).digest() for name in names)
    answer = ebs.complete_snapshot(
        SnapshotId=snapshot_id,
        ChangedBlocksCount=len(names),
        Checksum=checksum(digests),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    return str(answer["Status"])


def fault(call: Any, **members: Any) -> list[Any]:
    try:
        call(**members)
    except ClientError as error:
        return [error.response["Error"]["Code"], error.response["Error"]["Message"], error.response.get("Reason")]
    return ["no fault"]


def run(endpoint: str | None) -> dict[str, Any]:
    ebs = boto3.client("ebs", endpoint_url=endpoint)
    ec2 = boto3.client("ec2", endpoint_url=endpoint)
    first = ebs.start_snapshot(VolumeSize=1, Description="Größe")["SnapshotId"]
    put(ebs, first, 0, "a")
    put(ebs, first, 5, "b", BlockData=io.BytesIO(BLOCKS["b"]))
    first_status = complete(ebs, first, "ab")
    second = ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=first)["SnapshotId"]
    put(ebs, second, 5, "c")
    second_status = complete(ebs, second, "c")
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[first, second])
    listed = ebs.list_snapshot_blocks(SnapshotId=second)
    changed = ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)
    (entry,) = changed["ChangedBlocks"]
    got = ebs.get_snapshot_block(SnapshotId=second, BlockIndex=5, BlockToken=entry["SecondBlockToken"])
    pending = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    seen = {
        "statuses": [first_status, second_status],
        "listed": [block["BlockIndex"] for block in listed["Blocks"]],
        "changed": [block["BlockIndex"] for block in changed["ChangedBlocks"]],
        "read": got["BlockData"].read() == BLOCKS["c"] and got["Checksum"] == checksum(BLOCKS["c"]),
        "description": ec2.describe_snapshots(SnapshotIds=[first])["Snapshots"][0]["Description"],
        "pending": fault(ebs.list_snapshot_blocks, SnapshotId=pending)[::2],
        "mismatch": fault(put, ebs=ebs, snapshot_id=pending, block_index=0, name="a", Checksum="abcd")[:1],
        "constraint": fault(ebs.list_snapshot_blocks, SnapshotId=first, MaxResults=10_001)[1],
    }
    for snapshot_id in (first, second, pending):
        ec2.delete_snapshot(SnapshotId=snapshot_id)
    return seen


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1] if len(sys.argv) > 1 else None)))
