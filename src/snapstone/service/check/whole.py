"""The whole check of an open installation, in the order in which what is found explains what comes behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError, KeyHiddenError
from snapstone.service.check.keys import FROM_BACKUP, check_keys
from snapstone.service.check.manifests import check_manifest, check_rows
from snapstone.service.check.problems import CheckProblem, Counts, Progress, live_snapshots, of_one
from snapstone.service.check.reachable import Reachable
from snapstone.service.engine import Engine
from snapstone.storage.contract import ObjectEntry, ObjectKind

UNREADABLE_LIMIT: Final = 1_000_000
"""Damaged records that are remembered, 100 MB of memory; past it, only the index knows of them."""

PROGRESS_STEP: Final = 256
"""Records, or snapshots, between two words about the progress."""


def check_all(
    engine: Engine, counts: Counts, progress: Progress, *, repair: bool, read_data: bool
) -> Iterator[CheckProblem]:
    """Everything that is wrong, as it is found. What moves on a running server is looked at twice before it is told."""
    progress("checking the catalog")
    for sentence in engine.catalog.integrity():
        yield CheckProblem("catalog.db", sentence, FROM_BACKUP)
    progress("opening keys")
    yield from check_keys(engine, repair=repair)
    progress("comparing rows and manifests")
    yield from check_rows(engine, repair=repair)
    unreadable = _read_everything(engine, counts, progress) if read_data else frozenset()
    reachable = Reachable(engine, counts, unreadable)
    for snapshot in live_snapshots(engine):
        if counts.snapshots % PROGRESS_STEP == 0:
            progress(f"{counts.snapshots} snapshots, {counts.pages} pages, {counts.blocks} blocks")
        counts.snapshots += 1
        if snapshot.state is SnapshotState.COMPLETED:
            yield from check_manifest(engine, snapshot, repair=repair)
        try:
            reachable.look_at(snapshot)
        except DamageError as error:
            yield CheckProblem(
                f"snapshot {snapshot.snapshot_id}",
                f"its keys cannot be opened: {error.what}",
                FROM_BACKUP,
                of_one(snapshot.snapshot_id),
            )
    yield from reachable.problems()


def _read_everything(engine: Engine, counts: Counts, progress: Progress) -> frozenset[Address]:
    """Read every record; returns those that are damaged.

    But for manifests: those that are needed are read with their snapshots, and one of a snapshot that is being deleted
    may be erased just now.
    """
    unreadable: set[Address] = set()
    for entry in engine.objects.walk():
        if counts.records % PROGRESS_STEP == 0:
            progress(f"{counts.records} records read")
        counts.records += 1
        if entry.kind is ObjectKind.MANIFEST:
            continue
        if not _is_readable(engine, entry) and len(unreadable) < UNREADABLE_LIMIT:
            unreadable.add(entry.address)
    return frozenset(unreadable)


def _is_readable(engine: Engine, entry: ObjectEntry) -> bool:
    """Whether a record is what was written; one whose key was destroyed counts as that, for nobody can tell."""
    if not engine.objects.has(entry.address):
        return False
    try:
        if entry.kind is ObjectKind.BLOCK:
            engine.objects.get_block(entry.address).release()
        else:
            engine.objects.get(entry.kind, entry.address)
    except KeyHiddenError:
        return True
    except DamageError:
        return False
    return True
