"""`snapstone upload`: a file, device or stream becomes a snapshot."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snapstone.cli import quantities
from snapstone.cli.outcome import Exit
from snapstone.cli.remote import add_command, endpoint_options, open_service, transfer_options
from snapstone.cli.reporting import report_options, reporting
from snapstone.cli.snapshot_arguments import snapshot_argument, tag

if TYPE_CHECKING:
    from snapstone.cli.reporting import Reporter
    from snapstone.client.transfer.upload import UploadResult

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

MAX_VOLUME_SIZE_GIB: Final = 65_536

_DESCRIPTION: Final = """\
Upload an image: a file, a block device, or - for standard input. Prints the new snapshot's ID.

Holes and zeros are not sent. With --parent, only what differs from that snapshot is sent. To resume an interrupted
upload, run the same command again.
"""


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers, "upload", "create a snapshot from a file, a device or standard input", run, _DESCRIPTION
    )
    parser.add_argument("image", metavar="IMAGE", help="file, block device, or - for standard input")
    snapshot_argument(parser, "--parent", "snapshot to build on; only what differs from it is sent")
    parser.add_argument(
        "--dirty",
        metavar="FILE",
        type=Path,
        help="ranges written since the parent was created; nothing else is read",
    )
    parser.add_argument(
        "--size", metavar="SIZE", type=quantities.size, help="size of standard input, which must be known in advance"
    )
    parser.add_argument("--format", metavar="FORMAT", help="raw, qcow2, vmdk, ... (default: auto-detect)")
    parser.add_argument("--description", metavar="TEXT", default="", help="description of the snapshot")
    parser.add_argument(
        "--tag", metavar="KEY=VALUE", type=tag, action="append", default=[], help="tag of the snapshot (repeatable)"
    )
    parser.add_argument("--encrypted", action="store_const", const=True, help="encrypt with the default KMS key")
    parser.add_argument("--kms-key", metavar="ARN", help="encrypt with this KMS key")
    parser.add_argument(
        "--volume-size",
        metavar="GIB",
        type=quantities.count(1, MAX_VOLUME_SIZE_GIB),
        help="size of the volume, if larger than the image",
    )
    parser.add_argument("--no-wait", action="store_true", help="do not wait until the snapshot is completed")
    parser.add_argument("--keep-failed", action="store_true", help="keep the pending snapshot if the upload fails")
    parser.add_argument("--no-resume", action="store_true", help="start over instead of resuming")
    parser.add_argument("--dry-run", action="store_true", help="show what would be sent; send nothing")
    endpoint_options(parser)
    transfer_options(parser)
    report_options(parser)


def run(options: argparse.Namespace) -> Exit:
    """Upload; prints the id."""
    # Handle signals first; the heavy imports follow.
    with reporting(options) as reporter:
        uploaded = _upload(options, reporter)
        if options.dry_run:
            blocks = quantities.counted(uploaded.sent_count, "block")
            words = f"{blocks} ({quantities.binary(uploaded.sent_bytes)}) would be sent"
            reporter.say("dry-run", words, {"sent_count": uploaded.sent_count})
        reporter.result(uploaded.snapshot_id or "", {**asdict(uploaded), "sent_bytes": uploaded.sent_bytes})
    return Exit.DONE


def _upload(options: argparse.Namespace, reporter: Reporter) -> UploadResult:
    from snapstone.client.transfer.upload import UploadOptions, upload

    asked = UploadOptions(
        parent_id=options.parent,
        dirty=options.dirty,
        size=options.size,
        format=options.format,
        description=options.description,
        tags=dict(options.tag),
        encrypted=options.encrypted,
        kms_key_arn=options.kms_key,
        volume_size_gib=options.volume_size,
        wait=not options.no_wait,
        keep_failed=options.keep_failed,
        resume=not options.no_resume,
        dry_run=options.dry_run,
    )
    with open_service(options, reporter) as service:
        return upload(service, options.image, asked, observer=reporter)
