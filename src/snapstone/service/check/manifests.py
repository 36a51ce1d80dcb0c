"""Rows and manifests held against each other, one by one, and what one of them can be made again from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from snapstone.catalog.contract.identities import Account
from snapstone.catalog.contract.snapshots import Snapshot, SnapshotState
from snapstone.core.errors import DamageError
from snapstone.core.manifest import Manifest, decode_manifest, manifest_address
from snapstone.service.check.problems import CheckProblem, of_one
from snapstone.service.engine import Engine
from snapstone.service.manifests import difference
from snapstone.service.sealing import manifest_of
from snapstone.service.snapshots.inventory import compare, lost_snapshots
from snapstone.storage.contract import ObjectKind

TIMEOUT_MINUTES: Final = 60
"""Of a row that is made again: it was the default, and counts for pending snapshots alone."""

REWRITE: Final = "--repair rewrites it from the row"


def check_manifest(engine: Engine, snapshot: Snapshot, *, repair: bool) -> Iterator[CheckProblem]:
    """Hold the row of a completed snapshot against its manifest; writes that again if it cannot be read."""
    address = manifest_address(snapshot.snapshot_id)
    where = f"manifest of {snapshot.snapshot_id}"
    try:
        manifest = decode_manifest(engine.objects.get(ObjectKind.MANIFEST, address))
    except DamageError as error:
        if not _is_completed(engine, snapshot):
            return
        if repair:
            engine.objects.put_many(ObjectKind.MANIFEST, [manifest_of(snapshot, snapshot.root, snapshot.block_count)])
        yield CheckProblem(where, f"it cannot be read: {error.what}", REWRITE, of_one(snapshot.snapshot_id), repair)
        return
    found = difference(snapshot, manifest)
    if found is not None:
        remedy = "one of the two is wrong; restore the catalog or the segment files from a backup"
        yield CheckProblem(f"snapshot {snapshot.snapshot_id}", found, remedy, of_one(snapshot.snapshot_id))


def check_rows(engine: Engine, *, repair: bool) -> Iterator[CheckProblem]:
    """Look for manifests whose snapshots the catalog does not know; brings their rows back where it has their keys."""
    for manifest in lost_snapshots(engine, compare(engine.catalog, engine.objects)):
        where = f"snapshot {manifest.snapshot_id}"
        affected = of_one(manifest.snapshot_id)
        what = f"account {manifest.account_id} has a manifest but no row"
        if manifest.data_key_id is not None and engine.catalog.data_key(manifest.data_key_id) is None:
            remedy = "the catalog has lost its key too; restore the catalog from a backup"
            yield CheckProblem(where, what, remedy, affected)
            continue
        remedy = "--repair restores the row from the manifest, without later changes of tags, sharing and tier"
        yield CheckProblem(where, what, remedy, affected, repair and _bring_back(engine, manifest))


def _bring_back(engine: Engine, manifest: Manifest) -> bool:
    if engine.catalog.account(manifest.account_id) is None:
        engine.catalog.insert_account(Account(manifest.account_id, "", engine.now_ms()))
    return engine.catalog.restore_snapshot(
        Snapshot(
            snapshot_id=manifest.snapshot_id,
            account_id=manifest.account_id,
            region=manifest.region,
            volume_size_gib=manifest.volume_size_gib,
            parent_id=manifest.parent_id,
            lineage_id=manifest.lineage_id,
            description=manifest.description,
            tags=manifest.tags,
            state=SnapshotState.COMPLETED,
            state_message=None,
            started_at_ms=manifest.started_at_ms,
            completed_at_ms=manifest.sealed_at_ms,
            timeout_minutes=TIMEOUT_MINUTES,
            deadline_at_ms=manifest.started_at_ms + TIMEOUT_MINUTES * 60_000,
            progress=0,
            root=manifest.root,
            block_count=manifest.block_count,
            expected_count=None,
            expected_checksum=None,
            seal_begun_at_ms=manifest.sealed_at_ms,
            kms_key_arn=manifest.kms_key_arn,
            data_key_id=manifest.data_key_id,
        )
    )


def _is_completed(engine: Engine, snapshot: Snapshot) -> bool:
    """Whether it still is: a deletion may have begun just now."""
    now = engine.catalog.snapshot(snapshot.snapshot_id)
    return now is not None and now.state is SnapshotState.COMPLETED
