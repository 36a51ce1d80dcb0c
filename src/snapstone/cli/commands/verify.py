"""`snapstone verify`: a snapshot against its own checksums, or a local image against a snapshot."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from snapstone.cli import quantities
from snapstone.cli.outcome import Exit
from snapstone.cli.remote import add_command, endpoint_options, open_service, transfer_options
from snapstone.cli.reporting import report_options, reporting
from snapstone.cli.snapshot_arguments import snapshot_argument
from snapstone.core.blocks import BLOCK_SIZE

if TYPE_CHECKING:
    from snapstone.cli.reporting import Reporter
    from snapstone.client.api.service import Service
    from snapstone.client.transfer.verify import VerifyResult

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


_DESCRIPTION: Final = """\
Read every block of a snapshot and verify its checksum; with IMAGE, also compare the image with the blocks.

Prints each block that differs: its offset, what is wrong with it, and what the endpoint answered. Exits with code 6 if
there is one.
"""


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(subparsers, "verify", "verify a snapshot, or an image against one", run, _DESCRIPTION)
    snapshot_argument(parser, "snapshot", "snapshot to read")
    parser.add_argument("image", metavar="IMAGE", nargs="?", help="file, block device, or - for standard input")
    parser.add_argument(
        "--sample", metavar="PERCENT", type=percentage, help="check this percentage of the blocks, chosen at random"
    )
    parser.add_argument(
        "--format", metavar="FORMAT", help="format of the image: raw, qcow2, vmdk, ... (default: auto-detect)"
    )
    parser.add_argument("--size", metavar="SIZE", type=quantities.size, help="size of a stream")
    endpoint_options(parser)
    transfer_options(parser)
    report_options(parser)


def percentage(text: str) -> float:
    """More than 0, and 100 at most; a `type` of argparse."""
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = 0.0
    if not 0 < number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage (more than 0, at most 100)")
    return number


def run(options: argparse.Namespace) -> Exit:
    """Verify; prints what is wrong."""
    with reporting(options) as reporter, open_service(options, reporter) as service:
        verified = _verified(options, service, reporter)
        reporter.result(_text(options, verified), {**asdict(verified), "passed": verified.passed})
    return Exit.DONE if verified.passed else Exit.DAMAGED


def _verified(options: argparse.Namespace, service: Service, reporter: Reporter) -> VerifyResult:
    from snapstone.client.transfer.verify import verify_image, verify_snapshot

    if options.image is None:
        return verify_snapshot(service, options.snapshot, sample_percent=options.sample, observer=reporter)
    from snapstone.client.images.sources import open_source

    source = open_source(options.image, format=options.format, size=options.size)
    try:
        return verify_image(service, options.snapshot, source, sample_percent=options.sample, observer=reporter)
    finally:
        source.close()


def _differing(count: int) -> str:
    return "1 differs" if count == 1 else f"{count:,} differ"


def _text(options: argparse.Namespace, verified: VerifyResult) -> str:
    """A line for each finding, and a summary."""
    lines = [
        "\t".join(filter(None, (str(finding.block_index * BLOCK_SIZE), finding.verdict, finding.message)))
        for finding in verified.findings
    ]
    if verified.finding_count > len(lines):
        lines.append(f"... and {verified.finding_count - len(lines):,} more")
    checked = quantities.counted(verified.checked_count, "block")
    if options.sample is not None:
        checked = f"{verified.checked_count:,} of {verified.listed_count:,} blocks (a sample of {options.sample:g} %)"
    outcome = "all match" if verified.passed else _differing(verified.finding_count)
    lines.append(f"{options.snapshot}: {checked} checked, {outcome}")
    return "\n".join(lines)
