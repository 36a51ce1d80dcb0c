"""Differences put together: neighbours of one kind as extents, and all of them as totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from snapstone.client.transfer.compare import Difference, Kind
from snapstone.core.blocks import BLOCK_SIZE


@dataclass(frozen=True, slots=True)
class Extent:
    """Neighbouring blocks that differ in the same way."""

    block_index: int
    """Of the first block."""
    block_count: int
    kind: Kind

    @property
    def offset(self) -> int:
        """Byte at which it begins."""
        return self.block_index * BLOCK_SIZE

    @property
    def length(self) -> int:
        """Bytes."""
        return self.block_count * BLOCK_SIZE


@dataclass
class Totals:
    """What all differences come to."""

    counts: Counter[Kind] = field(default_factory=Counter)
    """Blocks of each kind."""
    extent_count: int = 0
    first_block_index: int | None = None
    last_block_index: int | None = None

    @property
    def block_count(self) -> int:
        """Blocks that differ."""
        return self.counts.total()

    def add(self, extent: Extent) -> None:
        """Count one more; they come in ascending order."""
        self.counts[extent.kind] += extent.block_count
        self.extent_count += 1
        if self.first_block_index is None:
            self.first_block_index = extent.block_index
        self.last_block_index = extent.block_index + extent.block_count - 1


def extents(differences: Iterable[Difference]) -> Iterator[Extent]:
    """The fewest extents that hold all of these differences, which ascend; an extent is given out when it has ended."""
    first, count = Difference(-1, "changed"), 0
    for difference in differences:
        if count and difference.kind == first.kind and difference.block_index == first.block_index + count:
            count += 1
            continue
        if count:
            yield Extent(first.block_index, count, first.kind)
        first, count = difference, 1
    if count:
        yield Extent(first.block_index, count, first.kind)
