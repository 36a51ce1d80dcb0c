"""`snapstone ls`: list the snapshots of an endpoint."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from snapstone.cli.commands.show import facts_of, full_size_in_words, iso, tags_in_words
from snapstone.cli.outcome import CommandError, Exit
from snapstone.cli.remote import add_command, endpoint_options, open_service
from snapstone.cli.reporting import report_options, reporting
from snapstone.cli.snapshot_arguments import filter_values
from snapstone.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snapstone.client.api.values import SnapshotInfo

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EVERYBODY: Final = "any"
_HEAD: Final = ("SNAPSHOT", "SIZE", "STATE", "STARTED", "PROGRESS", "DESCRIPTION", "TAGS")
_LONG_HEAD: Final = (*_HEAD, "OWNER", "ENCRYPTED", "FULL SIZE", "TIER", "MESSAGE")

_DESCRIPTION: Final = """\
List snapshots, oldest first: ID, size, state, start, progress, description, tags. A table on a terminal, otherwise
tab-separated columns without a header.
"""


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(subparsers, "ls", "list snapshots", run, _DESCRIPTION)
    parser.add_argument(
        "--filter",
        metavar="NAME=VALUE,...",
        type=filter_values,
        action="append",
        default=[],
        help="an EC2 filter, such as status=completed or tag:Name=web*; all filters must match",
    )
    parser.add_argument(
        "--owner", metavar="OWNER", default="self", help=f"self (default), an account ID, or {EVERYBODY}"
    )
    parser.add_argument("--long", action="store_true", help="show all columns in full")
    endpoint_options(parser)
    report_options(parser)


def run(options: argparse.Namespace) -> Exit:
    """List them."""
    filters = dict(options.filter)
    if len(filters) < len(options.filter):
        raise CommandError("a filter is given twice; give it once, with its values separated by commas", Exit.USAGE)
    owner = None if options.owner == EVERYBODY else options.owner
    with reporting(options) as reporter, open_service(options, reporter) as service:
        snapshots = service.describe(filters=filters, owner=owner)
        snapshots.sort(key=lambda snapshot: (snapshot.started_at, snapshot.snapshot_id))
        if options.json:
            for snapshot in snapshots:
                reporter.result("", facts_of(snapshot))
        else:
            _print(snapshots, options.long)
    return Exit.DONE


def _print(snapshots: Sequence[SnapshotInfo], long: bool) -> None:
    rows = [_row(snapshot) + (_rest(snapshot) if long else ()) for snapshot in snapshots]
    print_table(_LONG_HEAD if long else _HEAD, rows, whole=long)


def _row(snapshot: SnapshotInfo) -> tuple[str, ...]:
    return (
        snapshot.snapshot_id,
        f"{snapshot.volume_size_gib} GiB",
        snapshot.state,
        iso(snapshot.started_at),
        snapshot.progress or "-",
        snapshot.description or "-",
        tags_in_words(snapshot) or "-",
    )


def _rest(snapshot: SnapshotInfo) -> tuple[str, ...]:
    return (
        snapshot.owner_id,
        snapshot.kms_key_arn or ("yes" if snapshot.encrypted else "no"),
        full_size_in_words(snapshot),
        snapshot.storage_tier or "-",
        snapshot.state_message or "-",
    )
