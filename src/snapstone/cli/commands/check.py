"""`snapstone check`: check a data folder, report damage and the affected snapshots, and repair it."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from time import monotonic
from typing import TYPE_CHECKING, Final

from snapstone.cli.outcome import EXIT_CODES, CommandError, Exit
from snapstone.cli.quantities import counted

if TYPE_CHECKING:
    from snapstone.service.check.problems import CheckProblem, Counts

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

PROGRESS_SECONDS: Final = {True: 0.5, False: 30.0}
"""Interval between progress messages, on a terminal and elsewhere."""

_DESCRIPTION: Final = """\
Check everything in a data folder, with or without a running server: files and their modes, the root key and
credentials, the catalog row by row, every key, each snapshot's row against its manifest, and that every page and block
that a snapshot refers to exists. Exits with code 6 if it finds a problem that was not repaired.
"""


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "check",
        help="check a data folder for damage",
        description=_DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="DIR", help="data folder of the server [SNAPSTONE_DATA]")
    parser.add_argument("--repair", action="store_true", help="rewrite lost manifests and restore lost rows")
    parser.add_argument("--read-data", action="store_true", help="read every stored byte")
    parser.add_argument("--json", action="store_true", help="print problems as JSON, one object per line")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> Exit:
    """Print each problem as it is found, then a summary."""
    from snapstone.server.config import SettingsError, read_settings
    from snapstone.server.folder.check import CheckOptions, check_folder
    from snapstone.server.folder.data_folder import DataFolderError
    from snapstone.service.check.problems import Counts

    logging.disable(logging.CRITICAL)  # problems are printed here
    counts, found, left = Counts(), 0, 0
    progress = _Progress()
    try:
        settings = read_settings({"data": options.data})
        wanted = CheckOptions(options.repair, options.read_data)
        for problem in check_folder(settings, wanted, counts, progress):
            found += 1
            left += not problem.repaired
            progress.clear()
            print(_json(problem) if options.json else _text(problem), flush=True)
    except (SettingsError, DataFolderError) as error:
        raise CommandError(error.message, Exit.USAGE) from None
    progress.clear()
    print(_json_summary(counts, found, left) if options.json else _summary(counts, found, left))
    return Exit.DAMAGED if left else Exit.DONE


class _Progress:
    """Rate-limited progress on standard error."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._next = monotonic() + PROGRESS_SECONDS[self._on_terminal]
        self._shown = False

    def __call__(self, text: str) -> None:
        now = monotonic()
        if now < self._next:
            return
        self._next = now + PROGRESS_SECONDS[self._on_terminal]
        self._shown = self._on_terminal
        print(f"\r\033[K{text}" if self._on_terminal else text, end="" if self._on_terminal else "\n", file=sys.stderr)
        sys.stderr.flush()

    def clear(self) -> None:
        """Erase the progress line before other output."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._shown = False


def _text(problem: CheckProblem) -> str:
    """A problem in a few lines."""
    from snapstone.cli.tables import one_line

    lines = [f"{'repaired' if problem.repaired else 'DAMAGED'}  {problem.where}: {problem.what}"]
    affected = problem.affected
    if affected.count:
        more = affected.count - len(affected.snapshot_ids)
        lines.append(f"  affects: {', '.join(affected.snapshot_ids)}" + (f" and {more} more" if more else ""))
    if not problem.repaired:
        lines.append(f"  fix: {problem.remedy}")
    return "\n".join(one_line(line) for line in lines)


def _json(problem: CheckProblem) -> str:
    return json.dumps(
        {
            "where": problem.where,
            "what": problem.what,
            "remedy": problem.remedy,
            "snapshots": problem.affected.snapshot_ids,
            "snapshot_count": problem.affected.count,
            "repaired": problem.repaired,
        }
    )


def _summary(counts: Counts, found: int, left: int) -> str:
    looked_at = ", ".join((
        counted(counts.snapshots, "snapshot"), counted(counts.pages, "page"), counted(counts.blocks, "block")
    ))  # fmt: skip
    if counts.records:
        looked_at += f", {counted(counts.records, 'record')} read"
    if counts.hidden:
        looked_at += f"; {counted(counts.hidden, 'snapshot')} unreadable, because the KMS keys were destroyed"
    result = f"{counted(left, 'problem')} left, {found - left} repaired" if found else "no problems"
    return f"{result} ({looked_at})"


def _json_summary(counts: Counts, found: int, left: int) -> str:
    return json.dumps(
        {
            "problems": left,
            "repaired": found - left,
            "snapshots": counts.snapshots,
            "pages": counts.pages,
            "blocks": counts.blocks,
            "records": counts.records,
            "hidden_snapshots": counts.hidden,
        }
    )
