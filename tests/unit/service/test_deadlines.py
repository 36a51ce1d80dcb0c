"""Time-outs of pending snapshots, with a clock that tests move (docs/aws-behaviour/ebs-direct.md, EBS-STATE)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.errors import BlockChecksumMismatchError, SnapshotNotFoundError
from snapstone.core.ids import SnapshotId
from tests.installation import MINUTE_MS, START_MS, Installation, SentBlock, aggregate, block

A, B = block("a"), block("b")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def sweep(installation: Installation) -> None:
    """A tick whose sweep is due."""
    installation.clock.now_ms += 10_000
    installation.tick()


def state(installation: Installation, snapshot_id: SnapshotId) -> tuple[SnapshotState, str | None]:
    row = installation.row(snapshot_id)
    return row.state, row.state_message


def test_a_snapshot_times_out_an_hour_after_its_start_unless_told_otherwise(installation: Installation) -> None:
    snapshot_id = installation.start()
    assert installation.row(snapshot_id).deadline_at_ms == START_MS + 60 * MINUTE_MS


def test_a_put_at_the_deadline_is_accepted_and_one_just_after_it_is_not(installation: Installation) -> None:
    on_time, late = installation.start(timeout=10), installation.start(timeout=10)
    installation.clock.now_ms = START_MS + 10 * MINUTE_MS
    installation.put(on_time, 0, A)
    installation.clock.now_ms += 1
    with pytest.raises(SnapshotNotFoundError):
        installation.put(late, 0, A)


def test_each_accepted_put_begins_the_time_anew(installation: Installation) -> None:
    snapshot_id = installation.start(timeout=10)
    for index in range(5):
        installation.clock.advance_minutes(9)
        installation.put(snapshot_id, index, A)
        sweep(installation)
    assert state(installation, snapshot_id) == (SnapshotState.PENDING, None)
    installation.clock.advance_minutes(10)
    sweep(installation)
    assert state(installation, snapshot_id) == (SnapshotState.ERROR, "Snapshot timed out")


def test_a_refused_put_does_not_extend_the_time(installation: Installation) -> None:
    snapshot_id = installation.start(timeout=10)
    installation.clock.advance_minutes(9)
    with pytest.raises(BlockChecksumMismatchError):
        installation.put(snapshot_id, 0, A, checksum="AAAA")
    assert installation.row(snapshot_id).deadline_at_ms == START_MS + 10 * MINUTE_MS


def test_a_put_that_began_before_the_deadline_may_finish_after_it(installation: Installation) -> None:
    snapshot_id = installation.start(timeout=10)
    installation.clock.advance_minutes(9.9)

    def take_long() -> None:
        installation.clock.now_ms = START_MS + 11 * MINUTE_MS

    installation.put(snapshot_id, 0, A, block_data=SentBlock(A, len(A), before_read=take_long))
    assert installation.row(snapshot_id).deadline_at_ms == START_MS + 21 * MINUTE_MS
    assert installation.complete(snapshot_id, 1, aggregate({0: A})) == "completed"


def test_a_put_overtaken_by_the_reaper_is_not_acknowledged(installation: Installation) -> None:
    snapshot_id = installation.start(timeout=10)
    installation.clock.advance_minutes(9.9)

    def be_overtaken() -> None:
        installation.clock.advance_minutes(1)
        sweep(installation)

    with pytest.raises(SnapshotNotFoundError):
        installation.put(snapshot_id, 0, A, block_data=SentBlock(A, len(A), before_read=be_overtaken))
    assert state(installation, snapshot_id) == (SnapshotState.ERROR, "Snapshot timed out")


def test_the_reaper_takes_only_what_is_past_its_deadline(installation: Installation) -> None:
    short, long, sealed = installation.start(timeout=10), installation.start(timeout=60), installation.sealed({0: A})
    installation.clock.now_ms = START_MS + 10 * MINUTE_MS
    installation.tick()
    assert state(installation, short)[0] is SnapshotState.PENDING
    sweep(installation)
    assert state(installation, short) == (SnapshotState.ERROR, "Snapshot timed out")
    assert state(installation, long)[0] is SnapshotState.PENDING
    assert state(installation, sealed)[0] is SnapshotState.COMPLETED


def test_a_timed_out_snapshot_loses_its_writes_at_once(installation: Installation) -> None:
    snapshot_id = installation.start(timeout=10)
    installation.put(snapshot_id, 0, A)
    installation.clock.advance_minutes(11)
    sweep(installation)
    assert list(installation.catalog.pending_writes(snapshot_id)) == []


def test_completing_past_the_deadline_is_an_error_before_the_reaper_came(installation: Installation) -> None:
    snapshot_id = installation.start(timeout=10)
    installation.put(snapshot_id, 0, A)
    installation.clock.now_ms = START_MS + 10 * MINUTE_MS + 1
    assert installation.complete(snapshot_id, 1, aggregate({0: A})) == "error"
    assert state(installation, snapshot_id) == (SnapshotState.ERROR, "Snapshot timed out")


def test_completing_at_the_deadline_seals(installation: Installation) -> None:
    snapshot_id = installation.start(timeout=10)
    installation.clock.now_ms = START_MS + 10 * MINUTE_MS
    assert installation.complete(snapshot_id, 0) == "completed"


def test_completing_stops_the_clock(installation: Installation) -> None:
    snapshot_id = installation.start(timeout=10)
    installation.put(snapshot_id, 0, A)
    row = installation.catalog.begin_seal(snapshot_id, 1, None, installation.clock(), installation.clock())
    assert row is not None
    installation.clock.advance_minutes(100)
    installation.upkeep.tick()
    assert installation.sealer.wait_until_idle(30)
    assert state(installation, snapshot_id)[0] is SnapshotState.COMPLETED


def test_the_reaper_looks_every_ten_seconds(installation: Installation) -> None:
    snapshot_id = installation.start(timeout=10)
    deadline_ms = START_MS + 10 * MINUTE_MS
    installation.clock.now_ms = deadline_ms
    installation.tick()
    installation.clock.now_ms = deadline_ms + 9_999
    installation.tick()
    assert state(installation, snapshot_id)[0] is SnapshotState.PENDING
    installation.clock.now_ms = deadline_ms + 10_000
    installation.tick()
    assert state(installation, snapshot_id)[0] is SnapshotState.ERROR


def test_a_snapshot_in_error_stays_visible_until_it_is_deleted(installation: Installation) -> None:
    snapshot_id = installation.start(timeout=10)
    installation.clock.advance_minutes(11)
    sweep(installation)
    installation.clock.advance_minutes(60 * 24 * 30)
    sweep(installation)
    assert state(installation, snapshot_id)[0] is SnapshotState.ERROR
    installation.delete(snapshot_id)
    assert installation.catalog.snapshot(snapshot_id) is None
