"""The picture of what differs, worked out by hand."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from snapstone.cli.change_map import ASCII_SHADES, ChangeMap, columns_for
from snapstone.client.transfer.compare import Extent

GIB = 2_048
"""Blocks."""


def test_a_shade_says_which_part_of_a_cell_differs() -> None:
    picture = ChangeMap(4 * 16 * 32, 16)
    assert picture.cell_block_count == 4
    for cell, count in enumerate((1, 2, 3, 4)):
        picture.add(Extent(4 * cell, count, "changed"))
    first = next(picture.lines(shades=ASCII_SHADES))
    assert first == "       0 B  -+*#............"


def test_an_extent_over_several_cells_is_counted_in_each() -> None:
    picture = ChangeMap(4 * 16 * 32, 16)
    picture.add(Extent(3, 6, "added"))
    picture.add(Extent(9, 1, "removed"))
    assert picture.cells == {0: {"added": 1}, 1: {"added": 4}, 2: {"added": 1, "removed": 1}}
    assert next(picture.lines(shades=ASCII_SHADES)) == "       0 B  -#+............."


def test_one_block_in_eight_tib_is_seen() -> None:
    picture = ChangeMap(8_192 * GIB, 64)
    assert picture.cell_block_count == 8_192
    picture.add(Extent(8_191 * GIB, 1, "changed"))
    lines = list(picture.lines(shades=ASCII_SHADES))
    assert lines[0] == "       ...  31 unchanged rows"
    assert lines[1] == "   7.8 TiB  " + "." * 63 + "-"
    assert len(lines) == 3


def test_one_or_two_rows_without_a_difference_are_drawn() -> None:
    picture = ChangeMap(64, 16)
    picture.add(Extent(0, 1, "changed"))
    picture.add(Extent(48, 16, "changed"))
    assert list(picture.lines(shades=ASCII_SHADES))[:4] == [
        "       0 B  #...............",
        "   8.0 MiB  ................",
        "  16.0 MiB  ................",
        "  24.0 MiB  ################",
    ]


def test_the_last_row_ends_where_the_volume_ends() -> None:
    picture = ChangeMap(20, 16)
    picture.add(Extent(19, 1, "added"))
    assert list(picture.lines(shades=ASCII_SHADES))[1] == "   8.0 MiB  ...#"


def test_the_last_cell_is_full_with_the_blocks_that_it_has() -> None:
    picture = ChangeMap(4 * 16 * 32 - 3, 16)
    picture.add(Extent(4 * 16 * 32 - 4, 1, "added"))
    assert list(picture.lines(shades=ASCII_SHADES))[1] == " 992.0 MiB  ...............#"


def test_the_legend_says_what_a_cell_is() -> None:
    *_, legend = ChangeMap(4 * 16 * 32, 16).lines(shades=ASCII_SHADES)
    assert legend == "a cell is 2.0 MiB: . none, - to 25, + to 50, * to 75, # to 100 % of blocks differ"


def test_colour_is_that_of_what_most_blocks_of_a_cell_are() -> None:
    picture = ChangeMap(4 * 16 * 32, 16)
    picture.add(Extent(0, 3, "added"))
    picture.add(Extent(3, 1, "removed"))
    picture.add(Extent(4, 4, "removed"))
    first = next(picture.lines(shades=ASCII_SHADES, colour=True))
    assert first == "       0 B  \x1b[32m#\x1b[0m\x1b[31m#\x1b[0m.............."


def test_the_picture_is_well_formed_svg_with_a_square_for_each_cell_that_differs() -> None:
    picture = ChangeMap(GIB, 128)
    picture.add(Extent(0, 1, "changed"))
    picture.add(Extent(130, 1, "added"))
    root = ElementTree.fromstring("\n".join(picture.svg("a &amp; b")))
    squares = root.findall("{http://www.w3.org/2000/svg}rect")
    assert [(square.get("x"), square.get("y")) for square in squares[1:]] == [("0", "0"), ("20", "10")]
    assert squares[2].findtext("{http://www.w3.org/2000/svg}title") == "from 65.0 MiB: 1 added"


@pytest.mark.parametrize(("width", "columns"), [(20, 16), (80, 64), (75, 32), (76, 64), (140, 128), (300, 256)])
def test_a_row_has_a_power_of_two_of_cells(width: int, columns: int) -> None:
    assert columns_for(width) == columns
