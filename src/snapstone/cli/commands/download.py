"""`snapstone download`: write a snapshot to a file, device or stream."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from snapstone.cli import quantities
from snapstone.cli.outcome import CommandError, Exit
from snapstone.cli.remote import add_command, endpoint_options, open_service, transfer_options
from snapstone.cli.reporting import report_options, reporting
from snapstone.cli.snapshot_arguments import snapshot_argument

if TYPE_CHECKING:
    from snapstone.cli.reporting import Reporter
    from snapstone.client.transfer.download import DownloadResult

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

STANDARD_OUTPUT: Final = "-"

_DESCRIPTION: Final = """\
Download a snapshot into a file, a block device, or - for standard output.

A file is written under a temporary name and renamed when it is complete; absent blocks become holes. With --from, the
target already holds that earlier snapshot, and only the changes are written. To resume an interrupted download, run the
same command again.
"""


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers, "download", "write a snapshot to a file, a device or standard output", run, _DESCRIPTION
    )
    snapshot_argument(parser, "snapshot", "snapshot to download")
    parser.add_argument("target", metavar="FILE", help="file, block device, or - for standard output")
    snapshot_argument(parser, "--from", "snapshot that FILE holds now; only what changed since is written")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file or device")
    parser.add_argument(
        "--size",
        metavar="SIZE",
        type=quantities.size,
        help="size of the image (default: as uploaded, else the volume's)",
    )
    parser.add_argument("--format", metavar="FORMAT", help="raw, qcow2, vmdk, ... (default: raw)")
    parser.add_argument("--no-resume", action="store_true", help="start over instead of resuming")
    parser.add_argument("--dry-run", action="store_true", help="show what would be written; write nothing")
    endpoint_options(parser)
    transfer_options(parser)
    report_options(parser)


def run(options: argparse.Namespace) -> Exit:
    """Download; prints nothing, or a summary with --json."""
    to_stream = options.target == STANDARD_OUTPUT
    if to_stream and sys.stdout.isatty() and not options.force:
        raise CommandError("standard output is a terminal; redirect it to a file or a pipe, or use --force", Exit.USAGE)
    # Signals have their meaning from here on: the heavy imports come after.
    with reporting(options) as reporter:
        downloaded = _download(options, reporter)
        if options.dry_run:
            words = f"{quantities.counted(downloaded.received_count, 'block')} would be received"
            reporter.say("dry-run", words, {"received_count": downloaded.received_count})
        if to_stream:
            reporter.result_aside(asdict(downloaded))
        else:
            reporter.result("", asdict(downloaded))
    return Exit.DONE


def _download(options: argparse.Namespace, reporter: Reporter) -> DownloadResult:
    from snapstone.client.transfer.download import DownloadOptions, download

    asked = DownloadOptions(
        from_snapshot_id=vars(options)["from"],
        size=options.size,
        force=options.force,
        format=options.format,
        resume=not options.no_resume,
        dry_run=options.dry_run,
    )
    with open_service(options, reporter) as service:
        return download(service, options.snapshot, options.target, asked, observer=reporter)
