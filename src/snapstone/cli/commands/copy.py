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
Copy a snapshot to another account, region or endpoint. Prints the new snapshot's ID.

--profile, --endpoint-url and --region select the source; --to-profile, --to-endpoint-url and --to-region select the
target. AWS's environment variables and files are the defaults for both sides. Unset AWS_ENDPOINT_URL if it is set: it
takes precedence over the endpoint of either profile.

If the target has a copy of an earlier snapshot of the same lineage (or the source a copy of one of the target's), only
what changed since is transferred, after a few blocks have been compared as a check. To resume an interrupted copy, run
the same command again.
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
        help="snapshot on the target to build on (default: auto-detect)",
    )
    parent.add_argument("--full", action="store_true", help="do not build on a snapshot: transfer everything")
    source_parent = parser.add_argument(
        "--source-parent",
        metavar="SNAP",
        type=snapshot_id,
        help="source snapshot that --parent is a copy of, if its tag does not say so",
    )
    vars(source_parent)["completer"] = complete
    parser.add_argument("--description", metavar="TEXT", help="description of the copy (default: the source's)")
    parser.add_argument(
        "--tag",
        metavar="KEY=VALUE",
        type=tag,
        action="append",
        default=[],
        help="tag of the copy; overrides the source's",
    )
    parser.add_argument("--no-tags", action="store_true", help="do not copy the source's tags")
    parser.add_argument(
        "--encrypted", action="store_const", const=True, help="encrypt with the target's default KMS key"
    )
    parser.add_argument("--kms-key", metavar="ARN", help="encrypt with this KMS key of the target")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until the copy is completed")
    parser.add_argument("--keep-failed", action="store_true", help="keep the pending snapshot if the copy fails")
    parser.add_argument("--no-resume", action="store_true", help="start over instead of resuming")
    parser.add_argument("--dry-run", action="store_true", help="show what would be copied; copy nothing")
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
