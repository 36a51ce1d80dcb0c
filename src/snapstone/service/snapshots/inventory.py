"""The catalog's rows compared with the object store's manifests: which of the two lacks what the other has.

A row comes before its manifest and goes after it. So a manifest without a row means that the catalog has lost it: it is
an older copy, or another catalog. A completed snapshot without a manifest can be read, and its manifest written again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from snapstone.catalog.contract.inventory import InventoryCatalog
from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError
from snapstone.core.ids import SnapshotId
from snapstone.core.manifest import Manifest, decode_manifest, manifest_address
from snapstone.service.engine import Engine
from snapstone.service.health import SUBJECT, report_catalog_damage
from snapstone.service.manifests import tell_missing
from snapstone.storage.contract import ObjectKind

log = logging.getLogger(__name__)

SLICE_SIZE: Final = 100_000
"""Snapshots that are compared at once, 20 MB of memory: of more, one part after the other, by address."""


class Manifests(Protocol):
    """The part of an object store that knows which manifests there are."""

    def manifests(self) -> Iterator[Address]:
        """The address of every manifest."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Snapshots with only a row or only a manifest, at one moment: on a running server either may be in progress."""

    rowless: tuple[Address, ...]
    """Manifests of snapshots that the catalog does not know."""
    missing: tuple[SnapshotId, ...]
    """Completed snapshots that have no manifest."""


def compare(catalog: InventoryCatalog, store: Manifests) -> Comparison:
    """Compare all rows with all manifests by address: only the store's index is read."""
    rowless: list[Address] = []
    missing: list[SnapshotId] = []
    slice_count = 1 + sum(1 for _ in catalog.snapshot_ids()) // SLICE_SIZE
    for part in range(slice_count):
        rows = {}
        for snapshot_id, state in catalog.snapshot_ids():
            address = manifest_address(snapshot_id)
            if _slice_of(address, slice_count) == part:
                rows[address] = (snapshot_id, state)
        for address in store.manifests():
            is_mine = _slice_of(address, slice_count) == part
            rowless += [address] if is_mine and rows.pop(address, None) is None else []
        missing += [snapshot_id for snapshot_id, state in rows.values() if state is SnapshotState.COMPLETED]
    return Comparison(tuple(rowless), tuple(missing))


def lost_snapshots(engine: Engine, comparison: Comparison) -> Iterator[Manifest]:
    """The manifests that have no row, but for those that cannot be read, and those that went or came just now."""
    for address in comparison.rowless:
        try:
            manifest = decode_manifest(engine.objects.get(ObjectKind.MANIFEST, address))
        except DamageError:
            continue
        if _is_rowless(engine, manifest.snapshot_id) and engine.objects.has(address):
            yield manifest


def without_manifest(engine: Engine, comparison: Comparison) -> Iterator[SnapshotId]:
    """The completed snapshots that have no manifest, or none that can be read, but for those deleted just now."""
    for snapshot_id in comparison.missing:
        if engine.objects.has(manifest_address(snapshot_id)):
            continue
        try:
            snapshot = engine.catalog.snapshot(snapshot_id)
        except DamageError:
            continue  # its row is damaged: that is another problem
        if snapshot is not None and snapshot.state is SnapshotState.COMPLETED:
            yield snapshot_id


def tell_comparison(engine: Engine) -> None:
    """Compare, and tell what is missing in the log and by `/ready`."""
    comparison = compare(engine.catalog, engine.objects)
    missing = list(without_manifest(engine, comparison))
    if missing:
        log.error("completed snapshots without a manifest", extra={"fields": {"count": len(missing)}})
        engine.manifests.add_missing(missing)
        tell_missing(engine)
    lost = [manifest.snapshot_id for manifest in lost_snapshots(engine, comparison)]
    if lost:
        log.error("manifests without a row", extra={"fields": {"count": len(lost), "first": lost[0]}})
        engine.health.report(
            SUBJECT,
            f"the catalog has lost {len(lost)} snapshots whose manifests exist, including {lost[0]}: `snapstone "
            "check --repair` restores their rows",
        )


def tell_structure(engine: Engine) -> None:
    """Look at the catalog's file, and tell what is wrong with it: an index that lacks a row hides it from lists."""
    problems = list(engine.catalog.structure())
    if problems:
        report_catalog_damage(
            engine,
            DamageError("catalog.db", f"the catalog's file is damaged, and lists may be incomplete: {problems[0]}"),
        )


def _is_rowless(engine: Engine, snapshot_id: SnapshotId) -> bool:
    try:
        return engine.catalog.snapshot(snapshot_id) is None
    except DamageError:
        return False


def _slice_of(address: Address, slice_count: int) -> int:
    return int.from_bytes(address[:4], "big") % slice_count
