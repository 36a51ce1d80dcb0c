"""How long CompleteSnapshot takes until it answers `completed`, for blocks side by side and for blocks far apart."""

from __future__ import annotations

from typing import Final

from bench.ebs import Client
from bench.load import Job, run_load
from bench.report import Bound, Line
from bench.run import Run, new_seed, settle
from bench.snapstone_server import SnapstoneServer

TARGET_SECONDS: Final = Bound("<", 2)
REPEAT_COUNT: Final = 3
CONNECTION_COUNT: Final = 8
CONTENT_COUNT: Final = 61
"""Contents to choose from: a seal never reads blocks, so equal ones may be shared. Being coprime to 512, it still makes
the page of each scattered block a different one."""

STRIDES: Final = {"side by side": 1, "each in a leaf page of its own": 513}
VOLUME_SIZE_GIB: Final = 16_384


def measure(run: Run) -> list[Line]:
    """Seal snapshots of 10,000 written blocks."""
    seconds: dict[str, list[float]] = {name: [] for name in STRIDES}
    with run.folder("sealing") as folder, SnapstoneServer(folder / "data") as server:
        client = Client(server.endpoint)
        for _ in range(REPEAT_COUNT):
            for name, stride in STRIDES.items():
                seconds[name].append(_seal(client, server, run.sizes.seal_count, stride))
        client.connection.close()
    count = f"{run.sizes.seal_count:,}"
    return [Line(f"seal {count} written blocks, {name}", "s", seconds[name], TARGET_SECONDS) for name in STRIDES]


def _seal(client: Client, server: SnapstoneServer, block_count: int, stride: int) -> float:
    snapshot_id = client.start_snapshot(VOLUME_SIZE_GIB)
    run_load(
        Job(
            "put",
            server.endpoint,
            snapshot_id,
            new_seed(),
            block_count,
            CONNECTION_COUNT,
            stride=stride,
            content_count=CONTENT_COUNT,
        )
    )
    settle()
    return client.complete_snapshot(snapshot_id, block_count)
