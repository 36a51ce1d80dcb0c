"""The block map against a dict, for any generations of writes; what is shared, what is compared, what is read."""

from __future__ import annotations

from itertools import islice
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from snapstone.core.block_map import EMPTY_ROOT, apply_writes, find_block, list_blocks, list_differences
from snapstone.core.blocks import MAX_BLOCK_COUNT, Address
from snapstone.core.page import EMPTY_PAGE, Page

EDGES: Final = (0, 1, 510, 511, 512, 513, 262_143, 262_144, 262_145, 134_217_726, 134_217_727)
"""Where leaves and branches begin and end, and the last index of 64 TiB."""

block_indexes = st.one_of(
    st.sampled_from(EDGES),
    st.integers(0, 2_000),
    st.integers(0, MAX_BLOCK_COUNT - 1),
)
addresses = st.integers(0, 3).map(lambda number: Address(bytes([number]) * 32))
contents = st.dictionaries(block_indexes, addresses, max_size=40)
generations = st.lists(contents, max_size=5)

Content = dict[int, Address]


class Pages:
    """Pages in memory, and which were opened."""

    def __init__(self) -> None:
        self.stored: dict[Address, Page] = {EMPTY_ROOT: EMPTY_PAGE}
        self.opened: list[Address] = []

    def page(self, address: Address) -> Page:
        self.opened.append(address)
        return self.stored[address]

    def write(self, root: Address, content: Content) -> tuple[Address, list[Address], int]:
        """The new root, the pages emitted for it, and the blocks added."""
        emitted: list[Address] = []

        def emit(address: Address, page: Page) -> None:
            assert page.address == address
            emitted.append(address)
            self.stored[address] = page

        applied = apply_writes(self, root, sorted(content.items()), emit)
        return applied.root, emitted, applied.added_count

    def write_all(self, steps: list[Content]) -> tuple[Address, Content]:
        root, model = EMPTY_ROOT, Content()
        for step in steps:
            root = self.write(root, step)[0]
            model |= step
        return root, model


@given(generations)
def test_a_map_made_in_generations_holds_what_a_dict_holds(steps: list[Content]) -> None:
    pages = Pages()
    root, model = EMPTY_ROOT, Content()
    for step in steps:
        root, _, added_count = pages.write(root, step)
        assert added_count == len(step.keys() - model.keys())
        model |= step
        assert list(list_blocks(pages, root)) == sorted(model.items())


@given(generations, st.lists(block_indexes, max_size=20))
def test_every_block_is_found_and_no_other(steps: list[Content], others: list[int]) -> None:
    pages = Pages()
    root, model = pages.write_all(steps)
    for index in [*model, *others]:
        assert find_block(pages, root, index) == model.get(index)


@given(generations, st.lists(st.integers(0, 2**31 - 1), max_size=5))
def test_a_list_from_any_index_is_the_rest_of_the_whole_list(steps: list[Content], others: list[int]) -> None:
    pages = Pages()
    root, model = pages.write_all(steps)
    for start in [*model, *(index + 1 for index in model), *others]:
        assert list(list_blocks(pages, root, start)) == [entry for entry in sorted(model.items()) if entry[0] >= start]


@given(generations)
def test_earlier_generations_stay_as_they_were(steps: list[Content]) -> None:
    pages = Pages()
    roots: list[tuple[Address, Content]] = [(EMPTY_ROOT, {})]
    for step in steps:
        root, model = roots[-1]
        roots.append((pages.write(root, step)[0], model | step))
    for root, model in roots:
        assert list(list_blocks(pages, root)) == sorted(model.items())


@given(contents, st.integers(0, 39), st.integers(0, 39))
def test_equal_maps_have_equal_roots_however_they_came_about(content: Content, first: int, second: int) -> None:
    pages = Pages()
    items = list(content.items())
    at_once = pages.write(EMPTY_ROOT, content)[0]
    other = {index: Address(bytes([9]) * 32) for index in list(content)[:first]}
    in_steps, _ = pages.write_all([other, dict(items[second:]), dict(items[:second]), dict(items[:first])])
    assert in_steps == at_once


@given(contents, contents)
def test_different_maps_have_different_roots(first: Content, second: Content) -> None:
    pages = Pages()
    roots = pages.write(EMPTY_ROOT, first)[0], pages.write(EMPTY_ROOT, second)[0]
    assert (roots[0] == roots[1]) == (first == second)


@given(contents, block_indexes)
def test_one_changed_block_costs_three_pages(content: Content, index: int) -> None:
    pages = Pages()
    root = pages.write(EMPTY_ROOT, content)[0]
    fresh = Address(bytes([9]) * 32)
    new_root, emitted, _ = pages.write(root, {index: fresh})
    assert len(emitted) == 3
    assert emitted[-1] == new_root


@given(contents)
def test_writing_what_is_there_already_makes_no_page(content: Content) -> None:
    pages = Pages()
    root = pages.write(EMPTY_ROOT, content)[0]
    assert pages.write(root, content) == (root, [], 0)
    assert pages.write(root, {}) == (root, [], 0)


@given(contents, contents)
def test_a_page_is_emitted_after_the_pages_below_it(first: Content, second: Content) -> None:
    pages = Pages()
    root = pages.write(EMPTY_ROOT, first)[0]
    before = set(pages.stored)
    _, emitted, _ = pages.write(root, second)
    known = before | set()
    for address in emitted:
        children = {child for _, child in pages.stored[address].children()}
        assert children & set(pages.stored) <= known
        known.add(address)


def differences(first: Content, second: Content, start: int) -> list[tuple[int, Address | None, Address | None]]:
    """By brute force."""
    return [
        (index, first.get(index), second.get(index))
        for index in sorted(first.keys() | second.keys())
        if index >= start and first.get(index) != second.get(index)
    ]


@given(contents, contents, st.lists(block_indexes, max_size=5))
def test_the_differences_of_any_two_maps_are_those_of_the_dicts(
    first: Content, second: Content, starts: list[int]
) -> None:
    pages = Pages()
    roots = pages.write(EMPTY_ROOT, first)[0], pages.write(EMPTY_ROOT, second)[0]
    for start in [0, *starts, *first, *(index + 1 for index in second)]:
        assert list(list_differences(pages, *roots, start)) == differences(first, second, start)


@given(contents, st.lists(contents, min_size=1, max_size=4), st.integers(0, 39))
def test_the_differences_within_a_lineage_are_those_of_the_dicts(
    base: Content, steps: list[Content], start: int
) -> None:
    pages = Pages()
    first, model = pages.write(EMPTY_ROOT, base)[0], dict(base)
    second = first
    for step in steps:
        second = pages.write(second, step)[0]
        model |= step
    assert list(list_differences(pages, first, second, start)) == differences(base, model, start)
    assert list(list_differences(pages, second, first, start)) == differences(model, base, start)


@given(contents, contents)
def test_a_comparison_opens_no_page_that_both_maps_have(base: Content, changes: Content) -> None:
    pages = Pages()
    first = pages.write(EMPTY_ROOT, base)[0]
    shared = set(pages.stored)
    second, emitted, _ = pages.write(first, changes)
    pages.opened.clear()
    found = list(list_differences(pages, first, second))
    changed_leaves = {index >> 9 for index, _, _ in found}
    changed_branches = {index >> 18 for index, _, _ in found}
    assert len(set(pages.opened) & set(emitted) - shared) <= 1 + len(changed_branches) + len(changed_leaves)
    assert len(pages.opened) <= 2 * (1 + len(changed_branches) + len(changed_leaves))


@settings(max_examples=20)
@given(st.integers(0, MAX_BLOCK_COUNT - 600), st.integers(1, 20))
def test_reading_a_page_of_a_list_opens_only_the_pages_above_it(start: int, count: int) -> None:
    """Cost follows what is taken, not the volume."""
    pages = Pages()
    content = {index: Address(bytes(32)) for index in range(start, start + 600)}
    content |= {index: Address(bytes(32)) for index in range(0, MAX_BLOCK_COUNT, 2_000_000)}
    root = pages.write(EMPTY_ROOT, content)[0]
    pages.opened.clear()
    assert len(list(islice(list_blocks(pages, root, start), count))) == count
    assert len(pages.opened) <= 3 + 4
