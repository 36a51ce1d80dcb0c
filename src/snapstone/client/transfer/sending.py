"""Which of an image's blocks are sent to a snapshot, and the sending of them."""

from __future__ import annotations

from collections.abc import Iterator

from snapstone.client.api.service import Service
from snapstone.client.events import Observer, Tally
from snapstone.client.images.contract import Source
from snapstone.client.images.extents import block_count_of
from snapstone.client.transfer.dirty import DirtyRanges
from snapstone.client.transfer.parent import Parent
from snapstone.client.transfer.pending import PendingSnapshot
from snapstone.client.transfer.pipeline import Stop, run
from snapstone.client.transfer.reading import Reading
from snapstone.client.transfer.visits import Visit, visits
from snapstone.client.transfer.zeros import ZERO_BLOCK
from snapstone.core.blocks import ZERO_DIGEST, Digest


class Sending:
    """One pass over an image. Without `pending` it counts what would be sent."""

    def __init__(
        self,
        source: Source,
        parent: Parent | None,
        dirty: DirtyRanges | None,
        pending: PendingSnapshot | None,
        tally: Tally,
    ) -> None:
        self._source = source
        self._parent = parent
        self._held = None if parent is None else parent.table
        self._dirty = dirty
        self._pending = pending
        self._tally = tally
        self._stop = Stop()
        self._reading = Reading(source, self._stop)

    def run(self, service: Service, observer: Observer) -> None:
        """Look at every block that there may be, and send those that have to be sent. Raises ClientError."""
        if not self._source.sequential and self._dirty is None:
            self._tally.expected_count = sum(len(indexes) for indexes in self._source.ranges())
        observer.begin(self._tally)
        try:
            run(
                self._visits(),
                self._look,
                worker_count=service.put_workers,
                stall_seconds=service.options.stall_seconds,
                stop=self._stop,
            )
        finally:
            observer.end(self._tally)

    def _visits(self) -> Iterator[Visit]:
        sent = () if self._pending is None else self._pending.entries()
        if self._dirty is None:
            held = () if self._held is None else self._held.items()
            return visits(self._source.ranges(), held, sent)
        if self._held is None:
            # Nothing here knows what the parent holds: every dirty block is looked at, holes too.
            return visits(self._dirty_ranges(), (), sent)
        return visits(self._source.ranges(), self._held.items(), sent, within=self._dirty.block_ranges())

    def _dirty_ranges(self) -> Iterator[range]:
        """An extent of the last block's part may reach into the block behind it, of which the image has nothing."""
        assert self._dirty is not None
        block_count = block_count_of(self._source.size)
        for indexes in self._dirty.block_ranges():
            if indexes.start < block_count:
                yield range(indexes.start, min(indexes.stop, block_count))

    def _look(self, visit: Visit, buffer: memoryview) -> None:
        """Read a block, and send it unless what was sent before, or is inherited, is the same."""
        block_index, pending = visit.block_index, self._pending
        digest = ZERO_DIGEST if visit.is_hole else self._reading.read(block_index, buffer)
        sent = None if pending is None else pending.known(block_index)
        if sent == digest:
            self._tally.add(resumed=1)
        elif sent is None and self._is_inherited(block_index, digest):
            self._tally.add(zero=digest == ZERO_DIGEST, unchanged=digest != ZERO_DIGEST)
        else:
            if pending is not None:
                block = memoryview(ZERO_BLOCK) if digest == ZERO_DIGEST else buffer
                pending.put(block_index, block, digest, self._stop)
            self._tally.add(moved=1)

    def _is_inherited(self, block_index: int, digest: Digest) -> bool:
        """Whether the snapshot reads as these bytes without a put."""
        if self._parent is None:
            return digest == ZERO_DIGEST
        if self._held is None:
            return False
        held = self._held.get(block_index) if block_index < self._held.block_count else None
        return digest == (ZERO_DIGEST if held is None else held)
