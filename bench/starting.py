"""How long a server takes from its start until it is ready, with many snapshots in its data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench.blocks import DistinctBlocks
from bench.ebs import Client
from bench.report import Bound, Line
from bench.run import Run, new_seed, settle
from bench.snapstone_server import SnapstoneServer

TARGET_SECONDS: Final = Bound("<", 2)


def measure(run: Run) -> list[Line]:
    """Start the server on 1,000 snapshots of one block each; and on an empty folder, to see what the snapshots cost."""
    count, repeat_count = run.sizes.snapshot_count, run.sizes.repeat_count
    with run.folder("starting") as folder:
        with SnapstoneServer(folder / "full") as server:
            _fill(server, count)
        full, empty = [], []
        for repeat in range(repeat_count):
            full.append(_start_seconds(folder / "full"))
            empty.append(_start_seconds(folder / f"empty-{repeat}"))
    return [
        Line(
            f"start until ready, {count:,} snapshots stored",
            "s",
            full,
            TARGET_SECONDS,
            peer="new folder",
            peer_values=empty,
        )
    ]


def _fill(server: SnapstoneServer, snapshot_count: int) -> None:
    blocks = DistinctBlocks(new_seed())
    client = Client(server.endpoint)
    for number in range(snapshot_count):
        snapshot_id = client.start_snapshot(volume_size_gib=1)
        client.put_block(snapshot_id, number % 2048, b"".join(blocks.pieces(number)))
        client.complete_snapshot(snapshot_id, 1)
    client.connection.close()


def _start_seconds(data: Path) -> float:
    settle()
    with SnapstoneServer(data) as server:
        return server.start_seconds
