"""`snapstone clock`: show or confirm whether a server trusts its machine's clock."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from snapstone.cli.identities import Row, date_of, opened, print_row
from snapstone.cli.outcome import EXIT_CODES, Exit

if TYPE_CHECKING:
    from snapstone.core.clock_trust import ClockReading, Trust

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_DESCRIPTION: Final = """\
Show whether the machine's clock is trusted. It is not if it jumped, or if it is far from the time at which the data
folder was last used; until it is trusted again, nothing expires or is destroyed by date. That happens when the clock is
back where it should be, after it has been steady for an hour, or with `snapstone clock confirm`. Works with or without
a running server. Exits with code 1 if the clock is not trusted.
"""


def register(subparsers: Subparsers) -> None:
    """Add the commands to the command line."""
    parser = subparsers.add_parser(
        "clock",
        help="show whether the server's clock is trusted, or confirm it",
        description=_DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="DIR", help="data folder of the server [SNAPSTONE_DATA]")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run_show)
    group = parser.add_subparsers(title="commands", metavar="COMMAND")
    text = "trust the machine's clock as it is now; every server process follows within two seconds"
    confirm = group.add_parser(
        "confirm",
        help=text,
        description=text,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # No defaults here: they would override options given before `confirm`.
    confirm.add_argument("--data", metavar="DIR", default=argparse.SUPPRESS, help="as above")
    confirm.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as above")
    confirm.set_defaults(run=run_confirm)


def run_show(options: argparse.Namespace) -> Exit:
    """Show the clock's state."""
    with opened(options) as engine:
        from snapstone.core.clock_trust import judge
        from snapstone.system.clock import MachineClocks

        reading = MachineClocks().read()
        trust = judge(engine.catalog.clock().trust, reading)
    print_row(options, _row(trust, reading))
    return Exit.FAILED if trust.held else Exit.DONE


def run_confirm(options: argparse.Namespace) -> Exit:
    """Trust the clock."""
    with opened(options) as engine:
        from snapstone.service.timekeeper import confirm_clock
        from snapstone.system.clock import MachineClocks

        reading = confirm_clock(engine.catalog, MachineClocks())
    print_row(options, {"state": "trusted", "clock": date_of(reading.wall_ms)})
    return Exit.DONE


def _row(trust: Trust, reading: ClockReading) -> Row:
    from snapstone.core.clock_trust import STEADY_MS

    if trust.suspect is None or trust.expected_ms is None:
        return {"state": "trusted", "clock": date_of(reading.wall_ms)}
    steady_ms = reading.boot_ms - trust.suspect.boot_ms
    return {
        "state": "not trusted",
        "clock": date_of(reading.wall_ms),
        "last trusted": date_of(trust.last_ms),
        "when noticed": date_of(trust.suspect.wall_ms),
        "expected then": date_of(trust.expected_ms),
        "minutes left": str(-(-max(0, STEADY_MS - steady_ms) // 60_000)),
    }
