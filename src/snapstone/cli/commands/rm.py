"""`snapstone rm`: delete snapshots."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from snapstone.cli.failures import each
from snapstone.cli.outcome import Exit, say
from snapstone.cli.remote import add_command, endpoint_options, open_service
from snapstone.cli.reporting import report_options, reporting
from snapstone.cli.snapshot_arguments import snapshot_argument

if TYPE_CHECKING:
    from collections.abc import Sequence

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

MOST_NAMED: Final = 5
"""How many ids the question lists."""


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(subparsers, "rm", "delete snapshots; asks for confirmation on a terminal", run)
    snapshot_argument(parser, "snapshots", "snapshots to delete; may be pending", many=True)
    parser.add_argument("--force", action="store_true", help="do not ask for confirmation")
    parser.add_argument("--dry-run", action="store_true", help="only check permissions; delete nothing")
    endpoint_options(parser)
    report_options(parser)


def run(options: argparse.Namespace) -> Exit:
    """Delete them; one failure does not stop the rest."""
    if not (options.force or options.dry_run) and sys.stdin.isatty() and not _agreed(options.snapshots):
        return say(options, "nothing was deleted", Exit.FAILED)
    done, kind = ("would be deleted", "permitted") if options.dry_run else ("deleted", "deleted")
    with reporting(options) as reporter, open_service(options, reporter) as service:

        def delete(snapshot_id: str) -> None:
            service.delete_snapshot(snapshot_id, dry_run=options.dry_run)
            if options.json:
                reporter.result("", {"snapshot_id": snapshot_id, kind: True})
            else:
                reporter.say(kind, f"{snapshot_id} {done}", {})

        return each(options, options.snapshots, delete)


def _agreed(snapshot_ids: Sequence[str]) -> bool:
    """Ask on standard error; anything but yes means no."""
    named = ", ".join(snapshot_ids[:MOST_NAMED])
    more = len(snapshot_ids) - MOST_NAMED
    sys.stderr.write(f"Delete {named}{f' and {more} more' if more > 0 else ''}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
