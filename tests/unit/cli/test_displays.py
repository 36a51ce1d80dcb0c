"""What is shown if there is no terminal."""

from __future__ import annotations

import json
import sys
from io import StringIO
from typing import Any

import pytest

from snapstone.cli.progress import Display, JsonLines, Meter, Plain, Quiet
from snapstone.client.events import Note, Tally


def show_everything(display: Display) -> None:
    """What happens in an upload, as the display is told it."""
    tally = Tally("upload")
    tally.expected_count = 2
    look = Meter(tally, lambda: 0.0).look()
    display.note(Note("plan", "full upload (no --parent given)", {"upload": "full"}))
    display.begin(look)
    display.progress([look])
    display.note(Note("warning", "slow"))
    display.note(Note("unfinished", "run the same command to resume"))
    display.end(look)


def test_plain_lines_are_notes_progress_and_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    show_everything(Plain())
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "full upload (no --parent given)",
        "upload 0%: 0/2 blocks, 0 B/s",
        "warning: slow",
        "run the same command to resume",
        "upload: 0 of 2 blocks in 0.0 s, 0 sent (0 B)",
    ]


def test_quiet_leaves_what_goes_with_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert Quiet().interval is None
    show_everything(Quiet())
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["upload 0%: 0/2 blocks, 0 B/s", "run the same command to resume"]  # the first as by a signal


def test_quiet_answers_a_signal(capsys: pytest.CaptureFixture[str]) -> None:
    Quiet().asked([Meter(Tally("upload"), lambda: 0.0).look()])
    assert capsys.readouterr().err == "upload: 0 blocks, 0 B/s\n"
    Quiet().asked([])
    assert capsys.readouterr().err == "no transfer in progress\n"


def test_json_answers_a_signal(capsys: pytest.CaptureFixture[str]) -> None:
    JsonLines().asked([Meter(Tally("upload"), lambda: 0.0).look()])
    assert json.loads(capsys.readouterr().err)["event"] == "progress"
    JsonLines().asked([])
    assert json.loads(capsys.readouterr().err) == {"event": "idle"}


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_everything(JsonLines())
    events: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["event"] for event in events] == ["plan", "begin", "progress", "warning", "unfinished", "end"]
    assert events[0] == {"event": "plan", "message": "full upload (no --parent given)", "upload": "full"}
    assert events[2] == {
        "event": "progress",
        "what": "upload",
        "seconds": 0.0,
        "visited_count": 0,
        "expected_count": 2,
        "moved_count": 0,
        "zero_count": 0,
        "unchanged_count": 0,
        "resumed_count": 0,
        "bytes_per_second": 0,
        "eta_seconds": None,
    }


class Gone(StringIO):
    """A standard error whose reader went away."""

    tries = 0

    def write(self, text: str) -> int:
        self.tries += 1
        raise BrokenPipeError


def test_standard_error_that_is_gone_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Gone()
    monkeypatch.setattr(sys, "stderr", gone)
    show_everything(Plain())
    assert gone.tries == 5
