"""A lock's states and times, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snapstone.core.protection import DAY_MS, HOUR_MS, LockMode, LockState, SnapshotLock

SET = 1_000_000

GOVERNANCE = SnapshotLock(LockMode.GOVERNANCE, SET, SET, duration_days=2, expiration_ms=None)
COMPLIANCE = SnapshotLock(LockMode.COMPLIANCE, SET, SET, 2, None, cool_off_hours=3, cool_off_until_ms=SET + 3 * HOUR_MS)
DATED = SnapshotLock(LockMode.GOVERNANCE, SET, SET, None, expiration_ms=SET + DAY_MS + 1)


def test_a_duration_begins_when_a_completed_snapshot_is_locked() -> None:
    assert GOVERNANCE.starts_at_ms(SET - 5) == SET
    assert GOVERNANCE.expires_at_ms(SET - 5) == SET + 2 * DAY_MS


def test_a_duration_begins_when_a_locked_snapshot_is_completed() -> None:
    assert GOVERNANCE.starts_at_ms(SET + 5) == SET + 5
    assert GOVERNANCE.expires_at_ms(SET + 5) == SET + 5 + 2 * DAY_MS


def test_of_a_pending_snapshot_nothing_has_begun_and_the_lock_holds() -> None:
    assert GOVERNANCE.starts_at_ms(None) is None
    assert GOVERNANCE.expires_at_ms(None) is None
    assert GOVERNANCE.holds(None, SET + 100 * DAY_MS)


@pytest.mark.parametrize(
    ("lock", "after_ms", "state"),
    [
        (GOVERNANCE, 0, LockState.GOVERNANCE),
        (GOVERNANCE, 2 * DAY_MS - 1, LockState.GOVERNANCE),
        (GOVERNANCE, 2 * DAY_MS, LockState.EXPIRED),
        (COMPLIANCE, 0, LockState.COMPLIANCE_COOL_OFF),
        (COMPLIANCE, 3 * HOUR_MS - 1, LockState.COMPLIANCE_COOL_OFF),
        (COMPLIANCE, 3 * HOUR_MS, LockState.COMPLIANCE),
        (COMPLIANCE, 2 * DAY_MS - 1, LockState.COMPLIANCE),
        (COMPLIANCE, 2 * DAY_MS, LockState.EXPIRED),
        (DATED, DAY_MS, LockState.GOVERNANCE),
        (DATED, DAY_MS + 1, LockState.EXPIRED),
    ],
)
def test_the_state_at_a_moment(lock: SnapshotLock, after_ms: int, state: LockState) -> None:
    assert lock.state(SET, SET + after_ms) is state
    assert lock.holds(SET, SET + after_ms) is (state is not LockState.EXPIRED)


def test_without_a_cooling_off_period_compliance_begins_at_once() -> None:
    lock = replace(COMPLIANCE, cool_off_hours=None, cool_off_until_ms=None)
    assert lock.state(SET, SET) is LockState.COMPLIANCE


def test_days_are_those_given_or_those_that_a_date_spans() -> None:
    assert GOVERNANCE.days(SET) == 2
    assert DATED.days(SET) == 2
    assert replace(DATED, expiration_ms=SET + DAY_MS).days(SET) == 1
    assert replace(DATED, expiration_ms=SET + 1).days(SET) == 1


@pytest.mark.parametrize(
    ("new", "completed_at_ms", "outlasts"),
    [
        (replace(GOVERNANCE, duration_days=2), SET, True),
        (replace(GOVERNANCE, duration_days=1), SET, False),
        (replace(GOVERNANCE, duration_days=1, duration_set_at_ms=SET + DAY_MS), SET, True),
        (DATED, SET, False),
        (replace(DATED, expiration_ms=SET + 2 * DAY_MS), SET, True),
        (replace(GOVERNANCE, duration_days=2), None, True),
        (replace(GOVERNANCE, duration_days=1), None, False),
        (replace(DATED, expiration_ms=SET + 900 * DAY_MS), None, False),
    ],
)
def test_what_outlasts_a_lock_of_two_days(new: SnapshotLock, completed_at_ms: int | None, outlasts: bool) -> None:
    assert new.outlasts(GOVERNANCE, completed_at_ms) is outlasts
