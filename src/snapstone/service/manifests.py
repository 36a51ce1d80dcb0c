"""Rows of completed snapshots held against their manifests: the two were written apart, and must say the same.

A row is held against its manifest when a process first uses its map, and for each row whose facts have changed since.
Reading one block needs no row's root: its token names the address. If the manifest cannot be read the row stands by its
own checksum, and that is told until the manifest has been written again (`snapstone check --repair`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from snapstone.catalog.contract.snapshots import Snapshot, SnapshotState
from snapstone.core.block_map import EMPTY_ROOT
from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError
from snapstone.core.ids import SnapshotId
from snapstone.core.manifest import Manifest, decode_manifest, manifest_address
from snapstone.service.engine import FACTS, MISSING_LIMIT, Caller, Engine, facts_of
from snapstone.service.health import row_damage
from snapstone.storage.contract import ObjectKind

SUBJECT: Final = "manifests"
"""Under which `/ready` tells of completed snapshots without a readable manifest."""


def difference(snapshot: Snapshot, manifest: Manifest) -> str | None:
    """The first fact in which a row and its manifest differ, in words; None if there is none."""
    for name, of_row, of_manifest in zip(FACTS, facts_of(snapshot), facts_of(manifest), strict=True):
        if name == "kms_key_arn" and manifest.data_key_id is None:
            continue  # manifests of the first version hold no key
        if of_row != of_manifest:
            return f"its {name} is {_shown(of_row)}, and {_shown(of_manifest)} in its manifest"
    return None


def hold_against_manifest(engine: Engine, snapshot: Snapshot) -> None:
    """To be called before a completed snapshot's root is used. Raises DamageError if row and manifest differ."""
    if engine.manifests.is_held(snapshot):
        return
    manifest = read_manifest(engine, snapshot.snapshot_id)
    found = None if manifest is None else difference(snapshot, manifest)
    if found is not None:
        raise row_damage(engine, f"snapshot {snapshot.snapshot_id}", found)
    engine.manifests.keep(snapshot)
    if manifest is None:
        engine.manifests.add_missing([snapshot.snapshot_id])
        tell_missing(engine)


def read_manifest(engine: Engine, snapshot_id: SnapshotId) -> Manifest | None:
    """The manifest of a snapshot, or None if it is missing or damaged, which the damage log has then."""
    try:
        return decode_manifest(engine.objects.get(ObjectKind.MANIFEST, manifest_address(snapshot_id)))
    except DamageError as error:
        engine.damage.report(manifest_address(snapshot_id), f"manifest of {snapshot_id}", error.what)
        return None


def require_no_manifest(engine: Engine, caller: Caller, snapshot_id: str) -> None:
    """To be called where a look-up found nothing. Raises DamageError if the caller's manifest is there without its row.

    A row comes before its manifest and goes after it. Whose snapshot it was is told to nobody else.
    """
    if not snapshot_id.isascii() or engine.catalog.remembered_snapshot(SnapshotId(snapshot_id)) is not None:
        return
    if not engine.objects.has(manifest_address(SnapshotId(snapshot_id))):
        return
    manifest = read_manifest(engine, SnapshotId(snapshot_id))
    if manifest is not None and (manifest.account_id, manifest.region) == (caller.account_id, caller.region):
        raise row_damage(engine, f"snapshot {snapshot_id}", "it is missing, and its manifest is there")


@contextmanager
def seal_guard(engine: Engine, snapshot: Snapshot) -> Iterator[None]:
    """Around the work on a sealing snapshot's map: its base is held first, and a data key that it misses is damage."""
    _hold_base(engine, snapshot)
    with engine.keys.under(snapshot.kms_key_arn):
        yield


def hold_copy_source(engine: Engine, copy: Snapshot, source_root: Address) -> None:
    """As `hold_against_manifest`, for the map that a copy was asked to copy, as long as its source is there."""
    source = None if copy.copied_from is None else engine.catalog.snapshot(copy.copied_from)
    if source is None or source.state is not SnapshotState.COMPLETED:
        return
    hold_against_manifest(engine, source)
    if source.root != source_root:
        raise row_damage(engine, f"snapshot_copy {copy.snapshot_id}", f"it does not copy the map of {copy.copied_from}")


def tell_missing(engine: Engine) -> None:
    """Tell by `/ready` how many completed snapshots have no readable manifest."""
    missing = engine.manifests.missing
    if not missing:
        engine.health.clear(SUBJECT)
        return
    count = f"{len(missing)}{' or more' if len(missing) == MISSING_LIMIT else ''}"
    engine.health.report(
        SUBJECT,
        f"completed snapshots without a readable manifest: {count}, {missing[0]} among them. They can be read, but are "
        "lost if the catalog is: `snapstone check --repair` rewrites their manifests",
    )


def look_again_for_missing(engine: Engine) -> None:
    """Forget those whose manifests have been written again, or that have been deleted."""

    def is_over(snapshot_id: SnapshotId) -> bool:
        if engine.objects.has(manifest_address(snapshot_id)):
            return True
        snapshot = engine.catalog.snapshot(snapshot_id)
        return snapshot is None or snapshot.state is not SnapshotState.COMPLETED

    if engine.manifests.missing:
        engine.manifests.drop_missing(is_over)
        tell_missing(engine)


def _hold_base(engine: Engine, snapshot: Snapshot) -> None:
    """Hold the map that a sealing snapshot builds on against the one of its parent, or of a copy's source.

    Where that has been deleted meanwhile, the row stands by its own checksum.
    """
    if snapshot.parent_id is None and (snapshot.copied_from is None or snapshot.root == EMPTY_ROOT):
        if snapshot.root != EMPTY_ROOT or snapshot.block_count:
            raise row_damage(engine, f"snapshot {snapshot.snapshot_id}", "it has no parent, but builds on blocks")
        return
    base_id = snapshot.parent_id or snapshot.copied_from
    base = None if base_id is None else engine.catalog.snapshot(base_id)
    if base is None or base.state is not SnapshotState.COMPLETED:
        return
    hold_against_manifest(engine, base)
    if (base.root, base.block_count) != (snapshot.root, snapshot.block_count):
        raise row_damage(engine, f"snapshot {snapshot.snapshot_id}", f"it does not build on the map of {base_id}")


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
