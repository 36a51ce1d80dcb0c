"""`snapstone diff`: compare two snapshots, or a snapshot and an image."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snapstone.cli import quantities
from snapstone.cli.outcome import CommandError, Exit
from snapstone.cli.remote import add_command, endpoint_options, open_service, transfer_options
from snapstone.cli.reporting import report_options, reporting
from snapstone.cli.snapshot_arguments import complete, snapshot_argument
from snapstone.core.blocks import BLOCK_SIZE

if TYPE_CHECKING:
    from snapstone.cli.change_map import ChangeMap
    from snapstone.cli.reporting import Reporter
    from snapstone.client.api.service import Service
    from snapstone.client.events import Observer
    from snapstone.client.transfer.compare import Difference, Extent, Totals

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

WIDTH_OF_NO_TERMINAL: Final = 80

_DESCRIPTION: Final = """\
Compare two snapshots of one lineage, or a snapshot and a local image.

Two snapshots are compared by what the endpoint lists: AWS lists every block that was rewritten, even with the same
bytes. --exact reads the listed blocks of both sides and compares their bytes. An image is always compared by its bytes:
with the snapshot's digest index if there is a local one (every upload leaves one), otherwise, and with --exact, by
reading the snapshot's blocks.

A block is added if the first side has zeros or nothing, removed if the second does, and changed otherwise.
"""


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(subparsers, "diff", "compare two snapshots, or a snapshot with an image", run, _DESCRIPTION)
    snapshot_argument(parser, "first", "snapshot to compare from")
    second = parser.add_argument("second", metavar="SNAP|IMAGE", help="snapshot, file, block device, or - for a stream")
    vars(second)["completer"] = complete
    shape = parser.add_mutually_exclusive_group()
    for name, text in (
        ("summary", "how many blocks differ, and where (default)"),
        ("list", "each range that differs: offset, length, kind"),
        ("map", "a map of the volume"),
    ):
        shape.add_argument(f"--{name}", dest="shape", action="store_const", const=name, help=text)
    parser.add_argument("--svg", metavar="FILE", type=Path, help="also write the map to a file, as SVG")
    parser.add_argument("--exact", action="store_true", help="compare bytes instead of lists and indexes")
    parser.add_argument("--exit-code", action="store_true", help="exit with code 9 if something differs")
    parser.add_argument(
        "--format", metavar="FORMAT", help="format of the image: raw, qcow2, vmdk, ... (default: auto-detect)"
    )
    parser.add_argument("--size", metavar="SIZE", type=quantities.size, help="size of a stream")
    parser.set_defaults(shape="summary")
    endpoint_options(parser)
    transfer_options(parser)
    report_options(parser)


def run(options: argparse.Namespace) -> Exit:
    """Compare; prints what differs."""
    from snapstone.client.events import NullObserver
    from snapstone.client.transfer.compare import Totals, extents

    with reporting(options) as reporter, open_service(options, reporter) as service:
        # Progress would be drawn over the list on the same terminal.
        observer: Observer = NullObserver() if options.shape == "list" and sys.stdout.isatty() else reporter
        with _compared(options, service, observer) as (block_count, differences):
            change_map, totals = _empty_map(options, block_count), Totals()
            for extent in extents(differences):
                totals.add(extent)
                if change_map is not None:
                    change_map.add(extent)
                if options.shape == "list":
                    reporter.result(f"{extent.offset}\t{extent.length}\t{extent.kind}", _facts_of_extent(extent))
        _show(options, reporter, totals, change_map, block_count)
    return Exit.DIFFERENT if options.exit_code and totals.block_count else Exit.DONE


@contextmanager
def _compared(
    options: argparse.Namespace, service: Service, observer: Observer
) -> Iterator[tuple[int, Iterable[Difference]]]:
    """The block count of the volume, and the differences, computed lazily."""
    from snapstone.client.transfer.compare import diff_snapshots
    from snapstone.core.ids import is_minted_snapshot_id

    if is_minted_snapshot_id(options.second):
        block_count = service.volume_size_gib(options.second) * 2_048
        yield (
            block_count,
            diff_snapshots(service, options.first, options.second, exact=options.exact, observer=observer),
        )
        return
    with _compared_image(options, service, observer) as compared:
        yield compared


@contextmanager
def _compared_image(
    options: argparse.Namespace, service: Service, observer: Observer
) -> Iterator[tuple[int, Iterable[Difference]]]:
    from snapstone.client.images.block_file import block_count_of
    from snapstone.client.images.sources import open_source
    from snapstone.client.transfer.compare import diff_image
    from snapstone.client.transfer.folders import Folders
    from snapstone.client.transfer.parent import find_parent
    from snapstone.client.transfer.pipeline import StopSignal
    from snapstone.core.blocks import BLOCKS_PER_GIB

    source = open_source(options.second, format=options.format, size=options.size)
    index = None
    try:
        if not options.exact:
            index = find_parent(service, options.first, Folders.standard(), may_read=False, stop=StopSignal()).table
        block_count = max(service.volume_size_gib(options.first) * BLOCKS_PER_GIB, block_count_of(source.size))
        yield block_count, diff_image(service, options.first, source, index=index, observer=observer)
    finally:
        source.close()
        if index is not None:
            index.close()


def _empty_map(options: argparse.Namespace, block_count: int) -> ChangeMap | None:
    from snapstone.cli.change_map import SVG_COLUMN_COUNT, ChangeMap, columns_for

    if options.shape == "map":
        width = shutil.get_terminal_size((WIDTH_OF_NO_TERMINAL, 0)).columns if sys.stdout.isatty() else None
        return ChangeMap(block_count, columns_for(width or WIDTH_OF_NO_TERMINAL))
    return ChangeMap(block_count, SVG_COLUMN_COUNT) if options.svg is not None else None


def _show(
    options: argparse.Namespace, reporter: Reporter, totals: Totals, change_map: ChangeMap | None, block_count: int
) -> None:
    """Show the results that were not printed along the way."""
    if options.svg is not None and change_map is not None:
        _write_svg(options, change_map)
    facts = _facts_of_totals(totals, block_count)
    if options.shape == "map" and change_map is not None:
        text = "\n".join([*_map_lines(change_map), _one_line(totals, block_count)])
        reporter.result(text, {**facts, **_facts_of_map(change_map)})
    elif options.shape == "summary":
        reporter.result(_summary(totals, block_count), facts)


def _map_lines(change_map: ChangeMap) -> Iterator[str]:
    """With colours if the terminal has them; in ASCII if the output encoding requires it."""
    from snapstone.cli.change_map import ASCII_SHADES, UNICODE_SHADES

    try:
        UNICODE_SHADES.encode(sys.stdout.encoding)
        shades = UNICODE_SHADES
    except UnicodeEncodeError:
        shades = ASCII_SHADES
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return change_map.lines(shades=shades, colour=not plain)


def _write_svg(options: argparse.Namespace, change_map: ChangeMap) -> None:
    from html import escape

    title = escape(f"{options.first} and {options.second}")
    try:
        options.svg.write_text("\n".join(change_map.svg(title)) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{options.svg} cannot be written: {error.strerror}", Exit.FAILED) from None


def _summary(totals: Totals, block_count: int) -> str:
    if not totals.block_count:
        return "nothing differs"
    lines = [f"{kind:8}{count:>12,} blocks  {_binary(count):>10}" for kind, count in _counts(totals).items()]
    first, last = totals.first_block_index or 0, totals.last_block_index or 0
    return "\n".join(
        [
            *lines,
            _one_line(totals, block_count),
            f"from byte {first * BLOCK_SIZE} (block {first}) to byte {(last + 1) * BLOCK_SIZE} (block {last})",
        ]
    )


def _one_line(totals: Totals, block_count: int) -> str:
    if not totals.block_count:
        return "nothing differs"
    share = 100 * totals.block_count / max(block_count, 1)
    return (
        f"{totals.block_count:,} of {block_count:,} blocks differ: {_binary(totals.block_count)} of "
        f"{_binary(block_count)}, {share:.3g} %, in {totals.extent_count:,} ranges"
    )


def _counts(totals: Totals) -> dict[str, int]:
    return {kind: totals.counts[kind] for kind in ("changed", "added", "removed")}


def _binary(block_count: int) -> str:
    return quantities.binary(block_count * BLOCK_SIZE)


def _facts_of_totals(totals: Totals, block_count: int) -> dict[str, object]:
    return {
        **{f"{kind}_count": count for kind, count in _counts(totals).items()},
        "differing_count": totals.block_count,
        "differing_bytes": totals.block_count * BLOCK_SIZE,
        "block_count": block_count,
        "range_count": totals.extent_count,
        "first_block_index": totals.first_block_index,
        "last_block_index": totals.last_block_index,
    }


def _facts_of_extent(extent: Extent) -> dict[str, object]:
    return {
        "offset": extent.offset,
        "length": extent.length,
        "kind": extent.kind,
        "block_index": extent.block_index,
        "block_count": extent.block_count,
    }


def _facts_of_map(change_map: ChangeMap) -> dict[str, object]:
    size = change_map.cell_block_count * BLOCK_SIZE
    cells = [{"offset": cell * size, **counts} for cell, counts in sorted(change_map.cells.items())]
    return {"cell_size": size, "cells": cells}
