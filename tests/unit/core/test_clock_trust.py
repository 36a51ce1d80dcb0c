"""When the wall clock is trusted: cases worked out by hand. tests/property/test_clock_trust.py walks at random."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snapstone.core.clock_trust import NEVER_MS, ClockReading, Moment, Trust, agree, confirm, judge, moment_of

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
YEAR = 365 * DAY
WALL, BOOT = 1_790_000_000_000, 5 * DAY

START = ClockReading(WALL, BOOT, "one")
TRUSTED = Trust(START, WALL)


def after(elapsed_ms: int, set_by_ms: int = 0, reading: ClockReading = START) -> ClockReading:
    """A reading some time later, with the wall clock set by so much in between."""
    return ClockReading(reading.wall_ms + elapsed_ms + set_by_ms, reading.boot_ms + elapsed_ms, reading.boot_id)


def rebooted(off_ms: int, set_by_ms: int = 0) -> ClockReading:
    """The first reading of the next boot, after the machine was off for some time."""
    return ClockReading(WALL + off_ms + set_by_ms, 20 * SECOND, "two")


def test_the_first_reading_is_believed() -> None:
    assert judge(None, START) == TRUSTED


@pytest.mark.parametrize("elapsed_ms", [0, SECOND, HOUR - 1, 10 * DAY])
def test_a_clock_that_goes_on_is_trusted(elapsed_ms: int) -> None:
    trust = judge(TRUSTED, after(elapsed_ms))
    assert not trust.held
    assert trust.last_ms == WALL + elapsed_ms


@pytest.mark.parametrize("step_ms", [SECOND, -SECOND, 59 * SECOND, -59 * SECOND])
def test_a_leap_second_and_the_steps_of_a_time_service_are_believed(step_ms: int) -> None:
    assert not judge(TRUSTED, after(SECOND, step_ms)).held


@pytest.mark.parametrize("step_ms", [61 * SECOND, -61 * SECOND, 2 * HOUR, -2 * HOUR, YEAR, -YEAR])
@pytest.mark.parametrize("elapsed_ms", [SECOND, 10 * SECOND])
def test_a_larger_step_is_not(step_ms: int, elapsed_ms: int) -> None:
    trust = judge(TRUSTED, after(elapsed_ms, step_ms))
    assert trust.held
    assert trust.last_ms == WALL
    assert trust.expected_ms == WALL + elapsed_ms


def test_small_steps_do_not_add_up_unnoticed() -> None:
    """Fifty seconds ahead in one step, and fifty again a minute later."""
    once = judge(TRUSTED, after(MINUTE, 50 * SECOND))
    assert not once.held
    assert judge(once, after(2 * MINUTE, 100 * SECOND)).held


def test_steps_that_lie_an_hour_apart_are_believed_each_by_itself() -> None:
    """A time service that corrects a bad clock once in a while is right every time."""
    trust = judge(TRUSTED, after(MINUTE, 50 * SECOND))
    for hour in range(1, 5):
        trust = judge(
            judge(trust, after(hour * HOUR, hour * 50 * SECOND)), after(hour * HOUR, (hour + 1) * 50 * SECOND)
        )
        assert not trust.held


def test_between_readings_that_lie_far_apart_the_drift_of_an_oscillator_is_believed() -> None:
    """500 ppm of ten days are 432 seconds."""
    assert agree(START, after(10 * DAY, 432 * SECOND))
    assert agree(START, after(10 * DAY, (432 + 60) * SECOND))
    assert not agree(START, after(10 * DAY, (432 + 60) * SECOND + 1))


def test_a_suspect_clock_that_is_right_again_is_trusted_at_once() -> None:
    held = judge(TRUSTED, after(SECOND, YEAR))
    assert not judge(held, after(16 * SECOND)).held


def test_a_suspect_clock_is_trusted_after_an_hour_of_steadiness() -> None:
    held = judge(TRUSTED, after(SECOND, YEAR))
    still = judge(held, after(SECOND + HOUR - 1, YEAR))
    assert still == held
    released = judge(still, after(SECOND + HOUR, YEAR))
    assert released == confirm(after(SECOND + HOUR, YEAR))


def test_another_step_begins_the_hour_anew() -> None:
    held = judge(TRUSTED, after(SECOND, YEAR))
    again = judge(held, after(50 * MINUTE, 2 * YEAR))
    assert again.suspect == after(50 * MINUTE, 2 * YEAR)
    assert judge(again, after(SECOND + HOUR, 2 * YEAR)).held
    assert not judge(again, after(50 * MINUTE + HOUR, 2 * YEAR)).held


def test_a_restart_of_the_server_within_a_boot_changes_nothing() -> None:
    """What is known comes out of the catalog: however long the server was away, the boot clock knows."""
    assert not judge(TRUSTED, after(30 * DAY)).held
    assert judge(TRUSTED, after(30 * DAY, YEAR)).held
    assert judge(judge(TRUSTED, after(SECOND, YEAR)), after(30 * SECOND, YEAR)).held


@pytest.mark.parametrize("off_ms", [30 * SECOND, HOUR, 2 * DAY, 3 * DAY])
def test_a_machine_that_was_off_for_a_night_or_a_weekend_is_trusted(off_ms: int) -> None:
    trust = judge(TRUSTED, rebooted(off_ms))
    assert not trust.held
    assert trust.reference == rebooted(off_ms)


@pytest.mark.parametrize("off_ms", [3 * DAY + 1, 30 * DAY, YEAR, -61 * SECOND, -YEAR])
def test_after_a_reboot_a_clock_far_ahead_or_behind_waits_for_an_hour(off_ms: int) -> None:
    first = rebooted(off_ms)
    held = judge(TRUSTED, first)
    assert held.held
    assert held.expected_ms == WALL
    assert judge(held, after(HOUR - 1, reading=first)).held
    assert not judge(held, after(HOUR, reading=first)).held


def test_readings_of_two_boots_are_not_compared_even_if_they_agree() -> None:
    """Another machine, say, to which the data folder was moved, and which is up for longer."""
    elsewhere = ClockReading(WALL + YEAR, BOOT + YEAR, "two")
    assert not agree(START, elsewhere)
    assert not agree(after(SECOND), START), "time goes on"
    assert judge(TRUSTED, elsewhere).held


def test_a_clock_chip_that_lags_a_little_is_trusted_after_a_reboot() -> None:
    assert not judge(TRUSTED, rebooted(0, -2 * SECOND)).held


def test_a_reboot_does_not_clear_a_suspect_clock() -> None:
    """Two hours ahead before the reboot, and after it: plausible by itself, and still not trusted."""
    held = judge(TRUSTED, after(SECOND, 2 * HOUR))
    again = judge(held, rebooted(MINUTE, 2 * HOUR))
    assert again.held
    assert again.suspect == rebooted(MINUTE, 2 * HOUR)


def test_a_boot_clock_that_went_back_is_another_boot_whatever_its_name() -> None:
    """Where the system names no boot, the name is empty each time."""
    unnamed = replace(START, boot_id="")
    trust = Trust(unnamed, WALL)
    assert not judge(trust, ClockReading(WALL + HOUR, 20 * SECOND, "")).held
    assert judge(trust, ClockReading(WALL + YEAR, 20 * SECOND, "")).held


def test_while_the_clock_is_trusted_it_is_one_time_for_all() -> None:
    assert moment_of(TRUSTED, after(SECOND)) == Moment(WALL + SECOND, WALL + SECOND, WALL + SECOND)


def test_a_step_counts_before_anybody_has_judged_it() -> None:
    """Between two checks of the clock a request comes: it is not answered by a clock that has just been set."""
    ahead = moment_of(TRUSTED, after(SECOND, YEAR))
    assert ahead == Moment(due_ms=WALL, latest_ms=NEVER_MS, dated_ms=WALL + SECOND + YEAR)
    behind = moment_of(TRUSTED, after(SECOND, -YEAR))
    assert behind == Moment(due_ms=WALL, latest_ms=NEVER_MS, dated_ms=WALL + SECOND)


def test_while_the_clock_is_suspect_nothing_falls_due_and_periods_begin_late() -> None:
    held = judge(TRUSTED, after(SECOND, -YEAR))
    assert moment_of(held, after(MINUTE, -YEAR)) == Moment(WALL, NEVER_MS, WALL + MINUTE)


def test_an_operator_is_believed() -> None:
    assert not judge(confirm(after(SECOND, YEAR)), after(2 * SECOND, YEAR)).held
    assert judge(confirm(after(SECOND, YEAR)), after(2 * SECOND)).held
