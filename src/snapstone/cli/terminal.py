"""Progress on a terminal: a bar, and lines above it. Imports rich, so import it late."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from snapstone.cli.progress import ProgressView, line_of, line_of_note, summary_of
from snapstone.cli.quantities import binary, elapsed

if TYPE_CHECKING:
    from snapstone.client.events import Note

FRAME_SECONDS: Final = 0.125
WIDEST_BAR: Final = 40
NARROWEST_BAR: Final = 8


class Terminal:
    """A bar for each piece of work, replaced by a summary at the end."""

    interval: float | None = FRAME_SECONDS

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._work_count = 0

    def begin(self, look: ProgressView) -> None:
        """The bar appears."""
        self._work_count += 1
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
            with contextlib.suppress(OSError):
                self._live.start()
        self.progress([look])

    def progress(self, looks: Sequence[ProgressView]) -> None:
        """The bar moves."""
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.update(Group(*(_picture(look, self._console.width) for look in looks)), refresh=True)

    def asked(self, looks: Sequence[ProgressView]) -> None:
        """A line that stays, above the bar."""
        for look in looks:
            self._print(line_of(look))
        if not looks:
            self._print("no transfer in progress")

    def note(self, note: Note) -> None:
        """A line above the bar."""
        self._print(line_of_note(note), "yellow" if note.kind == "warning" else "")

    def end(self, look: ProgressView) -> None:
        """The bar disappears; the summary stays."""
        self._work_count -= 1
        if self._work_count == 0 and self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None
        self._print(summary_of(look))

    def _print(self, line: str, style: str = "") -> None:
        with contextlib.suppress(OSError):
            self._console.print(Text(line, style=style), soft_wrap=True)


def _picture(look: ProgressView, width: int) -> RenderableType:
    """Name, bar, share, blocks, rate, time left; below it what was skipped. Narrow terminals show less."""
    whole = look.expected_count
    share = "" if not whole else f"{min(look.visited_count * 100 // whole, 100)}%"
    left = "" if look.eta_seconds is None else f"{elapsed(look.eta_seconds)} left"
    words = [
        Text(f"{share:>4}"),
        Text(look.blocks),
        Text(f"{binary(look.bytes_per_second) + '/s':>13}", style="green"),
        Text(f"{left:>12}", style="cyan"),
    ]
    space = width - len(look.what) - sum(len(word) + 1 for word in words) - 2
    if space < 0:
        del words[1]
    bar = ProgressBar(
        total=whole or 1,
        completed=look.visited_count if whole else 0,
        width=max(min(space, WIDEST_BAR), 1),
        pulse=whole is None,
        complete_style="cyan",
        finished_style="green",
    )
    row: list[RenderableType] = [Text(look.what, style="bold"), *([bar] if space >= NARROWEST_BAR else []), *words]
    grid = Table.grid(padding=(0, 1))
    for _ in row:
        grid.add_column(no_wrap=True)
    grid.add_row(*row)
    if not look.skipped:
        return grid
    return Group(grid, Text(f"{' ' * len(look.what)} skipped {look.skipped}", style="dim", no_wrap=True))
