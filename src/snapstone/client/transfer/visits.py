"""Which blocks an upload looks at, in ascending order, without ever holding them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge

from snapstone.core.blocks import Digest

Entries = Iterable[tuple[int, Digest]]
"""Of a table of digests, ascending."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One block to look at. Where the source has a hole there, it need not be read."""

    block_index: int
    is_hole: bool


def visits(
    data: Iterable[range], held: Entries = (), sent: Entries = (), *, within: Iterable[range] | None = None
) -> Iterator[Visit]:
    """Where the source may have data, where zeros have to hide what the parent has, and what was sent before.

    `data` are ranges of the source, ascending and apart; `held` are the parent's entries, `sent` the journal's. With
    `within`, only blocks in these ranges (ascending, apart) are looked at; those that were sent always are.
    """
    found = _merged(((index, False) for indexes in data for index in indexes), ((index, True) for index, _ in held))
    limited = found if within is None else _inside(found, within)
    known = ((visit.block_index, visit.is_hole) for visit in limited)
    return _merged(known, ((index, within is None) for index, _ in sent))


def _merged(*pairs: Iterable[tuple[int, bool]]) -> Iterator[Visit]:
    """Each index once; no hole where any of them says so, for False comes first."""
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
