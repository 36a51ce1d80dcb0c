"""Digest indexes: which digest every block of a completed snapshot has, so that a later upload reads no snapshot.

An index proves itself before it is believed: it is whole, it is that snapshot's, and count and aggregate of its entries
are those that were computed when it was kept. One that does not is removed, with a note.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from snapstone.client.errors import ClientError, NotFoundError, UsageError
from snapstone.client.events import Note, NullObserver, Observer
from snapstone.client.transfer.digests import DigestTable, DigestTableError
from snapstone.client.transfer.folders import remove_leftovers, state_failure
from snapstone.core.blocks import BLOCKS_PER_GIB, checksum_from_digest
from snapstone.system.files import sync_folder

MAX_INDEX_COUNT: Final = 64
"""Indexes that are kept; those whose last use is longest ago are removed first."""

MAX_INDEX_BYTES: Final = 8 * 2**30
"""Space on disk that all indexes may take; the newest is kept whatever it takes (at most 4 GiB, for a full 64 TiB)."""

_SUFFIX: Final = ".index"
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")


class IndexStore:
    """The folder of indexes, one file for each snapshot. Processes may share it."""

    def __init__(self, folder: Path, observer: Observer | None = None) -> None:
        self._folder = folder
        self._observer = observer or NullObserver()

    def find(self, snapshot_id: str, volume_size_gib: int) -> DigestTable | None:
        """The index of a snapshot, for reading; the caller closes it. Reads all of it, to see that it holds."""
        path = self._path(snapshot_id)
        try:
            table = DigestTable.open(path)
        except NotFoundError:
            return None
        except DigestTableError as error:
            self._distrust(path, str(error))
            return None
        except ClientError as error:
            self._observer.note(Note("warning", f"a digest index cannot be read and is ignored: {error}"))
            return None
        if wrong := _what_is_wrong(table, snapshot_id, volume_size_gib):
            table.close()
            self._distrust(path, f"{path} cannot be used: {wrong}")
            return None
        with suppress(OSError):
            os.utime(path)
        return table

    def keep(
        self, table: DigestTable, snapshot_id: str, volume_size_gib: int, facts: Mapping[str, object] | None = None
    ) -> None:
        """Make an index of a copy of `table`, which has a digest for every block that is present in the snapshot."""
        self.merge(None, table, snapshot_id, volume_size_gib, facts).close()

    def merge(
        self,
        parent: DigestTable | None,
        written: DigestTable,
        snapshot_id: str,
        volume_size_gib: int,
        facts: Mapping[str, object] | None = None,
    ) -> DigestTable:
        """Make, and keep, the index of a snapshot: its parent's entries, and those written to it over them.

        `parent` is None for a snapshot without a parent only. `facts` are kept besides the index's own. The table that
        is returned is open for reading; the caller closes it.
        """
        path = self._path(snapshot_id)
        identity = {**(facts or {}), "snapshot_id": snapshot_id, "volume_size_gib": volume_size_gib}
        new = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
        table = DigestTable.create(new, volume_size_gib * BLOCKS_PER_GIB, identity)
        try:
            for layer in (parent, written):
                if layer is not None:
                    table.overlay(layer)
            count, aggregate = table.summary()
            table.set_facts({**identity, "count": count, "aggregate": checksum_from_digest(aggregate)})
            table.move(path)
        except BaseException:
            # Also if the sync failed that covers the entries and the facts that prove them: then it got no name.
            table.close()
            table.path.unlink(missing_ok=True)
            raise
        self._remove_least_used(path)
        return table

    @contextmanager
    def trying(self, snapshot_id: str) -> Iterator[None]:
        """Keep an index in the block: a failure is only a warning: uploads work without an index, but slower."""
        try:
            yield
        except ClientError as error:
            text = f"no digest index of {snapshot_id} could be kept: {error}"
            self._observer.note(Note("warning", text))

    def forget(self, snapshot_id: str) -> None:
        """Remove the index of a snapshot, if there is one."""
        self._remove(self._path(snapshot_id))

    def _path(self, snapshot_id: str) -> Path:
        if not _NAME.fullmatch(snapshot_id):
            raise UsageError(f"{snapshot_id!r} is not a snapshot ID")
        return self._folder / (snapshot_id + _SUFFIX)

    def _distrust(self, path: Path, why: str) -> None:
        self._remove(path)
        message = f"removed an unusable digest index; it will be rebuilt: {why}"
        self._observer.note(Note("warning", message, {"path": str(path)}))

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError as error:
            raise state_failure(path, error) from error

    def _remove_least_used(self, newest: Path) -> None:
        """Keep within the limits. What another process removes at the same time is not there any more: so be it."""
        remove_leftovers(self._folder)
        size = 0
        for rank, (_, path, allocated) in enumerate(sorted(self._used(), reverse=True)):
            size += allocated
            if path != newest and (rank >= MAX_INDEX_COUNT or size > MAX_INDEX_BYTES):
                self._remove(path)

    def _used(self) -> list[tuple[int, Path, int]]:
        """Time of the last use, path, and bytes on disk of every index."""
        found = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((status.st_mtime_ns, path, status.st_blocks * 512))
        return found


def _what_is_wrong(table: DigestTable, snapshot_id: str, volume_size_gib: int) -> str | None:
    """Why an index cannot be trusted; None if it can."""
    facts = table.facts
    if facts.get("snapshot_id") != snapshot_id:
        return f"it is of {facts.get('snapshot_id')}, not of {snapshot_id}"
    if facts.get("volume_size_gib") != volume_size_gib or table.block_count != volume_size_gib * BLOCKS_PER_GIB:
        return f"it is of a volume of {facts.get('volume_size_gib')} GiB, not of {volume_size_gib} GiB"
    count, aggregate = table.summary()
    if facts.get("count") != count:
        return f"it has {count} digests instead of {facts.get('count')}"
    if facts.get("aggregate") != checksum_from_digest(aggregate):
        return "its digests do not match their aggregate"
    return None
