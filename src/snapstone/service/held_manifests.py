"""What one process has found out about manifests: which rows are as theirs say, and which are missing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Final

from snapstone.catalog.rows import Snapshot
from snapstone.core.ids import SnapshotId
from snapstone.core.manifest import Manifest

HELD_LIMIT: Final = 4_096
"""Snapshots that one process remembers having held against their manifests: the one used longest ago goes first."""

MISSING_LIMIT: Final = 10_000
"""Snapshots without a readable manifest that one process remembers."""

FACTS: Final = (
    "snapshot_id", "account_id", "region", "volume_size_gib", "parent_id", "lineage_id", "root", "block_count",
    "kms_key_arn", "data_key_id",
)  # fmt: skip
"""What a row and its manifest have in common and what never changes: all but the description, the tags and times."""

Facts = tuple[object, ...]


class HeldManifests:
    """What one process has found out about manifests. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: OrderedDict[SnapshotId, Facts] = OrderedDict()
        self._missing: dict[SnapshotId, None] = {}

    def is_held(self, snapshot: Snapshot) -> bool:
        """Whether this very row has been held against its manifest."""
        return self._held.get(snapshot.snapshot_id) == facts_of(snapshot)

    def keep(self, snapshot: Snapshot) -> None:
        """The row has been held against its manifest, or has none."""
        with self._lock:
            self._held[snapshot.snapshot_id] = facts_of(snapshot)
            if len(self._held) > HELD_LIMIT:
                self._held.popitem(last=False)

    def add_missing(self, snapshot_ids: Iterable[SnapshotId]) -> None:
        """Completed snapshots whose manifests cannot be read."""
        with self._lock:
            for snapshot_id in snapshot_ids:
                if len(self._missing) < MISSING_LIMIT:
                    self._missing[snapshot_id] = None

    def drop_missing(self, is_over: Callable[[SnapshotId], bool]) -> None:
        """Forget those of which that is not true any more."""
        over = [snapshot_id for snapshot_id in self.missing if is_over(snapshot_id)]
        with self._lock:
            for snapshot_id in over:
                self._missing.pop(snapshot_id, None)

    @property
    def missing(self) -> list[SnapshotId]:
        """Completed snapshots whose manifests cannot be read, as far as this process knows."""
        with self._lock:
            return list(self._missing)


def facts_of(thing: Snapshot | Manifest) -> Facts:
    """What of a row, or of a manifest, must be the same in the other."""
    return tuple(getattr(thing, name) for name in FACTS)
