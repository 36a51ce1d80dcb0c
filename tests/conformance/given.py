"""Snapshots with given blocks, made through the API as any client would make them."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from tests.server_process import Client

BLOCK_SIZE: Final = 524_288
ZERO: Final = bytes(BLOCK_SIZE)

Blocks = Mapping[int, bytes]
"""Block index to its 524,288 bytes."""


def block(name: str) -> bytes:
    """A block of its own for each name: the line that the vectors of EBS-COMPLETE repeat, cut to a block's size."""
    line = f"stackd-ebs-synthetic-{name}\n".encode()
    return (line * (BLOCK_SIZE // len(line) + 1))[:BLOCK_SIZE]


A, B, C = block("a"), block("b"), block("c")


def checksum(data: bytes) -> str:
    """Base64 of the SHA-256 of some bytes."""
    return b64encode(hashlib.sha256(data).digest()).decode()


def aggregate(blocks: Blocks) -> str:
    """The linear checksum: SHA-256 of the raw digests, in ascending order of block index."""
    return checksum(b"".join(hashlib.sha256(blocks[index]).digest() for index in sorted(blocks)))


def started(ebs: Client, **members: Any) -> str:
    """A pending snapshot, of 1 GiB unless told otherwise."""
    return str(ebs.start_snapshot(**{"VolumeSize": 1} | members)["SnapshotId"])


def put(ebs: Client, snapshot_id: str, block_index: int, data: bytes, **members: Any) -> Any:
    """Write one block; members given replace those that fit `data`."""
    fitting = {
        "SnapshotId": snapshot_id,
        "BlockIndex": block_index,
        "BlockData": data,
        "DataLength": len(data),
        "Checksum": checksum(data),
        "ChecksumAlgorithm": "SHA256",
    }
    return ebs.put_snapshot_block(**fitting | members)


def complete(ebs: Client, snapshot_id: str, blocks: Blocks) -> str:
    """Seal a snapshot whose own writes are `blocks`, and say so with count and aggregate; returns the status."""
    answer = ebs.complete_snapshot(
        SnapshotId=snapshot_id,
        ChangedBlocksCount=len(blocks),
        Checksum=aggregate(blocks),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    return str(answer["Status"])


def completed(ebs: Client, blocks: Blocks, **members: Any) -> str:
    """A completed snapshot into which `blocks` were written."""
    snapshot_id = started(ebs, **members)
    for block_index, data in blocks.items():
        put(ebs, snapshot_id, block_index, data)
    assert complete(ebs, snapshot_id, blocks) == "completed"
    return snapshot_id


def failed(ebs: Client, **members: Any) -> str:
    """A snapshot in error, because its count was wrong."""
    snapshot_id = started(ebs, **members)
    assert ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)["Status"] == "error"
    return snapshot_id


def deleted(ebs: Client, ec2: Client) -> str:
    """The id of a snapshot that was completed and is no more."""
    snapshot_id = completed(ebs, {0: A})
    ec2.delete_snapshot(SnapshotId=snapshot_id)
    return snapshot_id


def tokens(ebs: Client, snapshot_id: str, **query: Any) -> dict[int, str]:
    """Every block that a snapshot lists: block index to block token, all pages joined."""
    found: dict[int, str] = {}
    answer = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, **query)
    while True:
        found.update({entry["BlockIndex"]: entry["BlockToken"] for entry in answer["Blocks"]})
        if "NextToken" not in answer:
            return found
        answer = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, **query | {"NextToken": answer["NextToken"]})


def read(ebs: Client, snapshot_id: str, block_index: int, token: str) -> bytes:
    """The bytes of one block."""
    answer = ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=block_index, BlockToken=token)
    return bytes(answer["BlockData"].read())


def content(ebs: Client, snapshot_id: str) -> dict[int, bytes]:
    """Everything that a snapshot holds, read block by block."""
    return {index: read(ebs, snapshot_id, index, token) for index, token in tokens(ebs, snapshot_id).items()}
