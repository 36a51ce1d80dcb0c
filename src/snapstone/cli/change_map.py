"""A map of the differences in a volume: cells on a terminal, with or without colour, or SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Final

from snapstone.cli.quantities import binary
from snapstone.core.blocks import BLOCK_SIZE

if TYPE_CHECKING:
    from snapstone.client.transfer.compare import Extent, Kind

MAX_ROW_COUNT: Final = 32
"""Rows of a map, at most."""

LABEL_WIDTH: Final = 12
"""Columns in front of a row: the offset of its first cell, and two spaces."""

UNICODE_SHADES: Final = "·░▒▓█"
ASCII_SHADES: Final = ".-+*#"
"""Nothing differs; up to a quarter, half, three quarters, and more of the cell's blocks."""

_COLOURS: Final[Mapping[str, tuple[int, str]]] = {
    "changed": (33, "#d9a400"),
    "added": (32, "#2f9e44"),
    "removed": (31, "#d6336c"),
}
"""Of each kind: for a terminal, and for SVG."""

SVG_CELL_SIZE: Final = 10
SVG_COLUMN_COUNT: Final = 128


class ChangeMap:
    """Cells of equal size, as many as fit; extents are added one by one and not kept."""

    def __init__(self, block_count: int, column_count: int) -> None:
        """A map of a volume of `block_count` blocks, in rows of `column_count` cells."""
        self.block_count = block_count
        self.column_count = column_count
        self.cell_block_count = 1
        while self.cell_block_count * column_count * MAX_ROW_COUNT < block_count:
            self.cell_block_count *= 2
        self._cells: dict[int, dict[Kind, int]] = {}

    @property
    def cell_count(self) -> int:
        """Cells of the whole volume; the last one may be short."""
        return -(-self.block_count // self.cell_block_count)

    @property
    def cells(self) -> Mapping[int, Mapping[Kind, int]]:
        """For every cell in which something differs: how many blocks of each kind."""
        return self._cells

    def add(self, extent: Extent) -> None:
        """Enter an extent."""
        block_index, end = extent.block_index, extent.block_index + extent.block_count
        while block_index < end:
            cell = block_index // self.cell_block_count
            cell_end = min((cell + 1) * self.cell_block_count, end)
            counts = self._cells.setdefault(cell, {})
            counts[extent.kind] = counts.get(extent.kind, 0) + cell_end - block_index
            block_index = cell_end

    def lines(self, *, shades: str = UNICODE_SHADES, colour: bool = False) -> Iterator[str]:
        """The map as text; rows in which nothing differs are put together if they are many."""
        rows = range(-(-self.cell_count // self.column_count))
        for is_empty, group in groupby(rows, self._is_empty):
            alike = list(group)
            if is_empty and len(alike) > 2:
                yield f"{'...':>{LABEL_WIDTH - 2}}  {len(alike)} unchanged rows"
                continue
            for row in alike:
                yield self._row(row, shades, colour)
        yield self._legend(shades, colour)

    def svg(self, title: str) -> Iterator[str]:
        """The map as lines of SVG: a square for each cell in which something differs, with its counts as a tooltip."""
        width = self.column_count * SVG_CELL_SIZE
        height = -(-self.cell_count // self.column_count) * SVG_CELL_SIZE
        yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
        yield f"<title>{title}</title>"
        yield f'<rect width="{width}" height="{height}" fill="#eeeeee"/>'
        for cell in sorted(self._cells):
            x, y = cell % self.column_count * SVG_CELL_SIZE, cell // self.column_count * SVG_CELL_SIZE
            said = ", ".join(f"{count} {kind}" for kind, count in sorted(self._cells[cell].items()))
            yield (
                f'<rect x="{x}" y="{y}" width="{SVG_CELL_SIZE - 1}" height="{SVG_CELL_SIZE - 1}" '
                f'fill="{_COLOURS[self._kind(cell)][1]}" fill-opacity="{0.25 + 0.75 * self._share(cell):.2f}">'
                f"<title>from {binary(cell * self.cell_block_count * BLOCK_SIZE)}: {said}</title></rect>"
            )
        yield "</svg>"

    def _is_empty(self, row: int) -> bool:
        return not any(cell in self._cells for cell in self._cells_of(row))

    def _cells_of(self, row: int) -> range:
        return range(row * self.column_count, min((row + 1) * self.column_count, self.cell_count))

    def _row(self, row: int, shades: str, colour: bool) -> str:
        offset = row * self.column_count * self.cell_block_count * BLOCK_SIZE
        text = ""
        for code, cells in groupby(self._cells_of(row), lambda cell: self._code(cell) if colour else 0):
            run = "".join(self._shade(cell, shades) for cell in cells)
            text += f"\x1b[{code}m{run}\x1b[0m" if code else run
        return f"{binary(offset):>{LABEL_WIDTH - 2}}  {text}"

    def _legend(self, shades: str, colour: bool) -> str:
        """The size of a cell, and the meaning of shades and colours."""
        shares = zip(shades[1:], ("25", "50", "75", "100"), strict=True)
        said = ", ".join(f"{shade} to {percent}" for shade, percent in shares)
        text = f"a cell is {binary(self.cell_block_count * BLOCK_SIZE)}: {shades[0]} none, {said} % of blocks differ"
        if colour:
            text += "; " + ", ".join(f"\x1b[{code}m{kind}\x1b[0m" for kind, (code, _) in _COLOURS.items())
        return text

    def _share(self, cell: int) -> float:
        """The fraction of a cell's blocks that differ."""
        size = min(self.cell_block_count, self.block_count - cell * self.cell_block_count)
        return sum(self._cells.get(cell, {}).values()) / max(size, 1)

    def _shade(self, cell: int, shades: str) -> str:
        share = self._share(cell)
        return shades[0] if not share else shades[min(int(share * 4 - 1e-9), 3) + 1]

    def _kind(self, cell: int) -> str:
        """The most frequent kind of difference in a cell."""
        return max(sorted(self._cells[cell].items()), key=lambda item: item[1])[0]

    def _code(self, cell: int) -> int:
        return _COLOURS[self._kind(cell)][0] if cell in self._cells else 0


def columns_for(width: int) -> int:
    """Cells per row on a terminal of `width` columns: a power of two, so that rows begin at round offsets."""
    columns = 16
    while columns * 2 + LABEL_WIDTH <= width:
        columns *= 2
    return columns
