"""Which blocks an upload looks at, in ascending order, without ever holding them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge

from snapstone.core.blocks import Digest


@dataclass(frozen=True, slots=True)
class Visit:
    """One block to look at. Where the source has a hole there, it need not be read."""

    block_index: int
    is_hole: bool


def visits(
    data: Iterable[range],
    held: Iterable[tuple[int, Digest]],
    *,
    within: Iterable[range] | None = None,
) -> Iterator[Visit]:
    """Blocks where the source may have data, and those where zeros have to hide what is `held` there.

    `data` are ranges of the source, `held` are entries of other tables (the parent's, the journal's), ascending; with
    `within`, only blocks in these ranges (ascending, apart) are looked at.
    """
    found = _merged(data, held)
    return found if within is None else _inside(found, within)


def _merged(data: Iterable[range], held: Iterable[tuple[int, Digest]]) -> Iterator[Visit]:
    last = -1
    sources = (((index, False) for indexes in data for index in indexes), ((index, True) for index, _ in held))
    for block_index, is_hole in merge(*sources):
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
