"""Rows of text on standard output: an aligned table on a terminal, tab-separated otherwise."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence


def printable(text: str) -> str:
    """The text with control characters escaped: a tag must not control the terminal that shows it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """A message, which may quote an endpoint's answer, as one line."""
    return printable(" ".join(line.strip() for line in text.strip().splitlines()))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, whole: bool = False) -> None:
    """Print the rows; on a terminal, long lines are cut unless `whole`."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in cells:
            print("\t".join(row))
        return
    for line in aligned([list(head), *cells], None if whole else shutil.get_terminal_size().columns):
        print(line)


def aligned(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The rows as lines of at most `width` columns, in two spaces between cells."""
    from rich.cells import cell_len, set_cell_size

    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)]
        line = "  ".join(cells).rstrip()
        if width is not None and cell_len(line) > width:
            line = set_cell_size(line, width - 1).rstrip() + "…"
        lines.append(line)
    return lines


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """One line for each fact, after its name; values below each other."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        print(f"{name + ':':<{width + 1}}  {printable(value)}".rstrip())
