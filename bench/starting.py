"""How long a server takes from its start until it is ready: with many snapshots, and after kill -9."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bench.blocks import DistinctBlocks
from bench.ebs import Client
from bench.report import Bound, Line
from bench.run import Run, new_seed, settle
from bench.snapstone_server import SnapstoneServer

TARGET_SECONDS: Final = Bound("<", 2)

CRASHED_WORKERS: Final = (1, 4)
"""Processes of the servers that are killed, each with a segment of its own."""

CONNECTIONS_PER_WORKER: Final = 4

AFTER_KILL: Final = Bound("≤", 2)
"""Of a start after kill -9 to one after a stop."""


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
            peer="new directory",
            peer_values=empty,
        ),
        *(_after_kill(run, worker_count) for worker_count in CRASHED_WORKERS),
    ]


def _after_kill(run: Run, worker_count: int) -> Line:
    """Start after kill -9 in the middle of puts, beside a start of the same folder after a stop."""
    killed, stopped = [], []
    with run.folder("killed") as folder:
        for _ in range(run.sizes.repeat_count):
            with SnapstoneServer(folder / "data", worker_count) as server:
                with ThreadPoolExecutor() as pool:
                    connection_count = CONNECTIONS_PER_WORKER * worker_count
                    counts = [run.sizes.crashed_put_count] * connection_count
                    list(pool.map(_put, [server] * connection_count, counts))
                server.process.kill()
            killed.append(_start_seconds(folder / "data", worker_count))
            stopped.append(_start_seconds(folder / "data", worker_count))
    blocks = run.sizes.crashed_put_count * CONNECTIONS_PER_WORKER
    return Line(
        f"start after kill -9, {worker_count} workers, {blocks} blocks behind each one's checkpoint",
        "s",
        killed,
        peer="after a stop",
        peer_values=stopped,
        ratio_target=AFTER_KILL,
    )


def _put(server: SnapstoneServer, count: int) -> None:
    """Put so many blocks over one connection."""
    blocks = DistinctBlocks(new_seed())
    client = Client(server.endpoint)
    snapshot_id = client.start_snapshot(volume_size_gib=1)
    for number in range(count):
        client.put_block(snapshot_id, number, b"".join(blocks.pieces(number)))
    client.connection.close()


def _fill(server: SnapstoneServer, snapshot_count: int) -> None:
    blocks = DistinctBlocks(new_seed())
    client = Client(server.endpoint)
    for number in range(snapshot_count):
        snapshot_id = client.start_snapshot(volume_size_gib=1)
        client.put_block(snapshot_id, number % 2048, b"".join(blocks.pieces(number)))
        client.complete_snapshot(snapshot_id, 1)
    client.connection.close()


def _start_seconds(data: Path, worker_count: int | None = None) -> float:
    settle()
    with SnapstoneServer(data, worker_count) as server:
        return server.start_seconds
