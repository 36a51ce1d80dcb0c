"""Blocks of a source read into the buffers of many threads: which to look at, which are zero, what failed where."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Final

from snapstone.client.api.retrying import Interruption
from snapstone.client.errors import ClientError, InterruptedTransferError
from snapstone.client.images.contract import Source
from snapstone.core.blocks import BLOCK_SIZE, ZERO_DIGEST, Digest, digest_of

ZERO_BLOCK: Final = bytes(BLOCK_SIZE)
_LOOKED_AT: Final = tuple(range(0, BLOCK_SIZE, 8_192 + 8))
"""Offsets that are checked first: one in every other page of memory, at varying positions."""


def is_zero(block: memoryview) -> bool:
    """Whether a block holds zeros only. The copy costs less than a comparison of memory views, byte by byte, would."""
    return not any(block[place] for place in _LOOKED_AT) and block.tobytes() == ZERO_BLOCK


Entries = Iterable[tuple[int, Digest]]
"""Of a table of digests, ascending."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One block to look at. If the source has a hole there, it need not be read."""

    block_index: int
    is_hole: bool


def visits(
    data: Iterable[range], held: Entries = (), sent: Entries = (), *, within: Iterable[range] | None = None
) -> Iterator[Visit]:
    """Where the source may have data, where zeros have to hide what the parent has, and what was sent before.

    `data` are ranges of the source, ascending and apart; `held` are the parent's entries, `sent` the journal's. With
    `within`, only blocks in these ranges (ascending, apart) are checked; those that were sent always are.
    """
    found = _merged(((index, False) for indexes in data for index in indexes), ((index, True) for index, _ in held))
    limited = found if within is None else _inside(found, within)
    known = ((visit.block_index, visit.is_hole) for visit in limited)
    return _merged(known, ((index, within is None) for index, _ in sent))


def _merged(*pairs: Iterable[tuple[int, bool]]) -> Iterator[Visit]:
    """Each index once; not a hole if any range says so, because False sorts first."""
    last = -1
    for block_index, is_hole in merge(*pairs):
        if block_index != last:
            last = block_index
            yield Visit(block_index, is_hole)


def _inside(found: Iterator[Visit], within: Iterable[range]) -> Iterator[Visit]:
    ranges = iter(within)
    current = next(ranges, None)
    for visit in found:
        while current is not None and visit.block_index >= current.stop:
            current = next(ranges, None)
        if current is None:
            return
        if visit.block_index >= current.start:
            yield visit


LOOK_SECONDS: Final = 0.2
"""How often one who waits for a turn looks whether to give up."""


class SourceReader:
    """Reads a source for a pipeline, which hands out blocks in ascending order."""

    def __init__(self, source: Source, stop: Interruption) -> None:
        self._source = source
        self._stop = stop
        self._next = 0
        self._turn = threading.Condition()

    def read(self, block_index: int, into: memoryview) -> Digest:
        """Fill a buffer with a block of the source; its digest. Raises ClientError."""
        try:
            if self._source.sequential:
                self._read_in_turn(block_index, into)
            else:
                self._source.read(block_index, into)
        except OSError as error:
            raise ClientError(f"{self._source.name}: block {block_index} cannot be read: {error.strerror}") from error
        return ZERO_DIGEST if is_zero(into) else digest_of(into)

    def _read_in_turn(self, block_index: int, into: memoryview) -> None:
        with self._turn:
            while self._next != block_index:
                if self._stop.is_set():
                    raise InterruptedTransferError(f"{self._source.name}: interrupted at block {block_index}")
                self._turn.wait(LOOK_SECONDS)
            self._source.read(block_index, into)
            self._next += 1
            self._turn.notify_all()
