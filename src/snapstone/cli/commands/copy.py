"""`snapstone copy`: a snapshot to another account, region or endpoint."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from snapstone.cli.outcome import Exit
from snapstone.cli.remote import add_command, endpoint_options, open_service, transfer_options
from snapstone.cli.reporting import report_options, reporting
from snapstone.cli.snapshot_arguments import complete, snapshot_argument, snapshot_id, tag

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

TARGET_PREFIX: Final = "to-"

_DESCRIPTION: Final = """\
Copy a snapshot to another account, region or endpoint. Prints the new snapshot's id.

The source is read as --profile, --endpoint-url and --region say, the copy written as their --to-... siblings say.
What is not given, AWS's own variables and files say for both sides: unset AWS_ENDPOINT_URL if it is set, for it
goes before the endpoint of either profile.

Where the other side has a copy of an earlier snapshot of the same lineage (or this side a copy of one of the
other's), only what changed since is carried. A few blocks are compared before that is believed. What was interrupted
goes on where it ended when the same command is given again.
"""


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers, "copy", "copy a snapshot to another account, region or endpoint", run, _DESCRIPTION
    )
    snapshot_argument(parser, "snapshot", "snapshot to copy")
    parent = parser.add_mutually_exclusive_group()
    parent.add_argument(
        "--parent",
        metavar="SNAP",
        type=snapshot_id,
        help="snapshot on the other side to build on (default: looked for there)",
    )
    parent.add_argument("--full", action="store_true", help="build on none: carry everything")
    source_parent = parser.add_argument(
        "--source-parent",
        metavar="SNAP",
        type=snapshot_id,
        help="what the --parent is a copy of, where its tag does not say so",
    )
    vars(source_parent)["completer"] = complete
    parser.add_argument("--description", metavar="TEXT", help="description of the copy (default: the source's)")
    parser.add_argument(
        "--tag",
        metavar="KEY=VALUE",
        type=tag,
        action="append",
        default=[],
        help="tag of the copy, over the source's",
    )
    parser.add_argument("--no-tags", action="store_true", help="leave the source's tags behind")
    parser.add_argument("--encrypted", action="store_const", const=True, help="encrypt with the default KMS key there")
    parser.add_argument("--kms-key", metavar="ARN", help="encrypt with this KMS key of the other side")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until the copy is completed")
    parser.add_argument("--keep-failed", action="store_true", help="leave the pending snapshot where the copy fails")
    parser.add_argument("--no-resume", action="store_true", help="start anew where an earlier copy was interrupted")
    parser.add_argument("--dry-run", action="store_true", help="say what would be carried, and carry nothing")
    endpoint_options(parser)
    endpoint_options(parser, TARGET_PREFIX)
    transfer_options(parser)
    report_options(parser)


def run(options: argparse.Namespace) -> Exit:
    """Copy; prints the id."""
    from snapstone.client.transfer.copy import AUTO, CopyOptions, copy

    asked = CopyOptions(
        parent_id=None if options.full else options.parent or AUTO,
        source_parent_id=options.source_parent,
        description=options.description,
        tags=dict(options.tag),
        carry_tags=not options.no_tags,
        encrypted=options.encrypted,
        kms_key_arn=options.kms_key,
        wait=not options.no_wait,
        keep_failed=options.keep_failed,
        resume=not options.no_resume,
        dry_run=options.dry_run,
    )
    with (
        reporting(options) as reporter,
        open_service(options, reporter) as source,
        open_service(options, reporter, TARGET_PREFIX) as target,
    ):
        copied = copy(source, target, options.snapshot, asked, observer=reporter)
        reporter.result(copied.snapshot_id or "", {**asdict(copied), "sent_bytes": copied.sent_bytes})
    return Exit.DONE
