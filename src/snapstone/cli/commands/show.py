"""`snapstone show`: details of snapshots, as text or JSON."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from snapstone.cli.failures import each
from snapstone.cli.outcome import Exit
from snapstone.cli.quantities import binary
from snapstone.cli.remote import add_command, endpoint_options, open_service
from snapstone.cli.reporting import report_options, reporting
from snapstone.cli.snapshot_arguments import snapshot_argument
from snapstone.cli.tables import print_facts

if TYPE_CHECKING:
    from snapstone.client.api.service import Service
    from snapstone.client.api.values import SnapshotInfo

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def facts_of(snapshot: SnapshotInfo) -> dict[str, object]:
    """The snapshot's fields as JSON values."""
    return {
        "snapshot_id": snapshot.snapshot_id,
        "state": snapshot.state,
        "progress": snapshot.progress,
        "volume_size_gib": snapshot.volume_size_gib,
        "started_at": iso(snapshot.started_at),
        "description": snapshot.description,
        "tags": dict(snapshot.tags),
        "encrypted": snapshot.encrypted,
        "kms_key_arn": snapshot.kms_key_arn,
        "owner_id": snapshot.owner_id,
        "state_message": snapshot.state_message,
        "full_size_bytes": snapshot.full_size,
        "storage_tier": snapshot.storage_tier,
    }


def iso(moment: datetime) -> str:
    """A moment in UTC, by ISO 8601."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tags_in_words(snapshot: SnapshotInfo) -> str:
    """`Name=web role=db`, by name."""
    return " ".join(f"{name}={value}" for name, value in sorted(snapshot.tags.items()))


def full_size_in_words(snapshot: SnapshotInfo) -> str:
    """Bytes of the blocks that are present; `-` if the endpoint does not report it."""
    return "-" if snapshot.full_size is None else binary(snapshot.full_size)


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(subparsers, "show", "show the details of snapshots", run)
    snapshot_argument(parser, "snapshots", "snapshots to show", many=True)
    parser.add_argument(
        "--blocks", action="store_true", help="also count the present blocks of completed snapshots (lists them)"
    )
    endpoint_options(parser)
    report_options(parser)


def run(options: argparse.Namespace) -> Exit:
    """Show them; report those that are not found."""
    from snapstone.core.blocks import BLOCK_SIZE, BLOCKS_PER_GIB

    with reporting(options) as reporter, open_service(options, reporter) as service:
        shown: list[str] = []

        def show(snapshot_id: str) -> None:
            snapshot = described(service, snapshot_id)
            facts = facts_of(snapshot)
            words = _words(snapshot)
            if options.blocks and snapshot.state == "completed":
                present = sum(len(page.blocks) for page in service.block_pages(snapshot_id))
                whole = snapshot.volume_size_gib * BLOCKS_PER_GIB
                facts |= {"present_count": present, "present_bytes": present * BLOCK_SIZE}
                words.append(("Blocks", f"{present:,} of {whole:,} present ({binary(present * BLOCK_SIZE)})"))
            if options.json:
                reporter.result("", facts)
                return
            if shown:
                print()
            print_facts(words)
            shown.append(snapshot_id)

        return each(options, options.snapshots, show)


def described(service: Service, snapshot_id: str) -> SnapshotInfo:
    """One snapshot as EC2 describes it. Raises NotFoundError, also if EC2 omits the snapshot because it is hidden."""
    from snapstone.client.errors import NotFoundError

    for snapshot in service.describe([snapshot_id]):
        return snapshot
    raise NotFoundError(
        f"{snapshot_id} does not exist or is not visible to you; check the ID, the region and the account"
    )


def _words(snapshot: SnapshotInfo) -> list[tuple[str, str]]:
    words = [
        ("Snapshot", snapshot.snapshot_id),
        ("State", snapshot.state + (f": {snapshot.state_message}" if snapshot.state_message else "")),
        ("Progress", snapshot.progress or "-"),
        ("Volume size", f"{snapshot.volume_size_gib} GiB"),
        ("Full size", full_size_in_words(snapshot)),
        ("Started", iso(snapshot.started_at)),
        ("Description", snapshot.description or "-"),
        ("Owner", snapshot.owner_id),
        ("Encrypted", (snapshot.kms_key_arn or "yes") if snapshot.encrypted else "no"),
        ("Tier", snapshot.storage_tier or "-"),
    ]
    tags = [f"{name}={value}" for name, value in sorted(snapshot.tags.items())] or ["-"]
    return words + [("Tag", tag) for tag in tags]
