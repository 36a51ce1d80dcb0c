"""kill -9 of the server, repeatedly: what was acknowledged is there, what was begun is finished.

CRASH_LOOPS sets how often (default 100, half of them while blocks are put and half during a seal).
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Final

import pytest

from tests.crash.survivor import Lost, Written, start, wait_for
from tests.server_process import Client, ServerProcess

LOOPS: Final = int(os.environ.get("CRASH_LOOPS", "100"))
LOOPS_PER_SNAPSHOT: Final = 5
"""Kills that one snapshot lives through before it is completed and read back."""

SEAL_LIMIT_SECONDS: Final = 60.0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_acknowledged_block_survives_kill_9_under_concurrent_puts(tmp_path: Path, workers: str) -> None:
    stamps, acknowledged_count = count(), 0
    for snapshot_number in range(max(1, LOOPS // 4 // LOOPS_PER_SNAPSHOT)):
        written: Written | None = None
        for loop in range(LOOPS_PER_SNAPSHOT):
            with ServerProcess(tmp_path / "data", ["--workers", workers]) as server:
                ebs = server.client("ebs")
                written = written or start(ebs)
                written.settle(ebs)
                seed = snapshot_number * LOOPS_PER_SNAPSHOT + loop
                killer = Thread(target=_kill_after, args=(server, random.Random(seed).uniform(0.05, 0.5)))
                killer.start()
                acknowledged_count += written.put_until_lost(ebs, stamps, seed)
                killer.join()
        assert written is not None
        with ServerProcess(tmp_path / "data", ["--workers", workers]) as server:
            ebs = server.client("ebs")
            written.settle(ebs)
            assert ebs.complete_snapshot(**written.completion())["Status"] == "completed"
            written.check(ebs)
            server.client("ec2").delete_snapshot(SnapshotId=written.snapshot_id)
    assert acknowledged_count > LOOPS // 4, "the server was killed before it did anything: nothing was tested"


def test_a_seal_cut_off_by_kill_9_is_finished_with_the_right_bytes(tmp_path: Path) -> None:
    written: list[Written] = []
    for loop in _sealing_loops():
        with ServerProcess(tmp_path / "data") as server:
            ebs = server.client("ebs")
            snapshot = start(ebs)
            written.append(snapshot)
            for block_index in range(0, 2_048, 32):
                snapshot.put(ebs, block_index, loop * 10_000 + block_index % 320)
            killer = Thread(target=_kill_after, args=(server, random.Random(loop).uniform(0.0, 0.02)))
            killer.start()
            try:
                ebs.complete_snapshot(**snapshot.completion())
            except Lost:
                sleep(0)  # killed before it could answer: the state is whatever was durable
            killer.join()
    with ServerProcess(tmp_path / "data") as server:
        ebs, ec2 = server.client("ebs"), server.client("ec2")
        for snapshot in written:
            # A completion that was never durable leaves a pending snapshot: completing again is what a client does.
            wait_for(partial(_is_completed, ebs, snapshot), SEAL_LIMIT_SECONDS)
            snapshot.check(ebs)
        states = {each["State"] for each in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}
        assert states == {"completed"}


def _sealing_loops() -> Iterator[int]:
    return iter(range(max(1, LOOPS // 2)))


def _is_completed(ebs: Client, snapshot: Written) -> bool:
    return bool(ebs.complete_snapshot(**snapshot.completion())["Status"] == "completed")


def _kill_after(server: ServerProcess, seconds: float) -> None:
    """Kill the server and its workers at once, so that none of them has time to end well."""
    sleep(seconds)
    workers = Path(f"/proc/{server.process_id}/task/{server.process_id}/children").read_text().split()
    for process_id in [server.process_id, *map(int, workers)]:
        os.kill(process_id, signal.SIGKILL)
    server.kill()
