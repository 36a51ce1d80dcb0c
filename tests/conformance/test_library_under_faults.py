"""The library against a server that fails on purpose: what is read and written is right all the same."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.given import BLOCK_SIZE
from tests.server_process import REGION, ServerProcess

from snapstone.client import Client, connect

BLOCK_COUNT = 200
RULES = [
    {"operation": "ebs:PutSnapshotBlock", "error": "throttled", "rate": 0.1, "seed": 1},
    {"operation": "ebs:PutSnapshotBlock", "error": "internal", "rate": 0.1, "seed": 2},
    {"operation": "ebs:PutSnapshotBlock", "cut_after": 0, "rate": 0.05, "seed": 3},
    {"operation": "ebs:GetSnapshotBlock", "error": "throttled", "rate": 0.1, "seed": 4},
    {"operation": "ebs:GetSnapshotBlock", "cut_after": 100_000, "rate": 0.1, "seed": 5},
    {"operation": "ebs:GetSnapshotBlock", "error": "invalid-block-token", "every": 40},
    {"operation": "ebs:ListSnapshotBlocks", "error": "internal", "rate": 0.3, "seed": 6},
    {"operation": "ebs:CompleteSnapshot", "cut_after": 0, "first": 1},
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a faulty server."""
    folder: Path = tmp_path_factory.mktemp("faulty")
    (folder / "faults.json").write_text(json.dumps(RULES))
    arguments = ["--faults", str(folder / "faults.json"), "--allow-fault-injection"]
    with ServerProcess(folder / "data", arguments) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        with connect(endpoint_url=server.endpoint, region=REGION) as client:
            yield client


def test_a_volume_written_in_pieces_reads_as_it_was_written(client: Client, tmp_path: Path) -> None:
    choice = random.Random(5)
    volume = bytearray(choice.randbytes(BLOCK_COUNT * BLOCK_SIZE))
    with client.create(1) as writer:
        for offset in range(0, len(volume), 1_000_000):
            writer.write(volume[offset : offset + 1_000_000])
    with client.create(parent_id=writer.snapshot_id, spill_folder=tmp_path) as child:
        for _ in range(100):
            offset = choice.randrange(len(volume) - 1_000)
            volume[offset : offset + 1_000] = choice.randbytes(1_000)
            child.pwrite(offset, volume[offset : offset + 1_000])
    with client.open(child.snapshot_id) as reader:
        assert reader.read(len(volume)) == volume
    assert client.service.trouble.retried_count > 20
