"""Which blocks an upload looks at; all expected lists are worked out by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snapstone.client.transfer.reading import Visit, visits
from snapstone.core.blocks import ZERO_DIGEST


def shown(found: list[Visit]) -> list[tuple[int, bool]]:
    return [(visit.block_index, visit.is_hole) for visit in found]


def test_data_is_visited_and_holes_only_where_something_is_held() -> None:
    held = [(1, ZERO_DIGEST), (3, ZERO_DIGEST), (9, ZERO_DIGEST)]
    found = list(visits([range(2), range(4, 6)], held))
    assert shown(found) == [(0, False), (1, False), (3, True), (4, False), (5, False), (9, True)]


def test_an_index_held_twice_is_visited_once() -> None:
    assert shown(list(visits([], [(2, ZERO_DIGEST), (2, ZERO_DIGEST), (4, ZERO_DIGEST)]))) == [(2, True), (4, True)]


def test_only_what_is_within_is_visited() -> None:
    held = [(3, ZERO_DIGEST), (9, ZERO_DIGEST), (30, ZERO_DIGEST)]
    found = list(visits([range(8)], held, within=[range(2, 4), range(6, 7), range(9, 12)]))
    assert shown(found) == [(2, False), (3, False), (6, False), (9, True)]


def test_nothing_within_is_nothing() -> None:
    assert list(visits([range(8)], [], within=[])) == []


def test_what_was_sent_is_looked_at_wherever_it_is_and_read_where_holes_are_not_known() -> None:
    sent = [(0, ZERO_DIGEST), (3, ZERO_DIGEST), (9, ZERO_DIGEST)]
    assert shown(list(visits([range(1)], [], sent))) == [(0, False), (3, True), (9, True)]
    assert shown(list(visits([range(4)], [], sent, within=[range(1, 2)]))) == [
        (0, False),
        (1, False),
        (3, False),
        (9, False),
    ]


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_it_is_what_sets_say(data: set[int], held: set[int], within: set[int]) -> None:
    def single(indexes: set[int]) -> list[range]:
        return [range(index, index + 1) for index in sorted(indexes)]

    entries = [(index, ZERO_DIGEST) for index in sorted(held)]
    expected = [(index, index not in data) for index in sorted((data | held) & within)]
    assert shown(list(visits(single(data), entries, within=single(within)))) == expected
