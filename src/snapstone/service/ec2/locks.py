"""LockSnapshot, UnlockSnapshot and DescribeLockedSnapshots: what keeps a snapshot from being deleted for a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from snapstone.catalog.contract.snapshots import Snapshot, SnapshotState
from snapstone.core.clock_trust import Moment
from snapstone.core.errors import (
    DryRunPassedError,
    InvalidParameterCombinationError,
    InvalidParameterError,
    SnapshotLockedError,
    SnapshotNotFoundError,
    SnapshotNotLockedError,
    SnapshotStateError,
)
from snapstone.core.ids import SnapshotId
from snapstone.core.protection import DAY_MS, HOUR_MS, LockMode, LockState, SnapshotLock
from snapstone.service.ec2.filters import Facts, Filter, check_page_size, require_ids, select
from snapstone.service.engine import Caller, Engine
from snapstone.service.paging import page_of
from snapstone.service.visibility import owned

MAX_COOL_OFF_HOURS: Final = 72
MAX_LOCK_DAYS: Final = 36_500

Answer = dict[str, object]
Locked = tuple[Snapshot, SnapshotLock]


def lock_snapshot(
    engine: Engine,
    caller: Caller,
    *,
    snapshot_id: str,
    lock_mode: str,
    cool_off_period: int | None = None,
    lock_duration: int | None = None,
    expiration_date: int | None = None,
    dry_run: bool = False,
) -> Answer:
    """Lock a snapshot, or change its lock as far as that admits it; a pending one's duration begins at its seal."""
    require_ids((snapshot_id,))
    moment = engine.timekeeper.moment()
    asked = _asked(moment, lock_mode, cool_off_period, lock_duration, expiration_date)
    if dry_run:
        raise DryRunPassedError

    def change(snapshot: Snapshot, lock: SnapshotLock | None) -> SnapshotLock:
        return _changed(snapshot, lock, asked, moment)

    if owned(engine, caller, snapshot_id) is None:
        raise SnapshotNotFoundError((snapshot_id,))
    changed = engine.catalog.change_lock(SnapshotId(snapshot_id), change)
    if changed is None or changed[1] is None:
        raise SnapshotNotFoundError((snapshot_id,))
    return _item((changed[0], changed[1]), moment)


def unlock_snapshot(engine: Engine, caller: Caller, *, snapshot_id: str, dry_run: bool = False) -> Answer:
    """Take the lock off a snapshot: in governance mode, while it cools off, or when it is over."""
    require_ids((snapshot_id,))
    if dry_run:
        raise DryRunPassedError
    moment = engine.timekeeper.moment()

    def unlock(snapshot: Snapshot, lock: SnapshotLock | None) -> None:
        if lock is None:
            raise SnapshotNotLockedError(snapshot_id)
        if _is_final(lock, snapshot, moment):
            raise SnapshotLockedError(
                f"The snapshot '{snapshot_id}' is locked in compliance mode and cannot be unlocked."
            )

    if (
        owned(engine, caller, snapshot_id) is None
        or engine.catalog.change_lock(SnapshotId(snapshot_id), unlock) is None
    ):
        raise SnapshotNotFoundError((snapshot_id,))
    return {"SnapshotId": snapshot_id}


def describe_locked_snapshots(
    engine: Engine,
    caller: Caller,
    *,
    snapshot_ids: Sequence[str] | None = None,
    filters: Sequence[Filter] | None = None,
    max_results: int | None = None,
    next_token: str | None = None,
    dry_run: bool = False,
) -> Answer:
    """The locks of the caller's snapshots, those that are over included; the one filter is `lock-state`."""
    wanted = require_ids(snapshot_ids)
    check_page_size(max_results, snapshot_ids)
    if dry_run:
        raise DryRunPassedError
    moment = engine.timekeeper.moment()
    for snapshot_id in sorted(wanted or ()):
        if owned(engine, caller, snapshot_id) is None:
            raise SnapshotNotFoundError((snapshot_id,))
    facts: Facts[Locked] = {"lock-state": lambda each: (_state(each, moment).value,)}
    locked = engine.catalog.locks(caller.account_id, caller.region, wanted)
    locked = select(locked, filters or (), facts, lambda each: each[0].tags)
    call = ("DescribeLockedSnapshots", caller.account_id, caller.region, repr((snapshot_ids, filters)))
    page, token = page_of(engine, call, locked, _place, max_results, next_token)
    return {"Snapshots": [{"OwnerId": each[0].account_id} | _item(each, moment) for each in page], "NextToken": token}


def _asked(
    moment: Moment, lock_mode: str, cool_off_hours: int | None, days: int | None, expiration_ms: int | None
) -> SnapshotLock:
    """The lock that the members describe. Raises InvalidParameterError and InvalidParameterCombinationError."""
    if lock_mode not in tuple(LockMode):
        raise InvalidParameterError(f"Value ({lock_mode}) for parameter LockMode is invalid.")
    mode = LockMode(lock_mode)
    if (days is None) == (expiration_ms is None):
        raise InvalidParameterCombinationError("Specify either LockDuration or ExpirationDate, and not both.")
    if cool_off_hours is not None and mode is LockMode.GOVERNANCE:
        raise InvalidParameterCombinationError("CoolOffPeriod is for locks in compliance mode.")
    _check_range("CoolOffPeriod", cool_off_hours, MAX_COOL_OFF_HOURS)
    _check_range("LockDuration", days, MAX_LOCK_DAYS)
    now_ms = moment.dated_ms
    if expiration_ms is not None and not now_ms < expiration_ms <= now_ms + MAX_LOCK_DAYS * DAY_MS:
        raise InvalidParameterError(f"ExpirationDate must lie in the future, at most {MAX_LOCK_DAYS} days from now.")
    cool_off_until_ms = None if cool_off_hours is None else moment.due_ms + cool_off_hours * HOUR_MS
    return SnapshotLock(mode, now_ms, now_ms, days, expiration_ms, cool_off_hours, cool_off_until_ms)


def _check_range(name: str, value: int | None, most: int) -> None:
    if value is not None and not 1 <= value <= most:
        raise InvalidParameterError(f"Value ({value}) for parameter {name} is invalid. Expecting 1 to {most}.")


def _changed(snapshot: Snapshot, lock: SnapshotLock | None, asked: SnapshotLock, moment: Moment) -> SnapshotLock:
    """The lock afterwards. Raises SnapshotLockedError if the present one does not admit it."""
    if snapshot.state is SnapshotState.ERROR:
        raise SnapshotStateError(f"The snapshot '{snapshot.snapshot_id}' ended in error and cannot be locked.")
    if lock is None or not lock.holds(snapshot.completed_at_ms, moment.due_ms):
        return asked
    asked = replace(asked, created_at_ms=lock.created_at_ms)
    if not _is_final(lock, snapshot, moment):
        return asked
    if asked.mode is not LockMode.COMPLIANCE or asked.cool_off_hours is not None:
        raise _locked_for_good(snapshot)
    if not asked.outlasts(lock, snapshot.completed_at_ms):
        raise _locked_for_good(snapshot)
    return replace(asked, cool_off_hours=lock.cool_off_hours, cool_off_until_ms=lock.cool_off_until_ms)


def _is_final(lock: SnapshotLock, snapshot: Snapshot, moment: Moment) -> bool:
    """Whether the lock can only be extended. A snapshot in error has nothing that it could keep."""
    state = lock.state(snapshot.completed_at_ms, moment.due_ms, moment.latest_ms)
    return state is LockState.COMPLIANCE and snapshot.state is not SnapshotState.ERROR


def _locked_for_good(snapshot: Snapshot) -> SnapshotLockedError:
    return SnapshotLockedError(
        f"The snapshot '{snapshot.snapshot_id}' is locked in compliance mode: its lock can only be extended."
    )


def _state(locked: Locked, moment: Moment) -> LockState:
    snapshot, lock = locked
    return lock.state(snapshot.completed_at_ms, moment.due_ms, moment.latest_ms)


def _place(locked: Locked) -> tuple[int, str]:
    return locked[0].started_at_ms, locked[0].snapshot_id


def _item(locked: Locked, moment: Moment) -> Answer:
    """One lock as EC2 shows it."""
    snapshot, lock = locked
    return {
        "SnapshotId": snapshot.snapshot_id,
        "LockState": _state(locked, moment).value,
        "LockDuration": lock.days(snapshot.completed_at_ms),
        "CoolOffPeriod": lock.cool_off_hours,
        "CoolOffPeriodExpiresOn": lock.cool_off_until_ms,
        "LockCreatedOn": lock.created_at_ms,
        "LockDurationStartTime": lock.starts_at_ms(snapshot.completed_at_ms),
        "LockExpiresOn": lock.expires_at_ms(snapshot.completed_at_ms),
    }
