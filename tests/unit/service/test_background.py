"""Background work: once at a time for each snapshot, no more than the limit, and an end that can be waited for."""

from __future__ import annotations

from threading import Event, Semaphore

import pytest

from snapstone.core.ids import SnapshotId
from snapstone.service.background import BackgroundWork, do_each

ONE, TWO = SnapshotId("snap-1"), SnapshotId("snap-2")


def claimed(snapshot_id: SnapshotId) -> SnapshotId:
    """A claim that always succeeds."""
    return snapshot_id


def test_a_snapshot_is_worked_on_once_at_a_time_and_a_second_waits_for_its_turn() -> None:
    begun, go_on, seen = Semaphore(0), Event(), []

    def work(snapshot_id: SnapshotId) -> None:
        seen.append(snapshot_id)
        begun.release()
        assert go_on.wait(30)

    background = BackgroundWork("test", 1, claimed, work, lambda snapshot_id, error: None)
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


def test_work_that_fails_is_handed_on_and_ends() -> None:
    failures: list[tuple[SnapshotId, Exception]] = []

    def work(snapshot_id: SnapshotId) -> None:
        raise OSError("the disk is gone")

    background = BackgroundWork("test", 1, claimed, work, lambda *failure: failures.append(failure))
    assert background.start(ONE).wait(30)
    assert [(snapshot_id, str(error)) for snapshot_id, error in failures] == [(ONE, "the disk is gone")]


def test_a_claim_that_fails_is_logged_and_is_not_an_attempt_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    def claim(snapshot_id: SnapshotId) -> SnapshotId:
        raise OSError("no locks left")

    worked: list[SnapshotId] = []
    failures: list[tuple[SnapshotId, Exception]] = []
    background = BackgroundWork("test", 1, claim, worked.append, lambda *failure: failures.append(failure))
    assert background.start(ONE).wait(30)
    assert (worked, failures) == ([], [])
    assert "test not started" in caplog.text


def test_what_is_not_claimed_is_not_worked_on() -> None:
    worked: list[SnapshotId] = []
    background: BackgroundWork[SnapshotId] = BackgroundWork(
        "test", 1, lambda snapshot_id: None, worked.append, lambda *failure: None
    )
    assert background.start(ONE).wait(30)
    assert worked == []


def test_a_failure_that_cannot_be_handed_on_is_logged_with_both_causes(caplog: pytest.LogCaptureFixture) -> None:
    def work(snapshot_id: SnapshotId) -> None:
        raise OSError("the disk is gone")

    def on_failure(snapshot_id: SnapshotId, error: Exception) -> None:
        raise OSError("the catalog too")

    assert BackgroundWork("test", 1, claimed, work, on_failure).start(ONE).wait(30)
    assert "the disk is gone" in caplog.text
    assert "the catalog too" in caplog.text


def test_each_item_has_its_turn_whatever_becomes_of_those_before() -> None:
    seen: list[int] = []

    def do(item: int) -> None:
        seen.append(item)
        if item < 3:
            raise ValueError(item)

    with pytest.raises(ValueError, match="1"):
        do_each([1, 2, 3], do)
    assert seen == [1, 2, 3]
