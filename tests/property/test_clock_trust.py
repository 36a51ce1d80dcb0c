"""The clock rule under random walks of the wall clock against the boot clock, with reboots and looks at odd times."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from snapstone.core.clock_trust import OFF_MS, STEADY_MS, STEPS_MS, ClockReading, Trust, judge, moment_of

SECOND, HOUR, DAY = 1_000, 3_600_000, 86_400_000
WALL = 1_790_000_000_000


@dataclass(frozen=True)
class Step:
    """What happens to the machine until the next look at its clocks."""

    elapsed_ms: int
    set_by_ms: int = 0
    reboots: bool = False


@dataclass
class Machine:
    """The true time, and what the clocks say."""

    true_ms: int = WALL
    set_by_ms: int = 0
    booted_ms: int = WALL - DAY
    boot_count: int = 0

    def do(self, step: Step) -> None:
        self.true_ms += step.elapsed_ms
        self.set_by_ms += step.set_by_ms
        if step.reboots:
            self.booted_ms = self.true_ms - SECOND
            self.boot_count += 1

    def read(self) -> ClockReading:
        return ClockReading(self.true_ms + self.set_by_ms, self.true_ms - self.booted_ms, str(self.boot_count))


elapsed = st.sampled_from([SECOND, 10 * SECOND, 600 * SECOND, HOUR, 2 * DAY]) | st.integers(0, 30 * DAY)
shifts = st.sampled_from([-365 * DAY, -2 * HOUR, -61 * SECOND, -SECOND, SECOND, 61 * SECOND, 2 * HOUR, 365 * DAY])
wild_steps = st.builds(Step, elapsed, shifts | st.just(0) | st.integers(-DAY, DAY), st.booleans())

slews = st.lists(st.tuples(st.integers(1, 3 * HOUR), st.integers(-500, 500)), max_size=60)


def watched(machine: Machine, steps: list[Step]) -> list[tuple[Trust, ClockReading]]:
    """What is known after each step."""
    trust, known = judge(None, machine.read()), []
    for step in steps:
        machine.do(step)
        reading = machine.read()
        trust = judge(trust, reading)
        known.append((trust, reading))
    return known


@given(st.lists(wild_steps, max_size=40))
def test_nothing_falls_due_while_the_clock_is_held(steps: list[Step]) -> None:
    """The time that is due stands still from the last trusted reading to the end of the wait."""
    due_ms = WALL
    for trust, reading in watched(Machine(), steps):
        moment = moment_of(trust, reading)
        if trust.held:
            assert moment.due_ms == due_ms
            assert not moment.is_certain
        else:
            assert moment.due_ms == reading.wall_ms
        assert moment.due_ms <= moment.dated_ms <= moment.latest_ms
        due_ms = moment.due_ms


@given(st.lists(wild_steps, max_size=40))
def test_a_jump_is_trusted_only_back_on_the_line_or_after_an_hour(steps: list[Step]) -> None:
    """Told independently of the rule: the clock's error now, at the last trusted reading, and for the last hour."""
    machine = Machine()
    trust = judge(None, machine.read())
    errors = [(machine.true_ms, machine.set_by_ms, machine.boot_count)]
    trusted_error, trusted_boot = 0, 0
    for step in steps:
        machine.do(step)
        was_held = trust.held
        trust = judge(trust, machine.read())
        errors.append((machine.true_ms, machine.set_by_ms, machine.boot_count))
        if not trust.held:
            age_ms = machine.true_ms - WALL
            back = (
                machine.boot_count == trusted_boot
                and abs(machine.set_by_ms - trusted_error) <= 2 * STEPS_MS + age_ms // 2_000
            )
            start = not was_held and machine.boot_count != trusted_boot
            steady = [
                at_ms
                for at_ms, error_ms, boot in errors
                if abs(error_ms - machine.set_by_ms) <= STEPS_MS + age_ms // 2_000 and boot == machine.boot_count
            ]
            assert back or start or machine.true_ms - min(steady) >= STEADY_MS
            trusted_error, trusted_boot = machine.set_by_ms, machine.boot_count


@given(slews, st.integers(0, 1))
def test_a_slewed_clock_is_never_held(slewed: list[tuple[int, int]], leap_seconds: int) -> None:
    """Up to 500 ppm for hours on end, as if the boot clock were not slewed too; looks at odd times; a leap second."""
    machine, steps = Machine(), []
    for elapsed_ms, ppm in slewed:
        steps.append(Step(elapsed_ms, elapsed_ms * ppm // 1_000_000))
    steps.append(Step(SECOND, -leap_seconds * SECOND))
    assert not any(trust.held for trust, _ in watched(machine, steps))


@given(st.lists(st.integers(1, 400 * DAY), max_size=20))
def test_a_suspended_machine_is_never_held(pauses_ms: list[int]) -> None:
    """The boot clock counts the time in suspension, as the wall clock does."""
    assert not any(trust.held for trust, _ in watched(Machine(), [Step(pause_ms) for pause_ms in pauses_ms]))


@given(st.lists(st.integers(0, OFF_MS - SECOND), max_size=20))
def test_a_machine_that_is_off_for_up_to_three_days_is_never_held(off_ms: list[int]) -> None:
    assert not any(trust.held for trust, _ in watched(Machine(), [Step(each, reboots=True) for each in off_ms]))


@given(st.lists(wild_steps, max_size=20), st.booleans())
def test_a_clock_that_is_left_alone_is_trusted_after_an_hour(steps: list[Step], looks_often: bool) -> None:
    machine = Machine()
    known = watched(machine, steps)
    trust = known[-1][0] if known else judge(None, machine.read())
    for elapsed_ms in [SECOND] + ([10 * SECOND] * 360 if looks_often else [HOUR]):
        machine.do(Step(elapsed_ms))
        trust = judge(trust, machine.read())
    assert not trust.held
