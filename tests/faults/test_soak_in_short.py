"""The parts of `make soak`, each for some seconds: nothing that was acknowledged is lost, and nothing else is read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.faults.calls import CallJob, CallKind, kinds
from tests.faults.damage import DamageJob
from tests.faults.kills import KillJob
from tests.faults.power_cuts import Kind, PowerJob
from tests.faults.tally import Job, gather


def failures(jobs: Sequence[Job], least: int) -> list[str]:
    """What the jobs found; they must have tried so much at least."""
    tallies = gather(tally for job in jobs for tally in job.run())
    assert sum(tally.tried for tally in tallies) >= least
    return [failure for tally in tallies for failure in tally.failures]


@pytest.mark.parametrize(("kind", "seed"), [(Kind.PLAIN, 1), (Kind.FAILED_SYNCS, 2), (Kind.DOUBLE, 3)])
def test_power_cuts_lose_nothing(kind: Kind, seed: int) -> None:
    assert failures([PowerJob(kind, seed, 12, put_count=30)], 12) == []


def test_kills_lose_nothing() -> None:
    assert failures([KillJob(1, 5)], 5) == []


@pytest.mark.parametrize("kind", ["segment", "catalog.db-wal", "index.db", "root.key"])
def test_damage_is_told(kind: str) -> None:
    assert failures([DamageJob(kind, 1, 5)], 5) == []


def test_system_calls_that_fail_lose_nothing() -> None:
    wanted = [
        kind for kind in kinds() if str(kind) in {"fdatasync of segments: EIO", "pwrite of catalog's log: ENOSPC"}
    ]
    assert len(wanted) == 2
    assert failures([CallJob(1, tuple(wanted))], 2) == []


def test_every_kind_of_failing_call_is_named_once() -> None:
    every: list[CallKind] = list(kinds())
    assert len(set(map(str, every))) == len(every) >= 100
