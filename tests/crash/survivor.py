"""A client that remembers what was acknowledged, so that it can be held against what a killed server still has."""

from __future__ import annotations

import hashlib
import random
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, Final

from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.exceptions import HTTPClientError

BLOCK_SIZE: Final = 524_288
WRITERS: Final = 8
INDEX_LIMIT: Final = 2_048
"""Block indexes of the 1-GiB volume that is written to."""

Lost = (BotocoreConnectionError, HTTPClientError)
"""What a client sees of a server that is killed under it."""


def block(stamp: int) -> bytes:
    """A block of its own for each stamp: few of its bytes differ, all of them count."""
    return hashlib.sha256(stamp.to_bytes(8, "little")).digest() * (BLOCK_SIZE // 32)


def checksum(data: bytes) -> str:
    return b64encode(hashlib.sha256(data).digest()).decode()


@dataclass
class Written:
    """One snapshot as its writer knows it: the stamp acknowledged at each index, and the indexes in doubt."""

    snapshot_id: str
    acknowledged: dict[int, int] = field(default_factory=dict)
    in_doubt: dict[int, int] = field(default_factory=dict)
    """Indexes whose last put got no answer: the server may have either version."""

    def put(self, ebs: Any, block_index: int, stamp: int) -> None:
        """Write one block; the index is in doubt until the answer is here."""
        data = block(stamp)
        self.in_doubt[block_index] = stamp
        ebs.put_snapshot_block(
            SnapshotId=self.snapshot_id,
            BlockIndex=block_index,
            BlockData=data,
            DataLength=BLOCK_SIZE,
            Checksum=checksum(data),
            ChecksumAlgorithm="SHA256",
        )
        self.acknowledged[block_index] = stamp
        del self.in_doubt[block_index]

    def put_until_lost(self, ebs: Any, stamps: Iterator[int], seed: int) -> int:
        """Put random blocks from several connections until the server is gone; returns how many were acknowledged.

        Each connection writes indexes of its own, so that the last acknowledged put of an index is known.
        """

        def write(writer: int) -> int:
            chosen, count = random.Random(seed * WRITERS + writer), 0
            try:
                while True:
                    self.put(ebs, chosen.randrange(INDEX_LIMIT // WRITERS) * WRITERS + writer, next(stamps))
                    count += 1
            except Lost:
                return count

        with ThreadPoolExecutor(WRITERS) as pool:
            return sum(pool.map(write, range(WRITERS)))

    def settle(self, ebs: Any) -> None:
        """Put what is in doubt again, so that every index is known."""
        for block_index, stamp in list(self.in_doubt.items()):
            self.put(ebs, block_index, stamp)

    def completion(self) -> dict[str, object]:
        """What CompleteSnapshot is to be told: the server refuses it where a single write was lost."""
        digests = (hashlib.sha256(block(self.acknowledged[index])).digest() for index in sorted(self.acknowledged))
        return {
            "SnapshotId": self.snapshot_id,
            "ChangedBlocksCount": len(self.acknowledged),
            "Checksum": b64encode(hashlib.sha256(b"".join(digests)).digest()).decode(),
            "ChecksumAlgorithm": "SHA256",
            "ChecksumAggregationMethod": "LINEAR",
        }

    def check(self, ebs: Any) -> None:
        """Read every block back and compare."""
        answer = ebs.list_snapshot_blocks(SnapshotId=self.snapshot_id)
        assert [entry["BlockIndex"] for entry in answer["Blocks"]] == sorted(self.acknowledged)

        def read(entry: dict[str, Any]) -> bool:
            got = ebs.get_snapshot_block(SnapshotId=self.snapshot_id, **entry)["BlockData"].read()
            return bool(got == block(self.acknowledged[entry["BlockIndex"]]))

        with ThreadPoolExecutor(WRITERS) as pool:
            assert all(pool.map(read, answer["Blocks"]))


def start(ebs: Any) -> Written:
    """A new snapshot of one GiB."""
    return Written(ebs.start_snapshot(VolumeSize=1)["SnapshotId"])


def wait_for(is_done: Callable[[], bool], limit_seconds: float) -> None:
    """Ask until the answer is yes."""
    deadline = monotonic() + limit_seconds
    while not is_done():
        assert monotonic() < deadline, f"not so after {limit_seconds} s"
        sleep(0.05)
