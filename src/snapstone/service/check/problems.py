"""The findings of a check: a problem, the snapshots it affects, and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from snapstone.catalog.contract.snapshots import Snapshot, SnapshotState
from snapstone.core.errors import DamageError
from snapstone.service.engine import Engine

SHOWN_SNAPSHOTS: Final = 20
"""Affected snapshots that are named; the others are counted."""

Progress = Callable[[str], None]
"""Told now and then how far a check is."""


@dataclass(slots=True)
class Affected:
    """Snapshots that a problem affects: the first ones by id, all by number."""

    snapshot_ids: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, snapshot_id: str) -> None:
        self.count += 1
        if len(self.snapshot_ids) < SHOWN_SNAPSHOTS:
            self.snapshot_ids.append(snapshot_id)


def of_one(snapshot_id: str) -> Affected:
    """Only one snapshot is affected."""
    return Affected([snapshot_id], 1)


@dataclass(frozen=True, slots=True)
class CheckProblem:
    """One problem."""

    where: str
    """A file, or what in it: `snapshot snap-...`."""
    what: str
    remedy: str
    affected: Affected = field(default_factory=Affected)
    repaired: bool = False


@dataclass(slots=True)
class Counts:
    """What has been checked so far."""

    snapshots: int = 0
    pages: int = 0
    blocks: int = 0
    """References to blocks, each distinct page's once."""
    records: int = 0
    """Records whose every byte was read."""
    hidden: int = 0
    """Snapshots whose KMS key was destroyed: they are unreadable."""


_OVER: Final = (SnapshotState.ERROR, SnapshotState.DELETING)


def live_snapshots(engine: Engine) -> Iterator[Snapshot]:
    """Every snapshot that somebody can read, write or restore. Rows that are damaged are left to `integrity`."""
    for snapshot_id, state in engine.catalog.snapshot_ids():
        if state in _OVER:
            continue
        try:
            snapshot = engine.catalog.snapshot(snapshot_id)
        except DamageError:
            continue
        if snapshot is not None and snapshot.state not in _OVER:
            yield snapshot
