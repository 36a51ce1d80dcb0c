"""Neighbours become extents, and extents totals."""

from __future__ import annotations

from snapstone.client.transfer.compare import Difference, Extent, Totals, extents


def test_neighbours_of_one_kind_are_one_extent() -> None:
    differences = [
        Difference(0, "added"),
        Difference(1, "added"),
        Difference(2, "changed"),
        Difference(4, "changed"),
        Difference(5, "changed"),
    ]
    found = list(extents(differences))
    assert found == [Extent(0, 2, "added"), Extent(2, 1, "changed"), Extent(4, 2, "changed")]
    assert [(extent.offset, extent.length) for extent in found] == [
        (0, 1_048_576),
        (1_048_576, 524_288),
        (2_097_152, 1_048_576),
    ]


def test_no_differences_make_no_extents() -> None:
    assert list(extents([])) == []
    assert Totals().block_count == 0


def test_totals_count_blocks_by_kind_and_know_first_and_last() -> None:
    totals = Totals()
    for extent in (Extent(3, 2, "added"), Extent(9, 1, "removed"), Extent(20, 5, "added")):
        totals.add(extent)
    assert (totals.block_count, totals.extent_count) == (8, 3)
    assert dict(totals.counts) == {"added": 7, "removed": 1}
    assert (totals.first_block_index, totals.last_block_index) == (3, 24)
