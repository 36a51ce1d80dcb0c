"""A wall clock that is wrong for a while: nothing ends by it for good, whatever is restarted in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snapstone.catalog.contract.keys import KeyState
from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.errors import SnapshotLockedError, SnapshotNotFoundError
from snapstone.core.ids import SnapshotId
from snapstone.core.protection import DAY_MS, HOUR_MS
from snapstone.service.ec2.locks import describe_locked_snapshots, lock_snapshot, unlock_snapshot
from snapstone.service.ec2.recycle_bin import list_snapshots_in_recycle_bin, restore_snapshot_from_recycle_bin
from snapstone.service.ec2.tiers import modify_snapshot_tier, restore_snapshot_tier
from snapstone.service.kms.key_operations import create_key, schedule_key_deletion
from snapstone.service.kms.rotation import enable_key_rotation
from snapstone.service.recycle_bin.rules import create_rule
from snapstone.service.timekeeper import Timekeeper, confirm_clock
from tests.installation import MINUTE_MS, START_MS, Installation, aggregate, block

A, B = block("a"), block("b")
YEAR_MS = 365 * DAY_MS
SWEEP_MS = 10_000


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    installation.tick()
    yield installation
    installation.close()


def sweep(installation: Installation, count: int = 1) -> None:
    """So many ticks whose sweeps are due."""
    for _ in range(count):
        installation.clock.now_ms += SWEEP_MS
        installation.tick()


def new_key(installation: Installation) -> str:
    answer = create_key(installation.engine, installation.caller)
    metadata = answer["KeyMetadata"]
    assert isinstance(metadata, dict)
    return str(metadata["KeyId"])


def recycled(installation: Installation, days: int = 1) -> SnapshotId:
    """A snapshot in the bin."""
    create_rule(
        installation.engine,
        installation.caller,
        resource_type="EBS_SNAPSHOT",
        retention_period={"RetentionPeriodValue": days, "RetentionPeriodUnit": "DAYS"},
    )
    snapshot_id = installation.sealed({0: A})
    installation.delete(snapshot_id)
    return snapshot_id


def bin_of(installation: Installation) -> list[str]:
    answer = list_snapshots_in_recycle_bin(installation.engine, installation.caller)
    found = answer["Snapshots"]
    assert isinstance(found, list)
    return [each["SnapshotId"] for each in found]


def problems(installation: Installation) -> dict[str, str]:
    return {problem.subject: problem.message for problem in installation.engine.health.problems()}


def stay(installation: Installation) -> None:
    """The server runs on."""


def restart(installation: Installation) -> None:
    installation.reopen()


@pytest.mark.parametrize("between", [stay, restart])
@pytest.mark.parametrize("ahead_ms", [2 * HOUR_MS, 400 * DAY_MS])
def test_fifteen_seconds_of_a_clock_ahead_destroy_nothing(
    installation: Installation, ahead_ms: int, between: Callable[[Installation], None]
) -> None:
    key_id = new_key(installation)
    schedule_key_deletion(installation.engine, installation.caller, key_id=key_id, pending_window_in_days=7)
    binned = recycled(installation)
    pending = installation.start(timeout=10)
    installation.put(pending, 0, A)
    sweep(installation)

    installation.clock.set_by(ahead_ms)
    between(installation)
    sweep(installation, 2)
    assert "clock" in problems(installation)
    installation.put(pending, 1, B)
    between(installation)
    installation.clock.set_by(-ahead_ms)
    between(installation)
    sweep(installation)

    assert "clock" not in problems(installation)
    key = installation.catalog.kms_key(key_id)
    assert key is not None
    assert key.state is KeyState.PENDING_DELETION
    assert bin_of(installation) == [binned]
    restore_snapshot_from_recycle_bin(installation.engine, installation.caller, snapshot_id=binned)
    assert installation.content(binned) == {0: A}
    assert installation.complete(pending, 2, aggregate({0: A, 1: B})) == "completed"


def test_a_clock_that_stays_ahead_is_believed_after_an_hour_and_not_before(installation: Installation) -> None:
    binned = recycled(installation)
    installation.clock.set_by(YEAR_MS)
    sweep(installation)
    installation.clock.now_ms += HOUR_MS - 1
    installation.tick()
    assert bin_of(installation) == [binned]
    sweep(installation)
    assert bin_of(installation) == []
    assert installation.catalog.snapshot(binned) is None
    assert "clock" not in problems(installation)


def test_the_problem_names_both_times_and_what_to_do(installation: Installation) -> None:
    """START_MS is 2026-09-25T11:57:20Z; the tick comes ten seconds later."""
    installation.clock.set_by(YEAR_MS)
    sweep(installation)
    message = problems(installation)["clock"]
    assert "at 2027-09-25T11:57:30Z" in message
    assert "at 2026-09-25T11:57:30Z" in message
    assert "snapstone clock confirm" in message


def test_while_the_clock_is_wrong_puts_are_accepted_and_nothing_times_out(installation: Installation) -> None:
    idle, used = installation.start(timeout=10), installation.start(timeout=10)
    installation.clock.set_by(2 * HOUR_MS)
    for index in range(4):
        installation.put(used, index, A)
        sweep(installation)
        installation.clock.advance_minutes(9)
    assert installation.row(idle).state is SnapshotState.PENDING
    installation.put(idle, 0, B)
    assert installation.complete(idle, 1) == "completed"
    installation.clock.set_by(-2 * HOUR_MS)
    sweep(installation)
    assert installation.complete(used, 4) == "completed"


def test_a_request_between_two_ticks_is_not_answered_by_a_clock_that_has_just_been_set(
    installation: Installation,
) -> None:
    pending, locked = installation.start(timeout=10), installation.sealed({0: A})
    lock_snapshot(installation.engine, installation.caller, snapshot_id=locked, lock_mode="governance", lock_duration=1)
    installation.clock.set_by(YEAR_MS)
    installation.put(pending, 0, A)
    assert installation.complete(pending, 1) == "completed"
    with pytest.raises(SnapshotLockedError):
        installation.delete(locked)


@pytest.mark.parametrize("correction_ms", [-HOUR_MS, -DAY_MS, HOUR_MS])
def test_after_a_correction_a_snapshot_times_out_when_it_should(installation: Installation, correction_ms: int) -> None:
    """A sweep while the clock is wrong moves neither the next sweep nor the deadline."""
    installation.clock.set_by(-correction_ms)
    sweep(installation)
    installation.clock.set_by(correction_ms)
    installation.tick()
    pending = installation.start(timeout=10)
    installation.clock.now_ms += 10 * MINUTE_MS
    installation.tick()
    assert installation.row(pending).state is SnapshotState.PENDING
    sweep(installation)
    assert installation.row(pending).state_message == "Snapshot timed out"


def test_a_lock_holds_until_the_clock_is_trusted(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    lock_snapshot(
        installation.engine, installation.caller, snapshot_id=snapshot_id, lock_mode="compliance", lock_duration=1
    )
    installation.clock.set_by(YEAR_MS)
    sweep(installation)
    with pytest.raises(SnapshotLockedError):
        installation.delete(snapshot_id)
    with pytest.raises(SnapshotLockedError):
        unlock_snapshot(installation.engine, installation.caller, snapshot_id=snapshot_id)
    installation.clock.now_ms += HOUR_MS
    sweep(installation)
    installation.delete(snapshot_id)


@pytest.mark.parametrize("set_by_ms", [YEAR_MS, -YEAR_MS])
def test_a_lock_that_cools_off_is_final_while_nobody_knows_how_late_it_is(
    installation: Installation, set_by_ms: int
) -> None:
    snapshot_id = installation.sealed({0: A})
    lock_snapshot(
        *(installation.engine, installation.caller),
        snapshot_id=snapshot_id,
        lock_mode="compliance",
        lock_duration=30,
        cool_off_period=3,
    )
    installation.clock.set_by(set_by_ms)
    sweep(installation)
    described: Any = describe_locked_snapshots(installation.engine, installation.caller)
    assert [each["LockState"] for each in described["Snapshots"]] == ["compliance"]
    with pytest.raises(SnapshotLockedError):
        unlock_snapshot(installation.engine, installation.caller, snapshot_id=snapshot_id)
    installation.clock.set_by(-set_by_ms)
    sweep(installation)
    unlock_snapshot(installation.engine, installation.caller, snapshot_id=snapshot_id)


def test_a_temporary_restore_and_a_rotation_wait_too(installation: Installation) -> None:
    key_id = new_key(installation)
    enable_key_rotation(installation.engine, installation.caller, key_id=key_id)
    restored = installation.sealed({0: A})
    modify_snapshot_tier(installation.engine, installation.caller, snapshot_id=restored, storage_tier="archive")
    restore_snapshot_tier(installation.engine, installation.caller, snapshot_id=restored, temporary_restore_days=1)
    installation.clock.set_by(2 * YEAR_MS)
    sweep(installation)
    assert installation.content(restored) == {0: A}
    assert installation.catalog.key_rotations(key_id) == []
    installation.clock.now_ms += HOUR_MS
    sweep(installation)
    assert installation.row(restored).tiering.tier == "archive"
    assert len(installation.catalog.key_rotations(key_id)) == 1


def test_what_is_scheduled_while_the_clock_is_behind_counts_from_the_time_it_should_be(
    installation: Installation,
) -> None:
    """Else the correction would find it long over."""
    key_id = new_key(installation)
    snapshot_id = installation.sealed({0: A})
    installation.clock.set_by(-YEAR_MS)
    sweep(installation)
    schedule_key_deletion(installation.engine, installation.caller, key_id=key_id, pending_window_in_days=7)
    lock_snapshot(
        installation.engine, installation.caller, snapshot_id=snapshot_id, lock_mode="governance", lock_duration=1
    )
    binned = recycled(installation)
    installation.clock.set_by(YEAR_MS)
    sweep(installation)
    assert "clock" not in problems(installation)
    key = installation.catalog.kms_key(key_id)
    assert key is not None
    assert key.deletion_at_ms == START_MS + SWEEP_MS + 7 * DAY_MS
    assert bin_of(installation) == [binned]
    with pytest.raises(SnapshotLockedError):
        installation.delete(snapshot_id)


def test_a_cooling_off_period_that_begins_while_the_clock_is_ahead_is_no_longer_for_it(
    installation: Installation,
) -> None:
    """Else the lock could be taken off for a year."""
    snapshot_id = installation.sealed({0: A})
    installation.clock.set_by(YEAR_MS)
    sweep(installation)
    lock_snapshot(
        *(installation.engine, installation.caller),
        snapshot_id=snapshot_id,
        lock_mode="compliance",
        lock_duration=30,
        cool_off_period=3,
    )
    installation.clock.set_by(-YEAR_MS)
    installation.clock.now_ms += 3 * HOUR_MS
    sweep(installation)
    assert problems(installation) == {}
    with pytest.raises(SnapshotLockedError):
        unlock_snapshot(installation.engine, installation.caller, snapshot_id=snapshot_id)


def test_what_lies_in_the_bin_is_restored_whatever_the_clock_says(installation: Installation) -> None:
    binned = recycled(installation)
    installation.clock.set_by(YEAR_MS)
    sweep(installation)
    restore_snapshot_from_recycle_bin(installation.engine, installation.caller, snapshot_id=binned)
    assert installation.content(binned) == {0: A}


def test_what_one_process_sees_is_known_to_all_at_once(installation: Installation) -> None:
    installation.clock.set_by(YEAR_MS)
    installation.clock.now_ms += 1_000
    installation.tick()
    other = Timekeeper(installation.catalog, installation.clock)
    assert other.trust == installation.timekeeper.trust
    assert other.trust.held


def test_an_operators_word_counts_at_the_next_tick(installation: Installation) -> None:
    binned = recycled(installation)
    installation.clock.set_by(YEAR_MS)
    sweep(installation)
    assert bin_of(installation) == [binned]
    confirm_clock(installation.catalog, installation.clock)
    sweep(installation)
    assert problems(installation) == {}
    assert bin_of(installation) == []


# -- starts --


@pytest.mark.parametrize("off_ms", [-YEAR_MS, -HOUR_MS, 4 * DAY_MS, YEAR_MS])
def test_after_a_reboot_a_clock_that_may_be_wrong_destroys_nothing_for_an_hour(
    installation: Installation, off_ms: int
) -> None:
    binned = recycled(installation)
    schedule_key_deletion(installation.engine, installation.caller, key_id=new_key(installation))
    installation.clock.set_by(off_ms)
    installation.clock.boot_id = "another"
    installation.reopen()
    sweep(installation)
    assert "last in use at 2026-09-25T11:57:20Z" in problems(installation)["clock"]
    assert bin_of(installation) == [binned]
    installation.clock.now_ms += HOUR_MS
    sweep(installation)
    assert problems(installation) == {}


def test_a_server_that_was_off_for_a_month_works_as_usual_after_an_hour(installation: Installation) -> None:
    key_id = new_key(installation)
    schedule_key_deletion(installation.engine, installation.caller, key_id=key_id, pending_window_in_days=7)
    installation.clock.now_ms += 30 * DAY_MS
    installation.clock.boot_id = "another"
    installation.reopen()
    sweep(installation)
    assert installation.catalog.kms_key(key_id) is not None
    installation.clock.now_ms += HOUR_MS
    sweep(installation)
    assert installation.catalog.kms_key(key_id) is None


def test_a_server_that_was_stopped_for_a_month_on_a_machine_that_ran_is_sure_at_once(
    installation: Installation,
) -> None:
    key_id = new_key(installation)
    schedule_key_deletion(installation.engine, installation.caller, key_id=key_id, pending_window_in_days=7)
    installation.clock.now_ms += 30 * DAY_MS
    installation.reopen()
    sweep(installation)
    assert problems(installation) == {}
    assert installation.catalog.kms_key(key_id) is None


@pytest.mark.parametrize("between", [stay, restart])
def test_a_damaged_row_about_time_costs_an_hour_and_nothing_else(
    installation: Installation, between: Callable[[Installation], None]
) -> None:
    """Running time a year further on by one flipped digit: no snapshot times out, and nothing is destroyed."""
    binned, pending = recycled(installation), installation.start(timeout=10)
    sweep(installation)
    with installation.catalog._connections.writing() as connection:  # type: ignore[attr-defined]
        connection.execute(
            "UPDATE clock SET run_offset_ms = run_offset_ms + ?1, running_ms = running_ms + ?1", [YEAR_MS]
        )
    between(installation)
    sweep(installation)
    assert "clock" in problems(installation)
    installation.put(pending, 0, A)
    installation.clock.now_ms += HOUR_MS
    sweep(installation)
    assert "clock" not in problems(installation)
    assert bin_of(installation) == [binned]
    sweep(installation)


def down(installation: Installation, down_ms: int, boot_id: str = "boot") -> None:
    """The server is killed, is away for a time, and comes back."""
    installation.end_at_once()
    installation.clock.now_ms += down_ms
    installation.clock.boot_id = boot_id
    installation.__post_init__()


@pytest.mark.parametrize("boot_id", ["boot", "another"])
def test_time_without_a_server_does_not_count_against_pending_snapshots(
    installation: Installation, boot_id: str
) -> None:
    """Ten minutes of time-out: four run, an hour and two days are missed, five run, one more is left."""
    pending = installation.start(timeout=10)
    installation.put(pending, 0, A)
    sweep(installation, 24)
    down(installation, HOUR_MS, boot_id)
    down(installation, 2 * DAY_MS, boot_id)
    sweep(installation, 30)
    assert installation.row(pending).state is SnapshotState.PENDING
    installation.put(pending, 1, B)
    sweep(installation, 60)
    assert installation.row(pending).state is SnapshotState.PENDING
    sweep(installation, 1)
    assert installation.row(pending).state_message == "Snapshot timed out"
    with pytest.raises(SnapshotNotFoundError):
        installation.put(pending, 2, B)


def test_a_kill_gives_a_pending_snapshot_no_more_than_what_was_not_noted(installation: Installation) -> None:
    """Ten kills, each just before a note is due: each costs the ten seconds since the note before."""
    pending = installation.start(timeout=10)
    for _ in range(10):
        installation.clock.now_ms += SWEEP_MS - 1
        installation.tick()
        down(installation, HOUR_MS)
    lost_ms = 10 * (SWEEP_MS - 1)
    installation.clock.now_ms += 10 * MINUTE_MS - 10 * (SWEEP_MS - 1) + lost_ms
    installation.tick()
    assert installation.row(pending).state is SnapshotState.PENDING
    sweep(installation)
    assert installation.row(pending).state is SnapshotState.ERROR


def test_a_stop_notes_the_time(installation: Installation) -> None:
    pending = installation.start(timeout=10)
    for _ in range(10):
        installation.clock.now_ms += SWEEP_MS - 1
        installation.timekeeper.observe(note=True)
        down(installation, HOUR_MS)
    installation.clock.now_ms += 10 * MINUTE_MS - 10 * (SWEEP_MS - 1)
    installation.tick()
    assert installation.row(pending).state is SnapshotState.PENDING
    installation.clock.now_ms += SWEEP_MS
    installation.tick()
    assert installation.row(pending).state is SnapshotState.ERROR


def test_pending_snapshots_of_an_earlier_version_get_their_whole_time_anew(installation: Installation) -> None:
    """Earlier versions told deadlines by the wall clock and noted no time."""
    pending = installation.start(timeout=10)
    with installation.catalog._connections.writing() as connection:  # type: ignore[attr-defined]
        connection.execute("UPDATE clock SET running_ms = NULL, due_running_ms = NULL")
    down(installation, HOUR_MS)
    assert installation.row(pending).deadline_at_ms == START_MS + HOUR_MS + 10 * MINUTE_MS
    installation.put(pending, 0, A)
