"""The client against a server with quotas that fails, cuts connections and, by a proxy, answers wrong bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.client_command import LOGGING_ALL, ClientCommand, Request, Requests
from tests.conformance.given import A, B, C, block
from tests.server_process import ServerProcess
from tests.unreliable_proxy import UnreliableProxy

QUOTA: Final = 80
"""Puts and gets a second: a small part of what the server can do, even on a busy machine."""
BLOCK_COUNT: Final = 560
"""Seven seconds of it."""
WITHIN: Final = 0.85
MOST_IN_VAIN: Final = 0.5
"""Of the requests that are let in: so many more may be refused before and after the rate has been learned."""

QUOTAS: Final = {
    "account": {f"ebs:{name}": {"rate": QUOTA, "burst": 10} for name in ("PutSnapshotBlock", "GetSnapshotBlock")}
}


def faults_of(operation: str) -> list[dict[str, object]]:
    """One call of twenty: throttles of both kinds, and server faults. The proxy loses as many answers."""
    each = ["throttled", "snapshot-throttled", "internal"]
    return [{"operation": operation, "error": error, "rate": 0.017, "seed": seed} for seed, error in enumerate(each)]


FAULTS: Final = [
    {"operation": "ebs:StartSnapshot", "cut_after": 0, "first": 1},
    {"operation": "ebs:StartSnapshot", "error": "throttled", "first": 1},
    {"operation": "ebs:CompleteSnapshot", "cut_after": 0, "first": 1},
    {"operation": "ebs:CompleteSnapshot", "error": "internal", "first": 1},
    {"operation": "ebs:ListSnapshotBlocks", "error": "throttled", "first": 1},
    {"operation": "ebs:ListSnapshotBlocks", "cut_after": 100, "first": 1},
    {"operation": "ebs:GetSnapshotBlock", "cut_after": 100_000, "rate": 0.017, "seed": 9},
    *faults_of("ebs:PutSnapshotBlock"),
    *faults_of("ebs:GetSnapshotBlock"),
]


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with quotas and faults."""
    folder = tmp_path_factory.mktemp("hard")
    (folder / "quotas.json").write_text(json.dumps(QUOTAS))
    (folder / "faults.json").write_text(json.dumps(FAULTS))
    arguments = ["--quotas", str(folder / "quotas.json")]
    arguments += ["--faults", str(folder / "faults.json"), "--allow-fault-injection"]
    with ServerProcess(folder / "data", [*arguments, *LOGGING_ALL]) as server:
        yield server


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blocks that all differ."""
    path: Path = tmp_path_factory.mktemp("image") / "image"
    with path.open("wb") as file:
        for block_index in range(BLOCK_COUNT):
            file.write(block(str(block_index)))
    return path


def settled_rate(requests: list[Request]) -> float:
    """Requests a second that the quota let in, in the second half of them; faults are injected behind the quota."""
    times = sorted(request.at_seconds for request in requests if request.status < 300 or request.fault)
    late = times[len(times) // 2 :]
    return (len(late) - 1) / (late[-1] - late[0])


def test_transfers_end_right_and_at_the_rate_of_the_quota(hard: ServerProcess, image: Path, tmp_path: Path) -> None:
    requests = Requests(hard.log_path)
    with UnreliableProxy(hard.address, lose_every=20) as proxy:
        client = ClientCommand(hard, tmp_path / "state", proxy.endpoint)
        snapshot_id = client.run("upload", image)
        client.run("download", snapshot_id, tmp_path / "copy")
        assert proxy.lost_count >= BLOCK_COUNT // 10
    assert (tmp_path / "copy").read_bytes() == image.read_bytes()
    for method in ("PUT", "GET"):
        of_method = [request for request in requests if request.method == method]
        assert {request.fault for request in of_method} > {"throttled", "snapshot-throttled", "internal"}
        assert settled_rate(of_method) >= WITHIN * QUOTA
        admitted_count = sum(request.status < 300 or request.fault is not None for request in of_method)
        assert len(of_method) <= (1 + MOST_IN_VAIN) * admitted_count
    snapshots = hard.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert [each["SnapshotId"] for each in snapshots] == [snapshot_id]


@pytest.mark.parametrize("cut_after", [0, 1, 50, 2000])
def test_a_list_that_is_cut_short_is_asked_for_again(tmp_path: Path, cut_after: int) -> None:
    (tmp_path / "faults.json").write_text(json.dumps([{"operation": "e??:*", "cut_after": cut_after, "every": 2}]))
    arguments = ["--faults", str(tmp_path / "faults.json"), "--allow-fault-injection"]
    (tmp_path / "image").write_bytes(A + B + C)
    with ServerProcess(tmp_path / "data", arguments) as server:
        client = ClientCommand(server, tmp_path / "state")
        first_id = client.run("upload", tmp_path / "image")
        (tmp_path / "image").write_bytes(A + C + C)
        snapshot_id = client.run("upload", tmp_path / "image", "--parent", first_id)
        client.run("download", first_id, tmp_path / "copy")
        client.run("download", snapshot_id, tmp_path / "copy", "--from", first_id)
    assert (tmp_path / "copy").read_bytes() == A + C + C


def test_blocks_that_arrive_with_wrong_bytes_are_fetched_again(server: ServerProcess, tmp_path: Path) -> None:
    source = tmp_path / "image"
    with source.open("wb") as file:
        for block_index in range(100):
            file.write(block(str(block_index)))
    snapshot_id = ClientCommand(server, tmp_path / "state").run("upload", source)
    with UnreliableProxy(server.address, flip_every=50) as proxy:
        client = ClientCommand(server, tmp_path / "state", proxy.endpoint)
        client.run("download", snapshot_id, tmp_path / "copy")
        assert proxy.flipped_count >= 10
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
