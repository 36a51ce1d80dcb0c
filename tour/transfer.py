"""Blocks to and from a snapshot with boto3, as a small backup program would do it."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tour.image import BLOCK_SIZE

CONNECTIONS: Final = 8
PAGE: Final = 100
"""The smallest page there is, so that lists take several."""


@dataclass(frozen=True)
class ChangedBlock:
    """One entry of ListChangedBlocks; None for the side where the block is absent."""

    block_index: int
    first_token: str | None
    second_token: str | None


def checksum(data: bytes) -> str:
    """Base64 of SHA-256."""
    return b64encode(hashlib.sha256(data).digest()).decode()


def upload(ebs: Any, snapshot_id: str, blocks: Mapping[int, bytes]) -> str:
    """Put the blocks, several at a time, and complete with their count and aggregate; returns the status."""

    def put(block_index: int) -> None:
        data = blocks[block_index]
        answer = ebs.put_snapshot_block(
            SnapshotId=snapshot_id,
            BlockIndex=block_index,
            BlockData=data,
            DataLength=len(data),
            Checksum=checksum(data),
            ChecksumAlgorithm="SHA256",
        )
        if answer["Checksum"] != checksum(data):
            raise ValueError(f"block {block_index}: the server computed another checksum")

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(put, blocks))
    digests = b"".join(hashlib.sha256(blocks[block_index]).digest() for block_index in sorted(blocks))
    answer = ebs.complete_snapshot(
        SnapshotId=snapshot_id,
        ChangedBlocksCount=len(blocks),
        Checksum=checksum(digests),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    return str(answer["Status"])


def listed(ebs: Any, snapshot_id: str) -> dict[int, str]:
    """Every block of a snapshot: block index to block token."""
    pages = _pages(ebs.list_snapshot_blocks, SnapshotId=snapshot_id)
    return {entry["BlockIndex"]: entry["BlockToken"] for page in pages for entry in page["Blocks"]}


def changed(ebs: Any, first: str, second: str) -> list[ChangedBlock]:
    """Every block that differs between two snapshots."""
    pages = _pages(ebs.list_changed_blocks, FirstSnapshotId=first, SecondSnapshotId=second)
    return [
        ChangedBlock(entry["BlockIndex"], entry.get("FirstBlockToken"), entry.get("SecondBlockToken"))
        for page in pages
        for entry in page["ChangedBlocks"]
    ]


def download(ebs: Any, snapshot_id: str, tokens: Mapping[int, str], target: Path) -> None:
    """Read blocks, several at a time, check each, and write them to their places in an existing file."""

    def get(block_index: int) -> tuple[int, bytes]:
        answer = ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=block_index, BlockToken=tokens[block_index])
        data = answer["BlockData"].read()
        if len(data) != answer["DataLength"] or checksum(data) != answer["Checksum"]:
            raise ValueError(f"block {block_index}: not the bytes that its checksum names")
        return block_index, data

    with target.open("r+b") as file, ThreadPoolExecutor(CONNECTIONS) as threads:
        for block_index, data in threads.map(get, tokens):
            file.seek(block_index * BLOCK_SIZE)
            file.write(data)


def _pages(operation: Callable[..., Any], **members: str) -> Iterator[Any]:
    answer = operation(**members, MaxResults=PAGE)
    yield answer
    while "NextToken" in answer:
        answer = operation(**members, MaxResults=PAGE, NextToken=answer["NextToken"])
        yield answer
