"""Real servers killed in the middle of a copy, with the clock set back meanwhile: who goes on with it, and when."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from snapstone.service.snapshots.copy import LEASE_MS
from tests.conformance.given import Blocks, block, completed, content
from tests.faults.library import Control, Rule
from tests.server_process import REGION, ServerProcess

BLOCKS: Final[Blocks] = {number: block(f"n{number}") for number in range(100)}

SLOW: Final = Rule("pwrite", "*.segment", delay_ms=100)
"""A hundred blocks, four at a time, take two seconds and a half at least."""

MARGIN_SECONDS: Final = 15.0
"""For the copy itself, and for starts on a busy machine."""


@contextmanager
def slow_copy(folder: Path) -> Iterator[tuple[Control, ServerProcess, str]]:
    """A server of two workers in the middle of a copy under another key."""
    (folder / "data").mkdir()
    control = Control(folder / "control")
    with ServerProcess(folder / "data", ["--workers", "2"], control.environment(folder / "data")) as server:
        source = completed(server.client("ebs"), BLOCKS)
        key_arn = server.client("kms").create_key()["KeyMetadata"]["Arn"]
        control.set_rules([SLOW])
        answer = server.client("ec2").copy_snapshot(
            SourceRegion=REGION, SourceSnapshotId=source, Encrypted=True, KmsKeyId=key_arn
        )
        before = control.hits()
        deadline = monotonic() + 30
        while control.hits() < before + 8:
            assert monotonic() < deadline, "the copy does not begin"
            sleep(0.01)
        yield control, server, answer["SnapshotId"]


def state(server: ServerProcess, snapshot_id: str) -> str:
    [described] = server.client("ec2").describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return str(described["State"])


def seconds_until_completed(server: ServerProcess, snapshot_id: str, limit_seconds: float) -> float:
    began = monotonic()
    while state(server, snapshot_id) != "completed":
        assert monotonic() < began + limit_seconds, "the copy is not taken up"
        sleep(0.1)
    return monotonic() - began


def workers_of(server: ServerProcess) -> list[int]:
    children = Path(f"/proc/{server.process_id}/task/{server.process_id}/children").read_text()
    return [int(each) for each in children.split()]


def test_a_start_goes_on_with_a_copy_at_once(tmp_path: Path) -> None:
    """Killed whole; a day earlier by the wall clock when it starts again, as it may be after a reboot."""
    with slow_copy(tmp_path) as (control, server, snapshot_id):
        workers = workers_of(server)
        server.kill()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        control.set_rules([])
        control.clock_offset_seconds = -86_400.0
        variables = control.environment(tmp_path / "data")
        with ServerProcess(tmp_path / "data", ["--workers", "2"], variables) as again:
            control.clock_offset_seconds = 0.0
            assert seconds_until_completed(again, snapshot_id, MARGIN_SECONDS) < LEASE_MS / 1000
            assert content(again.client("ebs"), snapshot_id) == BLOCKS


def test_workers_that_die_lose_a_copy_for_no_longer_than_its_lease(tmp_path: Path) -> None:
    """No server starts, so nobody frees the lease; it cannot be stretched by the wall clock either."""
    with slow_copy(tmp_path) as (control, server, snapshot_id):
        for worker in workers_of(server):
            os.kill(worker, signal.SIGKILL)
        control.set_rules([])
        control.clock_offset_seconds = -600.0
        seconds_until_completed(server, snapshot_id, LEASE_MS / 1000 + MARGIN_SECONDS)
        control.clock_offset_seconds = 0.0
        assert content(server.client("ebs"), snapshot_id) == BLOCKS
