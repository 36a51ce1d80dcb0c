"""Snapshot locks (AWS: "Lock an Amazon EBS snapshot"), on a real catalog with a clock that tests move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.core.errors import (
    DryRunPassedError,
    InvalidParameterCombinationError,
    InvalidParameterError,
    MalformedSnapshotIdError,
    SnapshotLockedError,
    SnapshotNotFoundError,
    SnapshotNotLockedError,
    SnapshotStateError,
    SnapstoneError,
)
from snapstone.core.ids import Region
from snapstone.core.protection import DAY_MS, HOUR_MS
from snapstone.service.ec2.locks import describe_locked_snapshots, lock_snapshot, unlock_snapshot
from tests.installation import START_MS, Installation, block
from tests.suites.races import racing

A = block("a")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def lock(installation: Installation, snapshot_id: str, mode: str = "governance", **members: Any) -> dict[str, Any]:
    if "expiration_date" not in members:
        members = {"lock_duration": 2} | members
    return lock_snapshot(installation.engine, installation.caller, snapshot_id=snapshot_id, lock_mode=mode, **members)


def unlock(installation: Installation, snapshot_id: str) -> None:
    unlock_snapshot(installation.engine, installation.caller, snapshot_id=snapshot_id)


def described(installation: Installation, **members: Any) -> list[dict[str, Any]]:
    answer: dict[str, Any] = describe_locked_snapshots(installation.engine, installation.caller, **members)
    return list(answer["Snapshots"])


def states(installation: Installation) -> list[str]:
    return [each["LockState"] for each in described(installation)]


def test_a_lock_is_told_in_full(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    installation.clock.advance_minutes(1)
    now = installation.clock()
    told = {
        "SnapshotId": snapshot_id,
        "LockState": "compliance-cooloff",
        "LockDuration": 30,
        "CoolOffPeriod": 24,
        "CoolOffPeriodExpiresOn": now + 24 * HOUR_MS,
        "LockCreatedOn": now,
        "LockDurationStartTime": now,
        "LockExpiresOn": now + 30 * DAY_MS,
    }
    assert lock(installation, snapshot_id, "compliance", lock_duration=30, cool_off_period=24) == told
    assert described(installation) == [told | {"OwnerId": installation.caller.account_id}]


@pytest.mark.parametrize("mode", ["governance", "compliance"])
def test_a_locked_snapshot_is_not_deleted_until_its_time_is_over(installation: Installation, mode: str) -> None:
    snapshot_id = installation.sealed({0: A})
    lock(installation, snapshot_id, mode)
    installation.clock.now_ms = START_MS + 2 * DAY_MS - 1
    with pytest.raises(SnapshotLockedError):
        installation.delete(snapshot_id)
    assert installation.content(snapshot_id) == {0: A}
    installation.clock.now_ms += 1
    assert states(installation) == ["expired"]
    installation.delete(snapshot_id)
    assert installation.catalog.snapshot(snapshot_id) is None
    assert described(installation) == []


def test_a_lock_survives_a_restart(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    lock(installation, snapshot_id)
    installation.reopen()
    with pytest.raises(SnapshotLockedError):
        installation.delete(snapshot_id)


def test_the_duration_of_a_pending_snapshot_begins_at_its_completion(installation: Installation) -> None:
    snapshot_id = installation.start()
    answer = lock(installation, snapshot_id)
    assert answer["LockDurationStartTime"] is None
    assert answer["LockExpiresOn"] is None
    with pytest.raises(SnapshotLockedError):
        installation.delete(snapshot_id)
    installation.clock.advance_minutes(30)
    assert installation.complete(snapshot_id, 0) == "completed"
    [told] = described(installation)
    assert told["LockDurationStartTime"] == START_MS + 30 * 60_000
    assert told["LockExpiresOn"] == START_MS + 30 * 60_000 + 2 * DAY_MS


def test_a_locked_snapshot_that_ends_in_error_can_be_deleted(installation: Installation) -> None:
    snapshot_id = installation.start()
    lock(installation, snapshot_id, "compliance")
    assert installation.complete(snapshot_id, 1) == "error"
    installation.delete(snapshot_id)
    assert installation.catalog.snapshot(snapshot_id) is None


def test_a_snapshot_in_error_cannot_be_locked(installation: Installation) -> None:
    snapshot_id = installation.start()
    assert installation.complete(snapshot_id, 1) == "error"
    with pytest.raises(SnapshotStateError):
        lock(installation, snapshot_id)


def test_a_date_ends_a_lock(installation: Installation) -> None:
    snapshot_id = installation.sealed({})
    answer = lock(installation, snapshot_id, expiration_date=START_MS + DAY_MS + 1)
    assert answer["LockExpiresOn"] == START_MS + DAY_MS + 1
    assert answer["LockDuration"] == 2
    installation.clock.now_ms = START_MS + DAY_MS + 1
    installation.delete(snapshot_id)
    assert installation.catalog.snapshot(snapshot_id) is None


class TestGovernance:
    def test_it_can_be_shortened_and_taken_off(self, installation: Installation) -> None:
        snapshot_id = installation.sealed({})
        lock(installation, snapshot_id, lock_duration=100)
        assert lock(installation, snapshot_id, lock_duration=1)["LockExpiresOn"] == START_MS + DAY_MS
        unlock(installation, snapshot_id)
        assert described(installation) == []
        installation.delete(snapshot_id)
        assert installation.catalog.snapshot(snapshot_id) is None

    def test_a_change_keeps_the_time_of_the_first_lock(self, installation: Installation) -> None:
        snapshot_id = installation.sealed({})
        lock(installation, snapshot_id)
        installation.clock.advance_minutes(10)
        answer = lock(installation, snapshot_id, "compliance")
        assert answer["LockCreatedOn"] == START_MS
        assert answer["LockState"] == "compliance"

    def test_a_lock_after_an_expired_one_is_a_new_one(self, installation: Installation) -> None:
        snapshot_id = installation.sealed({})
        lock(installation, snapshot_id, "compliance")
        installation.clock.now_ms = START_MS + 2 * DAY_MS
        answer = lock(installation, snapshot_id, "governance", lock_duration=1)
        assert answer["LockCreatedOn"] == START_MS + 2 * DAY_MS
        assert answer["LockState"] == "governance"


class TestCompliance:
    def test_while_it_cools_off_it_can_be_changed_and_taken_off(self, installation: Installation) -> None:
        snapshot_id = installation.sealed({})
        lock(installation, snapshot_id, "compliance", lock_duration=100, cool_off_period=1)
        installation.clock.now_ms += HOUR_MS - 1
        assert lock(installation, snapshot_id, "compliance", lock_duration=5, cool_off_period=1)["LockDuration"] == 5
        unlock(installation, snapshot_id)
        assert described(installation) == []

    def test_after_cooling_off_it_can_only_be_extended(self, installation: Installation) -> None:
        snapshot_id = installation.sealed({})
        lock(installation, snapshot_id, "compliance", lock_duration=10, cool_off_period=1)
        installation.clock.now_ms += HOUR_MS
        changes: list[tuple[str, dict[str, Any]]] = [
            ("compliance", {"lock_duration": 9}),
            ("compliance", {"lock_duration": 100, "cool_off_period": 1}),
            ("governance", {"lock_duration": 100}),
            ("compliance", {"expiration_date": START_MS + 10 * DAY_MS - 1}),
        ]
        for mode, members in changes:
            with pytest.raises(SnapshotLockedError):
                lock(installation, snapshot_id, mode, **members)
        with pytest.raises(SnapshotLockedError):
            unlock(installation, snapshot_id)
        answer = lock(installation, snapshot_id, "compliance", lock_duration=11)
        assert answer["LockExpiresOn"] == START_MS + HOUR_MS + 11 * DAY_MS
        assert answer["CoolOffPeriod"] == 1
        assert answer["LockState"] == "compliance"


class TestMembers:
    @pytest.mark.parametrize(
        ("members", "error"),
        [
            ({"lock_mode": "forever", "lock_duration": 1}, InvalidParameterError),
            ({"lock_mode": "governance"}, InvalidParameterCombinationError),
            (
                {"lock_mode": "governance", "lock_duration": 1, "expiration_date": START_MS + 1},
                InvalidParameterCombinationError,
            ),
            (
                {"lock_mode": "governance", "lock_duration": 1, "cool_off_period": 1},
                InvalidParameterCombinationError,
            ),
            ({"lock_mode": "compliance", "lock_duration": 1, "cool_off_period": 0}, InvalidParameterError),
            ({"lock_mode": "compliance", "lock_duration": 1, "cool_off_period": 73}, InvalidParameterError),
            ({"lock_mode": "governance", "lock_duration": 0}, InvalidParameterError),
            ({"lock_mode": "governance", "lock_duration": 36_501}, InvalidParameterError),
            ({"lock_mode": "governance", "expiration_date": START_MS}, InvalidParameterError),
            ({"lock_mode": "governance", "expiration_date": START_MS + 36_500 * DAY_MS + 1}, InvalidParameterError),
            ({"lock_mode": "governance", "lock_duration": 1, "dry_run": True}, DryRunPassedError),
        ],
    )
    def test_what_is_wrong_changes_nothing(
        self, installation: Installation, members: dict[str, Any], error: type[SnapstoneError]
    ) -> None:
        snapshot_id = installation.sealed({})
        with pytest.raises(error):
            lock_snapshot(installation.engine, installation.caller, snapshot_id=snapshot_id, **members)
        assert described(installation) == []

    @pytest.mark.parametrize(("mode", "cool_off"), [("compliance", 1), ("compliance", 72), ("compliance", None)])
    @pytest.mark.parametrize("days", [1, 36_500])
    def test_the_limits_are_inside(
        self, installation: Installation, mode: str, cool_off: int | None, days: int
    ) -> None:
        snapshot_id = installation.sealed({})
        answer = lock(installation, snapshot_id, mode, cool_off_period=cool_off, lock_duration=days)
        assert (answer["LockDuration"], answer["CoolOffPeriod"]) == (days, cool_off)

    def test_ids_must_look_like_ids(self, installation: Installation) -> None:
        with pytest.raises(MalformedSnapshotIdError):
            lock(installation, "snap-xyz")
        with pytest.raises(InvalidParameterError):
            unlock(installation, "disk")

    def test_what_was_never_locked_cannot_be_unlocked(self, installation: Installation) -> None:
        snapshot_id = installation.sealed({})
        with pytest.raises(SnapshotNotLockedError):
            unlock(installation, snapshot_id)

    def test_an_unlocking_can_be_tried_dry(self, installation: Installation) -> None:
        snapshot_id = installation.sealed({})
        lock(installation, snapshot_id)
        with pytest.raises(DryRunPassedError):
            unlock_snapshot(installation.engine, installation.caller, snapshot_id=snapshot_id, dry_run=True)
        assert states(installation) == ["governance"]

    def test_another_region_knows_nothing_of_it(self, installation: Installation) -> None:
        snapshot_id = installation.sealed({})
        lock(installation, snapshot_id)
        installation.caller = replace(installation.caller, region=Region("us-west-2"))
        with pytest.raises(SnapshotNotFoundError):
            lock(installation, snapshot_id)
        with pytest.raises(SnapshotNotFoundError):
            unlock(installation, snapshot_id)
        with pytest.raises(SnapshotNotFoundError):
            described(installation, snapshot_ids=[snapshot_id])
        assert described(installation) == []


class TestDescription:
    def test_ids_and_states_select(self, installation: Installation) -> None:
        one, two, three = (installation.sealed({}) for _ in range(3))
        lock(installation, one)
        lock(installation, two, "compliance")
        assert [each["SnapshotId"] for each in described(installation, snapshot_ids=[two, three])] == [two]
        filters = [{"Name": "lock-state", "Values": ["governance", "expired"]}]
        assert [each["SnapshotId"] for each in described(installation, filters=filters)] == [one]
        with pytest.raises(InvalidParameterError):
            described(installation, filters=[{"Name": "status", "Values": ["x"]}])

    def test_pages_hold_every_lock_once(self, installation: Installation) -> None:
        made = []
        for _ in range(12):
            made.append(installation.sealed({}))
            lock(installation, made[-1])
            installation.clock.now_ms += 1
        found: list[str] = []
        token = None
        for _ in range(3):
            answer: dict[str, Any] = describe_locked_snapshots(
                installation.engine, installation.caller, max_results=5, next_token=token
            )
            found += [each["SnapshotId"] for each in answer["Snapshots"]]
            token = answer["NextToken"]
        assert token is None
        assert found == made

    def test_page_sizes_have_a_least(self, installation: Installation) -> None:
        with pytest.raises(InvalidParameterError):
            described(installation, max_results=4)
        with pytest.raises(InvalidParameterCombinationError):
            described(installation, max_results=5, snapshot_ids=[installation.sealed({})])


def test_a_lock_and_a_deletion_that_race_have_one_winner(installation: Installation, tmp_path: Path) -> None:
    other = SqliteCatalog(tmp_path / "data" / "catalog.db")
    elsewhere = replace(installation.engine, catalog=other)
    for _ in range(20):
        snapshot_id = installation.sealed({})

        def attempt(number: int, snapshot_id: str = snapshot_id) -> bool:
            try:
                if number % 2:
                    lock_snapshot(
                        elsewhere,
                        installation.caller,
                        snapshot_id=snapshot_id,
                        lock_mode="compliance",
                        lock_duration=1,
                    )
                else:
                    installation.delete(snapshot_id)
            except (SnapshotLockedError, SnapshotNotFoundError):
                return False
            return True

        deleted, locked = racing(2, attempt)
        assert deleted is not locked
        assert (installation.catalog.snapshot(snapshot_id) is None) is deleted
    other.close()
