"""The block map: from block index to address, as a persistent 512-ary radix tree of three levels of pages.

27 bits of block index are three slots of 9 bits: the root's, the branch's, the leaf's. Pages are immutable and named by
their content, so a new map shares every page that it does not change with the map it was made from, and two maps are
compared by descending only where names differ. Cost follows the change, never the volume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol

from snapstone.core.blocks import Address
from snapstone.core.page import EMPTY_PAGE, Difference, Page

LEVELS: Final = 3
"""Root, branch and leaf pages; a leaf's children are blocks."""

REMEMBERED_DIFFERENCES: Final = 64
"""A page above the leaves remembers its last comparison where it found no more than this: 12 KiB."""

_SLOT_BITS: Final = 9
_SLOT_MASK: Final = (1 << _SLOT_BITS) - 1

EMPTY_ROOT: Final = EMPTY_PAGE.address
"""Root of the map of a snapshot without blocks: known to every PageSource, never stored."""

BlockEntry = tuple[int, Address]
"""A block index and the address of the block there."""

BlockDifference = tuple[int, Address | None, Address | None]
"""A block index, and the address there in the first and in the second map; None if absent."""


class PageSource(Protocol):
    """Where pages are read from."""

    def page(self, address: Address) -> Page:
        """The page of that name. Raises DamageError if it cannot be read."""


@dataclass(frozen=True, slots=True)
class AppliedWrites:
    """The result of `apply_writes`."""

    root: Address
    added_count: int
    """Blocks that are present now and were not before."""


def find_block(source: PageSource, root: Address, block_index: int) -> Address | None:
    """The address at one block index, or None if nothing was written."""
    address: Address | None = root
    for level in reversed(range(LEVELS)):
        if address is None:
            return None
        address = source.page(address).child(block_index >> _SLOT_BITS * level & _SLOT_MASK)
    return address


def list_blocks(source: PageSource, root: Address, from_index: int = 0) -> Iterator[BlockEntry]:
    """The present blocks from an index on, in ascending order; cost follows what is taken from the iterator."""
    return _list_below(source, root, LEVELS - 1, 0, from_index)


def _list_below(
    source: PageSource, address: Address, level: int, first_index: int, from_index: int
) -> Iterator[BlockEntry]:
    """The blocks of one subtree, whose first possible index is `first_index`."""
    shift = _SLOT_BITS * level
    from_slot = max(0, from_index - first_index) >> shift
    if from_slot > _SLOT_MASK:
        return
    for slot, child in source.page(address).children(from_slot):
        index = first_index + (slot << shift)
        if level:
            yield from _list_below(source, child, level - 1, index, from_index)
        else:
            yield index, child


def list_differences(
    source: PageSource, first_root: Address, second_root: Address, from_index: int = 0
) -> Iterator[BlockDifference]:
    """The indexes from `from_index` on whose blocks differ between two maps, ascending.

    Subtrees of equal name are never opened, so cost follows the differences taken from the iterator.
    """
    return _differences_below(source, first_root, second_root, LEVELS - 1, 0, from_index)


def _differences_below(
    source: PageSource, first: Address | None, second: Address | None, level: int, first_index: int, from_index: int
) -> Iterator[BlockDifference]:
    """The differences between two subtrees at the same place, either of which may be absent."""
    shift = _SLOT_BITS * level
    ends_before = from_index - (1 << shift)
    for slot, first_child, second_child in _inner_differences(source, first, second):
        index = first_index + (slot << shift)
        if index <= ends_before:
            continue
        if level > 1:
            yield from _differences_below(source, first_child, second_child, level - 1, index, from_index)
            continue
        # The leaves here, and not in a generator of their own: there may be thousands with a block or two each.
        for leaf_slot, first_block, second_block in _page_differences(source, first_child, second_child):
            block_index = index + leaf_slot
            if block_index >= from_index:
                yield block_index, first_block, second_block


def _inner_differences(source: PageSource, first: Address | None, second: Address | None) -> list[Difference]:
    """As `_page_differences`, for pages above the leaves: a listing visits them again for each of its pages."""
    if first is None or second is None or first == second:
        return _page_differences(source, first, second)
    page = source.page(first)
    if page.compared is not None and page.compared[0] == second:
        return page.compared[1]
    differences = page.differences(source.page(second))
    if len(differences) <= REMEMBERED_DIFFERENCES:
        page.compared = (second, differences)
    return differences


def _page_differences(source: PageSource, first: Address | None, second: Address | None) -> list[Difference]:
    """The differences between two pages, either of which may be absent."""
    if first is None:
        return EMPTY_PAGE.differences(EMPTY_PAGE if second is None else source.page(second))
    if second is None:
        return source.page(first).differences(EMPTY_PAGE)
    return [] if first == second else source.page(first).differences(source.page(second))


def apply_writes(
    source: PageSource, root: Address, writes: Iterable[BlockEntry], emit: Callable[[Address, Page], None]
) -> AppliedWrites:
    """Make a new map from one there is and writes in ascending order of distinct indexes.

    `emit` is given each page of the new map that the old one does not have, children before parents; the caller stores
    them. Memory is bounded by one page of each level, whatever the number of writes.
    """
    return _MapWriter(source, emit).apply(root, writes)


class _MapWriter:
    """The recursion of `apply_writes`, and the count that it keeps."""

    def __init__(self, source: PageSource, emit: Callable[[Address, Page], None]) -> None:
        self._source = source
        self._emit = emit
        self._added_count = 0

    def apply(self, root: Address, writes: Iterable[BlockEntry]) -> AppliedWrites:
        new_root = self._rewrite(root, LEVELS - 1, writes)
        return AppliedWrites(new_root, self._added_count)

    def _rewrite(self, address: Address | None, level: int, writes: Iterable[BlockEntry]) -> Address:
        """The address of a subtree's page after the writes that fall into it."""
        page = EMPTY_PAGE if address is None else self._source.page(address)
        shift = _SLOT_BITS * level
        if level:
            changes = {
                slot: self._rewrite(page.child(slot), level - 1, below)
                for slot, below in groupby(writes, key=lambda write: write[0] >> shift & _SLOT_MASK)
            }
        else:
            changes = {index & _SLOT_MASK: block for index, block in writes}
        if not changes:
            return EMPTY_ROOT if address is None else address
        new_page = page.with_children(changes)
        if not level:
            self._added_count += len(new_page) - len(page)
        new_address = new_page.address
        if new_address != address:
            self._emit(new_address, new_page)
        return new_address
