"""`snapstone wait`: wait until snapshots are completed."""

from __future__ import annotations

import argparse
from time import monotonic
from typing import TYPE_CHECKING, Final

from snapstone.cli import quantities
from snapstone.cli.failures import each
from snapstone.cli.outcome import Exit
from snapstone.cli.remote import add_command, endpoint_options, open_service
from snapstone.cli.reporting import report_options, reporting
from snapstone.cli.snapshot_arguments import snapshot_argument

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

TIMEOUT_SECONDS: Final = 3600.0


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(subparsers, "wait", "wait until snapshots are completed", run)
    snapshot_argument(parser, "snapshots", "snapshots to wait for", many=True)
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=quantities.duration,
        default=TIMEOUT_SECONDS,
        help="how long to wait for all of them (default: 1h), then exit with code 3",
    )
    endpoint_options(parser)
    report_options(parser)


def run(options: argparse.Namespace) -> Exit:
    """Wait for each in turn, within one common timeout."""
    deadline = monotonic() + options.timeout
    with reporting(options) as reporter, open_service(options, reporter) as service:

        def wait(snapshot_id: str) -> None:
            service.wait_completed(snapshot_id, max(0.0, deadline - monotonic()))
            reporter.result("", {"snapshot_id": snapshot_id, "state": "completed"})

        return each(options, options.snapshots, wait)
