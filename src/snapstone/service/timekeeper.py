"""The time for everything that expires, the same in all processes of a server.

Three clocks of the machine are read. The *wall clock* says the date; it may be set at any moment, and what it says is
only believed while it agrees with the *boot clock* (`core.clock_trust`). The *monotonic clock* measures intervals,
leases and the time-outs of pending snapshots: all processes of a machine share it and nothing sets it. Unlike the boot
clock it stands still while the machine is suspended, as the server does.

A reboot resets it, and a server is not always there; so intervals are measured in *running time*, which resumes where
it was noted last (`catalog.clock_contract.ClockRow`). After a kill up to `NOTE_INTERVAL_MS` and a tick were not noted,
and are counted twice: time-outs come later by that, and never sooner.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Protocol

from snapstone.catalog.contract.clock import ClockCatalog, ClockRow
from snapstone.core.clock_trust import STEPS_MS, ClockReading, Moment, Trust, confirm, judge, moment_of

NOTE_INTERVAL_MS: Final = 10_000
"""Between two notes in the catalog of what time it is."""


_NONE: Final = (0, -1)
"""A range that nothing lies in."""


class Clocks(Protocol):
    """The clocks of the machine."""

    def read(self) -> ClockReading:
        """Wall clock and boot clock at one moment."""

    def lead_ms(self) -> int:
        """The wall clock less the boot clock, cheaply: a little off if the process is held up in the middle."""

    def monotonic_ms(self) -> int:
        """Milliseconds that no process is without, and nothing sets; from where does not matter."""


class Timekeeper:
    """Reads the clocks for one process, and shares with the others, by the catalog, whether they can be trusted."""

    def __init__(self, catalog: ClockCatalog, clocks: Clocks) -> None:
        """`begin_run` has been called in this process or another."""
        self._catalog = catalog
        self._clocks = clocks
        row = catalog.clock()
        self._run_offset_ms = row.run_offset_ms
        """Chosen when the server starts, and constant for the life of this process."""
        self._adopt(row)

    def moment(self) -> Moment:
        """The current time, for dates."""
        return moment_of(self.trust, self._clocks.read())

    def due_ms(self) -> int:
        """Whatever ends by date at this time or before has ended, irrevocably."""
        return self.moment().due_ms

    def dated_ms(self) -> int:
        """Start of a period that is defined by date and begins now."""
        return self.moment().dated_ms

    def running_ms(self) -> int:
        """Running time now."""
        return self._run_offset_ms + self._clocks.monotonic_ms()

    def due_running_ms(self) -> int:
        """As `running_ms`; it stands still while the wall clock is not trusted.

        It is unknown then which clock is wrong, so time-outs by running time wait too.
        """
        least_ms, most_ms = self._certain_leads_ms
        if least_ms <= self._clocks.lead_ms() <= most_ms or self.moment().is_certain:
            return self.running_ms()
        due_running_ms = self._row.due_running_ms
        assert due_running_ms is not None
        return due_running_ms

    @property
    def trust(self) -> Trust:
        """The trust as of the last check."""
        trust = self._row.trust
        assert trust is not None
        return trust

    def observe(self, *, note: bool = False) -> Trust:
        """Look at the clocks and at what other processes saw of them; to be called every second.

        Notes in the catalog what changed, and every `NOTE_INTERVAL_MS` that the server is there; `note` does it now.
        """
        known = self._catalog.clock()
        seen = self._seen(known)
        self._adopt(seen)  # a clock that fails is not trusted here, even if the catalog cannot be written
        assert seen.trust is not None
        assert known.trust is not None
        changed = (seen.trust.suspect, seen.trust.reference) != (known.trust.suspect, known.trust.reference)
        if note or changed or _since(known, seen) >= NOTE_INTERVAL_MS:
            self._adopt(self._catalog.change_clock(self._seen))
        return self.trust

    def _adopt(self, row: ClockRow) -> None:
        """Work by this row from now on."""
        assert row.trust is not None, "begin_run comes first"
        lead_ms = row.trust.reference.wall_ms - row.trust.reference.boot_ms
        # While the clock is trusted, its reference is of this boot; each put asks, so what is plain is found cheaply.
        is_plain = not row.trust.held and row.trust.reference.boot_id == self._clocks.read().boot_id
        self._certain_leads_ms = (lead_ms - STEPS_MS, lead_ms + STEPS_MS) if is_plain else _NONE
        self._row = row

    def _seen(self, row: ClockRow) -> ClockRow:
        """The row after one more reading of the clocks."""
        trust = judge(row.trust, self._clocks.read())
        running_ms = self.running_ms()
        due_running_ms = row.due_running_ms if trust.held else running_ms
        if due_running_ms is None:  # the row was damaged
            due_running_ms = self._row.due_running_ms
        return ClockRow(trust, running_ms, due_running_ms, self._run_offset_ms)


def begin_run(catalog: ClockCatalog, clocks: Clocks) -> None:
    """A server starts, alone on its catalog: running time resumes from the last note."""
    if catalog.clock().running_ms is None:
        # Earlier versions told deadlines by the wall clock, and did not note for how long they were down.
        catalog.renew_deadlines(clocks.read().wall_ms)

    def begun(row: ClockRow) -> ClockRow:
        reading = clocks.read()
        trust = judge(row.trust, reading)
        running_ms = reading.wall_ms if row.running_ms is None else row.running_ms
        due_running_ms = row.due_running_ms if trust.held and row.due_running_ms is not None else running_ms
        return ClockRow(trust, running_ms, due_running_ms, running_ms - clocks.monotonic_ms())

    catalog.change_clock(begun)


def confirm_clock(catalog: ClockCatalog, clocks: Clocks) -> ClockReading:
    """An operator confirms the wall clock; returns its reading. Every process sees it at its next check."""
    reading = clocks.read()
    catalog.change_clock(lambda row: replace(row, trust=confirm(reading)))
    return reading


def told(trust: Trust) -> str | None:
    """The problem with the clock and its remedy, for an operator; None if it is trusted."""
    if trust.suspect is None or trust.expected_ms is None:
        return None
    says, expected = _date(trust.suspect.wall_ms), _date(trust.expected_ms)
    if trust.suspect.boot_id == trust.reference.boot_id:
        difference = f"the clock was at {says} when it should have been at {expected}"
    else:
        difference = f"the clock was at {says}, and this data folder was last in use at {expected}"
    return (
        f"The machine's clock is not trusted: {difference}. Nothing expires or is destroyed by date until it has been"
        " steady for an hour. Set the clock if it is wrong; if it is right, run `snapstone clock confirm`."
    )


def _since(known: ClockRow, seen: ClockRow) -> int:
    return 0 if known.running_ms is None or seen.running_ms is None else seen.running_ms - known.running_ms


def _date(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
