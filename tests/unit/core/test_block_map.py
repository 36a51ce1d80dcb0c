"""The block map on cases worked by hand: where pages begin and end, what is made, what is opened."""

from __future__ import annotations

from itertools import islice

import pytest

from snapstone.core.block_map import EMPTY_ROOT, LEVELS, apply_writes, find_block, list_blocks, list_differences
from snapstone.core.blocks import MAX_BLOCK_COUNT, Address
from snapstone.core.errors import DamageError
from snapstone.core.page import EMPTY_PAGE, Page

X, Y, Z = (Address(bytes([number]) * 32) for number in (1, 2, 3))

LAST = 134_217_727


class Pages:
    """Pages in memory, and which were opened."""

    def __init__(self) -> None:
        self.stored: dict[Address, Page] = {EMPTY_ROOT: EMPTY_PAGE}
        self.opened: list[Address] = []

    def page(self, address: Address) -> Page:
        self.opened.append(address)
        if address not in self.stored:
            raise DamageError(address.hex(), "missing")
        return self.stored[address]

    def emit(self, address: Address, page: Page) -> None:
        self.stored[address] = page


@pytest.fixture
def pages() -> Pages:
    return Pages()


def root_of(pages: Pages, writes: dict[int, Address], root: Address = EMPTY_ROOT) -> Address:
    return apply_writes(pages, root, sorted(writes.items()), pages.emit).root


def test_three_levels_of_512_slots_are_exactly_64_tib_of_blocks() -> None:
    assert LEVELS == 3
    assert 512**3 == MAX_BLOCK_COUNT == 65_536 * 2_048


def test_a_block_stands_in_the_slots_that_its_index_spells(pages: Pages) -> None:
    index = (3 << 18) + (5 << 9) + 7
    root = root_of(pages, {index: X})
    leaf = EMPTY_PAGE.with_children({7: X})
    branch = EMPTY_PAGE.with_children({5: leaf.address})
    assert root == EMPTY_PAGE.with_children({3: branch.address}).address


def test_the_empty_map_has_no_blocks(pages: Pages) -> None:
    assert list(list_blocks(pages, EMPTY_ROOT)) == []
    assert find_block(pages, EMPTY_ROOT, 0) is None
    assert root_of(pages, {}) == EMPTY_ROOT


@pytest.mark.parametrize("index", [0, 511, 512, 262_143, 262_144, LAST])
def test_a_single_block_is_found_where_a_page_begins_or_ends(pages: Pages, index: int) -> None:
    root = root_of(pages, {index: X})
    assert find_block(pages, root, index) == X
    assert list(list_blocks(pages, root)) == [(index, X)]
    assert list(list_blocks(pages, root, index)) == [(index, X)]
    assert list(list_blocks(pages, root, index + 1)) == []
    for other in {0, 1, 511, 512, 513, 262_144, LAST} - {index}:
        assert find_block(pages, root, other) is None


def test_added_blocks_are_counted_and_replaced_ones_are_not(pages: Pages) -> None:
    first = apply_writes(pages, EMPTY_ROOT, [(0, X), (600, X)], pages.emit)
    second = apply_writes(pages, first.root, [(0, Y), (1, Y), (LAST, Y)], pages.emit)
    assert (first.added_count, second.added_count) == (2, 2)
    assert list(list_blocks(pages, second.root)) == [(0, Y), (1, Y), (600, X), (LAST, Y)]


def test_children_are_emitted_before_their_parents(pages: Pages) -> None:
    emitted: list[Address] = []

    def emit(address: Address, page: Page) -> None:
        for _, child in page.children():
            assert child in emitted or child == X
        emitted.append(address)

    apply_writes(pages, EMPTY_ROOT, [(0, X), (512, X), (262_144, X)], emit)
    # Leaves 0 and 512 are the same page, emitted for each place; both branches hold it, in other slots.
    assert len(set(emitted)) == 4
    assert len(emitted) == 6


def test_a_page_that_cannot_be_read_stops_the_writes(pages: Pages) -> None:
    root = root_of(pages, {0: X, 512: Y})
    leaf = EMPTY_PAGE.with_children({0: Y}).address
    del pages.stored[leaf]
    with pytest.raises(DamageError):
        root_of(pages, {512: Z}, root)
    assert find_block(pages, root_of(pages, {0: Z}, root), 0) == Z


def test_a_list_opens_only_what_is_taken_from_it(pages: Pages) -> None:
    root = root_of(pages, {index * 512: X for index in range(100)})
    pages.opened.clear()
    assert [index for index, _ in islice(list_blocks(pages, root, 512 * 50), 2)] == [512 * 50, 512 * 51]
    assert len(pages.opened) == 1 + 1 + 2


def test_a_comparison_opens_only_the_subtrees_that_differ(pages: Pages) -> None:
    first = root_of(pages, {index * 512: X for index in range(400)})
    second = root_of(pages, {512 * 7: Y}, first)
    pages.opened.clear()
    assert list(list_differences(pages, first, second)) == [(512 * 7, X, Y)]
    assert len(pages.opened) == 2 * 3
    pages.opened.clear()
    assert list(list_differences(pages, first, first)) == []
    assert pages.opened == []


def test_a_comparison_from_an_index_opens_nothing_that_lies_before_it(pages: Pages) -> None:
    first = root_of(pages, {index * 512: X for index in range(400)})
    second = root_of(pages, {index * 512: Y for index in range(400)}, first)
    pages.opened.clear()
    assert [index for index, _, _ in list_differences(pages, first, second, 512 * 398 + 1)] == [512 * 399]
    assert len(pages.opened) == 2 * (1 + 1 + 2)


def test_a_block_on_one_side_only_has_none_on_the_other(pages: Pages) -> None:
    first, second = root_of(pages, {0: X, 5: X}), root_of(pages, {5: X, LAST: Z})
    assert list(list_differences(pages, first, second)) == [(0, X, None), (LAST, None, Z)]
    assert list(list_differences(pages, EMPTY_ROOT, second)) == [(5, None, X), (LAST, None, Z)]
    assert list(list_differences(pages, first, EMPTY_ROOT)) == [(0, X, None), (5, X, None)]


def test_a_remembered_comparison_is_not_taken_for_another_one(pages: Pages) -> None:
    base = root_of(pages, {0: X, 600: Y, 300_000: Z})
    one = root_of(pages, {600: Z}, base)
    other = root_of(pages, {300_000: X}, base)
    for _ in range(2):
        assert list(list_differences(pages, base, one)) == [(600, Y, Z)]
        assert list(list_differences(pages, base, other)) == [(300_000, Z, X)]
        assert list(list_differences(pages, one, base)) == [(600, Z, Y)]


def test_a_listing_that_goes_on_opens_no_page_above_the_leaves_again(pages: Pages) -> None:
    base = root_of(pages, {0: X, 600: X})
    changed = root_of(pages, {0: Y, 600: Y}, base)
    assert len(list(list_differences(pages, base, changed))) == 2
    pages.opened.clear()
    assert list(list_differences(pages, base, changed, 600)) == [(600, X, Y)]
    # The first root and branch, and the two leaves of block 600: what the second root and branch hold is known.
    assert len(pages.opened) == 4


@pytest.mark.parametrize(("differing", "is_remembered"), [(64, True), (65, False)])
def test_a_page_remembers_a_comparison_of_64_differences_and_none_of_more(
    pages: Pages, differing: int, is_remembered: bool
) -> None:
    base = root_of(pages, {index * 512: X for index in range(differing)})
    changed = root_of(pages, {index * 512: Y for index in range(differing)}, base)
    assert len(list(list_differences(pages, base, changed))) == differing
    pages.opened.clear()
    assert len(list(list_differences(pages, base, changed))) == differing
    # The first root and branch, and two leaves for each difference; the second root and branch if nothing is known of
    # the branches, and the second branch alone if the roots' one difference is.
    assert len(pages.opened) == 2 + 2 * differing + (0 if is_remembered else 1)
