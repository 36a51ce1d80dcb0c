"""`snapstone cat`: write a range of a snapshot's bytes, without downloading the rest."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from snapstone.cli import quantities
from snapstone.cli.outcome import CommandError, Exit
from snapstone.cli.remote import add_command, endpoint_options, open_service
from snapstone.cli.reporting import report_options, reporting
from snapstone.cli.snapshot_arguments import snapshot_argument

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

PIECE_SIZE: Final = 4 * 1024**2
"""Bytes read and written at a time."""


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(subparsers, "cat", "write a range of a snapshot's bytes to standard output", run)
    snapshot_argument(parser, "snapshot", "snapshot to read")
    parser.add_argument(
        "--offset", metavar="SIZE", type=quantities.size, default=0, help="first byte, e.g. 1MiB (default: 0)"
    )
    parser.add_argument(
        "--length", metavar="SIZE", type=quantities.size, help="number of bytes (default: to the end of the volume)"
    )
    parser.add_argument("--force", action="store_true", help="write even to a terminal")
    endpoint_options(parser)
    report_options(parser)


def run(options: argparse.Namespace) -> Exit:
    """Write them in order."""
    if sys.stdout.isatty() and not options.force:
        raise CommandError("standard output is a terminal; redirect it to a file or a pipe, or use --force", Exit.USAGE)
    from snapstone.client.library.reader import SnapshotReader

    with (
        reporting(options) as reporter,
        open_service(options, reporter) as service,
        SnapshotReader(service, options.snapshot) as reader,
    ):
        end = _end(options, reader.size)
        for offset in range(options.offset, end, PIECE_SIZE):
            sys.stdout.buffer.write(reader.pread(offset, min(PIECE_SIZE, end - offset)))
        sys.stdout.buffer.flush()
    return Exit.DONE


def _end(options: argparse.Namespace, size: int) -> int:
    """The end of the range; a range beyond the end of the volume is an error, not truncated."""
    end: int = size if options.length is None else options.offset + options.length
    if max(options.offset, end) > size:
        whole = f"{options.snapshot} has {size} bytes"
        raise CommandError(f"--offset and --length reach byte {max(options.offset, end)}, but {whole}", Exit.USAGE)
    return end
