"""All that the maps of snapshots refer to: each distinct page is read once, and every block is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from snapstone.catalog.contract.snapshots import Snapshot, SnapshotState
from snapstone.core.block_map import EMPTY_ROOT, LEVELS
from snapstone.core.blocks import ZERO_ADDRESS, Address
from snapstone.core.errors import DamageError
from snapstone.service.check.problems import Affected, CheckProblem, Counts
from snapstone.service.engine import Engine

REMEMBERED_PAGES: Final = 1_000_000
"""Pages that are known to be sound with all below them, 100 MB of memory; past it, pages are checked again."""

NAMED_OBJECTS: Final = 1_000
"""Damaged objects that are named one by one; past it, they are counted together."""

REMEDY: Final = "restore the segment files from a backup, or upload the same disk again, which repairs every snapshot"

_MORE: Final = Address(b"further objects".ljust(32))
"""Stands for all that are not named."""


class Reachable:
    """One walk through the maps of all snapshots, one after the other."""

    def __init__(self, engine: Engine, counts: Counts, unreadable: frozenset[Address]) -> None:
        """`unreadable` are objects found damaged, whatever the index says."""
        self._engine = engine
        self._counts = counts
        self._unreadable = unreadable
        self._sound: set[Address] = {EMPTY_ROOT}
        self._broken: dict[Address, frozenset[Address]] = {}
        """Pages with damage in or below them, and which."""
        self._damage: dict[Address, tuple[str, Affected]] = {}

    def look_at(self, snapshot: Snapshot) -> None:
        """Look at a snapshot's map, and at what has been written to it since. Raises DamageError for its keys."""
        arn = snapshot.kms_key_arn
        zero = ZERO_ADDRESS
        if arn is not None:
            key = self._engine.keys.stored_key(arn)
            if key is None:
                self._counts.hidden += 1
                return
            zero = self._engine.keys.domain(key).zero_address
        found = self._below(snapshot.root, LEVELS - 1, zero, arn)
        if snapshot.state in (SnapshotState.PENDING, SnapshotState.SEALING):
            found |= self._of_writes(snapshot, zero)
        for address in found:
            self._damage[address][1].add(snapshot.snapshot_id)

    def problems(self) -> Iterator[CheckProblem]:
        """The damage found, with the snapshots that need it; of damage that affects no snapshot, the amount."""
        unneeded = len(self._unreadable - self._damage.keys())
        if unneeded and _MORE not in self._damage:
            what = f"{unneeded} damaged records do not belong to any snapshot, but their disk is losing data"
            yield CheckProblem("objects", what, "nothing is lost yet; check the disk's health")
        for address, (what, affected) in self._damage.items():
            where = "objects" if address == _MORE else f"object {address.hex()}"
            yield CheckProblem(where, what, REMEDY, affected)

    def _below(self, address: Address, level: int, zero: Address, arn: str | None) -> frozenset[Address]:
        """The damaged objects in a subtree."""
        if address in self._sound:
            return frozenset()
        known = self._broken.get(address)
        if known is not None:
            return known
        self._counts.pages += 1
        try:
            with self._engine.keys.under(arn):
                page = self._engine.pages.page(address)
        except DamageError as error:
            found = frozenset((self._note(address, f"a page of the block map: {error.what}"),))
        else:
            children = [child for _, child in page.children()]
            if level:
                found = frozenset().union(*(self._below(child, level - 1, zero, arn) for child in children))
            else:
                found = frozenset(damaged for child in children if (damaged := self._of_block(child, zero)))
        if found:
            self._broken[address] = found
        elif len(self._sound) < REMEMBERED_PAGES:
            self._sound.add(address)
        return found

    def _of_writes(self, snapshot: Snapshot, zero: Address) -> frozenset[Address]:
        """The damaged blocks among pending writes."""
        found = set()
        try:
            for write in self._engine.catalog.pending_writes(snapshot.snapshot_id):
                damaged = self._of_block(write.address, zero)
                if damaged is not None:
                    found.add(damaged)
        except DamageError:
            pass  # a damaged row, which the check of the catalog reports
        return frozenset(found)

    def _of_block(self, address: Address, zero: Address) -> Address | None:
        self._counts.blocks += 1
        if address == zero or (address not in self._unreadable and self._engine.objects.has(address)):
            return None
        return self._note(address, "a block is missing or damaged")

    def _note(self, address: Address, what: str) -> Address:
        """Name a damaged object, as long as there are not too many; returns what it counts as."""
        if address not in self._damage and len(self._damage) >= NAMED_OBJECTS:
            address, what = _MORE, f"more than {NAMED_OBJECTS} objects are missing or damaged"
        self._damage.setdefault(address, (what, Affected()))
        return address
