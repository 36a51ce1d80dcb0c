"""Whether the wall clock can be trusted: it is compared with the machine's boot clock and with its own past.

A machine's wall clock can be set to anything at any moment; its boot clock (CLOCK_BOOTTIME) cannot, and it runs
while the machine is suspended. If both have moved by the same since a *reference* reading, the wall clock is as
right as it was then. After a reboot there is nothing to compare it with but the last time that was noted: it must not
be earlier, and if it is much later nobody knows whether the machine was off or the clock is wrong.

A clock that fails is *suspect* until it is back on the line of the reference, until it has been steady for an hour on
its new line, or until an operator confirms it. What is done by date and cannot be undone waits for that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

STEPS_MS: Final = 60_000
"""How far steps may move the wall clock within `STEADY_MS` and be believed.

Slewing does not count: Linux slews the boot clock with the wall clock. What remains are leap seconds (1 s) and the
steps by which time services correct a clock after a start or a pause: seconds, where a clock chip ran for weeks by
itself. The shortest time that anything irreversible waits for is the ten minutes of a pending snapshot: a minute is a
tenth of it.
"""

DRIFT_PPM: Final = 500
"""How much an oscillator drifts at most: what the kernel can correct. It counts if many small steps correct it
instead, and between two readings that lie days apart."""

STEADY_MS: Final = 3_600_000
"""How long a suspect clock must run at the boot clock's pace to be trusted again; a trusted one moves its reference as
often, so that steps of less than `STEPS_MS` do not add up unnoticed."""

OFF_MS: Final = 3 * 86_400_000
"""How far the wall clock may be ahead of the last noted time after a reboot: longer than a weekend, shorter than the
seven days that a key waits for its destruction at least. Beyond that it is suspect, which costs a machine that was off
for a month one hour in which nothing expires."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Two clocks, read at one moment."""

    wall_ms: int
    """Since the epoch, as the machine says."""
    boot_ms: int
    """Since this boot of the machine, time in suspension included."""
    boot_id: str
    """Of this boot; readings of two boots have nothing in common."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The state of the wall clock: trusted if `suspect` is None."""

    reference: ClockReading
    """Trusted; not older than `STEADY_MS` if the clock has been watched."""
    last_ms: int
    """The last trusted time: what was due by then is due."""
    suspect: ClockReading | None = None
    """The first reading on the line that the suspect clock runs on now."""
    expected_ms: int | None = None
    """The expected wall time at that reading; after a reboot, the last noted time."""

    @property
    def held(self) -> bool:
        """Whether nothing irreversible may be done by date."""
        return self.suspect is not None


@dataclass(frozen=True, slots=True)
class Moment:
    """The current time for dates: three times that are equal while the clock is trusted."""

    due_ms: int
    """At least this: what ends at this time has ended. It stands still while the clock is not trusted."""
    latest_ms: int
    """At most this: a permission that ends before it may have ended."""
    dated_ms: int
    """Where periods begin that are set now, so that none is shorter than it says, whichever clock is right."""

    @property
    def is_certain(self) -> bool:
        """Whether the clock is trusted."""
        return self.due_ms == self.latest_ms


NEVER_MS: Final = 2**53
"""Later than any date: while the time is unknown, it may be as late as this."""


def moment_of(trust: Trust, reading: ClockReading) -> Moment:
    """The time at a reading, even at the first one that makes the clock suspect."""
    if trust.suspect is None and _is_plausible(trust, reading):
        return Moment(reading.wall_ms, reading.wall_ms, reading.wall_ms)
    return Moment(trust.last_ms, NEVER_MS, max(reading.wall_ms, expected_ms(trust, reading)))


def judge(trust: Trust | None, reading: ClockReading) -> Trust:
    """The state after one more reading. The very first one is trusted: there is nothing yet that it could
    destroy."""
    if trust is None:
        return Trust(reading, reading.wall_ms)
    if trust.suspect is None:
        if _is_plausible(trust, reading):
            return _trusted(trust, reading)
        return replace(trust, suspect=reading, expected_ms=expected_ms(trust, reading))
    if agree(trust.reference, reading):
        return _trusted(trust, reading)
    if not agree(trust.suspect, reading):
        return replace(trust, suspect=reading, expected_ms=expected_ms(trust, reading))
    if reading.boot_ms - trust.suspect.boot_ms >= STEADY_MS:
        return confirm(reading)
    return trust


def confirm(reading: ClockReading) -> Trust:
    """Trust the wall clock as it is, whatever it said before."""
    return Trust(reading, reading.wall_ms)


def agree(before: ClockReading, after: ClockReading) -> bool:
    """Whether both clocks have moved by the same from one reading to a later one of the same boot."""
    elapsed_ms = after.boot_ms - before.boot_ms
    if before.boot_id != after.boot_id or elapsed_ms < 0:
        return False
    return abs(after.wall_ms - before.wall_ms - elapsed_ms) <= STEPS_MS + elapsed_ms * DRIFT_PPM // 1_000_000


def expected_ms(trust: Trust, reading: ClockReading) -> int:
    """The expected wall time at a reading, if known: at least the last trusted time."""
    elapsed_ms = reading.boot_ms - trust.reference.boot_ms
    if trust.reference.boot_id == reading.boot_id and elapsed_ms >= 0:
        return max(trust.last_ms, trust.reference.wall_ms + elapsed_ms)
    return trust.last_ms


def _is_plausible(trust: Trust, reading: ClockReading) -> bool:
    """Whether a clock that was trusted last can be trusted now."""
    if trust.reference.boot_id == reading.boot_id and reading.boot_ms >= trust.reference.boot_ms:
        return agree(trust.reference, reading)
    return -STEPS_MS <= reading.wall_ms - trust.last_ms <= OFF_MS


def _trusted(trust: Trust, reading: ClockReading) -> Trust:
    reference = trust.reference
    is_old = reading.boot_ms - reference.boot_ms >= STEADY_MS
    if is_old or reference.boot_id != reading.boot_id or reading.boot_ms < reference.boot_ms:
        reference = reading
    return Trust(reference, reading.wall_ms)
