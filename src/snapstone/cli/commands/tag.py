"""`snapstone tag`: add or remove tags of a snapshot."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from snapstone.cli.outcome import CommandError, Exit
from snapstone.cli.remote import add_command, endpoint_options, open_service
from snapstone.cli.reporting import report_options, reporting
from snapstone.cli.snapshot_arguments import snapshot_argument, tag, tag_key

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(subparsers, "tag", "add tags to a snapshot, or remove them", run)
    snapshot_argument(parser, "snapshot", "snapshot to tag")
    parser.add_argument(
        "tags", metavar="KEY=VALUE", type=tag, nargs="*", help="tags to add; replaces the value of an existing one"
    )
    parser.add_argument(
        "--remove", metavar="KEY", type=tag_key, action="append", default=[], help="tag to remove, if present"
    )
    endpoint_options(parser)
    report_options(parser)


def run(options: argparse.Namespace) -> Exit:
    """Set tags, then remove tags."""
    tags = dict(options.tags)
    if not tags and not options.remove:
        raise CommandError("nothing to do; give KEY=VALUE or --remove KEY", Exit.USAGE)
    if both := sorted(tags.keys() & set(options.remove)):
        raise CommandError(f"{both[0]!r} is both added and removed; give it once", Exit.USAGE)
    with reporting(options) as reporter, open_service(options, reporter) as service:
        if tags:
            service.tag(options.snapshot, tags)
        if options.remove:
            service.untag(options.snapshot, list(dict.fromkeys(options.remove)))
        reporter.result("", {"snapshot_id": options.snapshot, "tagged": tags, "removed": options.remove})
    return Exit.DONE
