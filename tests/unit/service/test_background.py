"""Background work: once at a time for each snapshot, no more than the limit, and an end that can be waited for."""

from __future__ import annotations

from threading import Event, Semaphore

import pytest

from snapstone.core.ids import SnapshotId
from snapstone.service.background import BackgroundWork

ONE, TWO = SnapshotId("snap-1"), SnapshotId("snap-2")


def test_a_snapshot_is_worked_on_once_at_a_time_and_a_second_waits_for_its_turn() -> None:
    begun, go_on, seen = Semaphore(0), Event(), []

    def work(snapshot_id: SnapshotId) -> None:
        seen.append(snapshot_id)
        begun.release()
        assert go_on.wait(30)

    background = BackgroundWork("test", 1, work, "failed")
    ended = background.start(ONE)
    assert begun.acquire(timeout=30)
    assert background.start(ONE) is ended
    background.start(TWO)
    assert background.is_busy
    assert not background.wait_until_idle(0)
    assert seen == [ONE]
    go_on.set()
    assert background.wait_until_idle(30)
    assert seen == [ONE, TWO]
    assert not background.is_busy


def test_work_that_fails_is_logged_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    def work(snapshot_id: SnapshotId) -> None:
        raise OSError("the disk is gone")

    assert BackgroundWork("test", 1, work, "it failed").start(ONE).wait(30)
    assert [record.message for record in caplog.records] == ["it failed"]
