"""What a terminal shows, by a console of rich's that writes into memory."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console

from snapstone.cli.progress import Meter, ProgressView
from snapstone.cli.terminal import Terminal
from snapstone.client.events import Note, Tally

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def look_half_way(expected_count: int | None = 4096) -> ProgressView:
    tally, clock = Tally("upload"), Clock()
    tally.expected_count = expected_count
    meter = Meter(tally, clock)
    clock.now = 4.0
    tally.add(moved=1024, zero=1024)
    return meter.look()


def frame(width: int, look: ProgressView) -> list[str]:
    """The lines of the last picture of the bar."""
    written = StringIO()
    display = Terminal(Console(file=written, force_terminal=True, width=width, height=20, highlight=False))
    display.begin(look)
    shown = ESCAPES.sub("", written.getvalue())
    display.end(look)
    return [line.rstrip() for line in shown.splitlines() if line.strip()]


def test_a_bar_has_share_blocks_rate_time_left_and_what_was_skipped() -> None:
    bar, skipped = frame(120, look_half_way())
    assert re.fullmatch(r"upload [━╸╺]{40}  50% 2,048/4,096 blocks +128\.0 MiB/s +4\.0 s left", bar)
    assert skipped == "       skipped 1,024 zero"


@pytest.mark.parametrize("width", [30, 45, 50, 60, 70, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for line in frame(width, look_half_way()):
        assert len(line) <= width


def test_a_narrow_terminal_keeps_share_and_rate() -> None:
    bar, _ = frame(50, look_half_way())
    assert bar.split() == ["upload", "50%", "128.0", "MiB/s", "4.0", "s", "left"]


def test_a_whole_that_is_not_known_has_no_share() -> None:
    bar, _ = frame(120, look_half_way(None))
    assert "%" not in bar
    assert "left" not in bar
    assert "2,048 blocks" in bar


def test_the_bar_stays_until_the_last_work_is_over() -> None:
    written = StringIO()
    display = Terminal(Console(file=written, force_terminal=True, width=120, highlight=False))
    look = look_half_way()
    display.begin(look)
    display.begin(look)
    display.end(look)
    written.truncate(0)
    display.progress([look])
    assert "━" in written.getvalue()
    display.end(look)
    written.truncate(0)
    display.progress([look])
    assert "━" not in written.getvalue()


def test_notes_and_the_summary_stay_and_brackets_are_no_markup() -> None:
    written = StringIO()
    display = Terminal(Console(file=written, force_terminal=True, width=60, highlight=False))
    look = look_half_way()
    display.note(Note("plan", "full upload [x]"))
    display.begin(look)
    display.note(Note("warning", "slow"))
    display.asked([look])
    display.end(look)
    display.asked([])
    lines = ESCAPES.sub("", written.getvalue()).splitlines()
    assert "full upload [x]" in lines
    assert "warning: slow" in lines
    assert any(line.startswith("upload 50%: 2,048/4,096 blocks") for line in lines)
    assert lines[-1] == "no transfer in progress"
    assert any(line.startswith("upload: 2,048 of 4,096 blocks in 4.0 s") for line in lines)
