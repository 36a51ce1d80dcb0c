"""The reporter: results, its thread, and signals."""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from snapstone.cli.progress import ProgressView, Quiet
from snapstone.cli.reporting import Reporter, report_options, reporting
from snapstone.client.events import Note, Tally

WAIT_SECONDS = 30.0


class Watched(Quiet):
    """A display that remembers, and says when it was asked."""

    def __init__(self, interval: float | None = None) -> None:
        self.interval = interval
        self.calls: list[tuple[str, int]] = []
        self.shown = threading.Event()

    def progress(self, looks: Sequence[ProgressView]) -> None:
        self.calls.append(("progress", len(looks)))
        self.shown.set()

    def asked(self, looks: Sequence[ProgressView]) -> None:
        self.calls.append(("asked", len(looks)))
        self.shown.set()

    def end(self, look: ProgressView) -> None:
        self.calls.append(("end", look.visited_count))


def options_of(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    report_options(parser)
    return parser.parse_args(arguments)


def test_progress_is_shown_from_time_to_time_while_there_is_work() -> None:
    display = Watched(interval=0.001)
    reporter = Reporter(display)
    reporter.start()
    reporter.begin(Tally("upload"))
    assert display.shown.wait(WAIT_SECONDS)
    reporter.stop()
    assert ("progress", 1) in display.calls


def test_progress_is_not_shown_before_its_time() -> None:
    display = Watched(interval=1000.0)
    reporter = Reporter(display)
    reporter.start()
    reporter.begin(Tally("upload"))
    reporter.ask()
    assert display.shown.wait(WAIT_SECONDS)
    reporter.stop()
    assert display.calls == [("asked", 1), ("end", 0)]


def test_nothing_is_shown_where_there_is_no_work() -> None:
    display = Watched(interval=0.001)
    reporter = Reporter(display)
    reporter.start()
    threading.Event().wait(0.05)
    reporter.stop()
    assert display.calls == []


def test_asking_shows_all_work_at_once() -> None:
    display = Watched()
    reporter = Reporter(display)
    reporter.start()
    reporter.begin(Tally("copy"))
    reporter.begin(Tally("verify"))
    reporter.ask()
    assert display.shown.wait(WAIT_SECONDS)
    reporter.stop()
    assert display.calls[0] == ("asked", 2)


def test_the_last_look_at_work_has_every_block() -> None:
    display = Watched()
    reporter = Reporter(display)
    tally = Tally("upload")
    reporter.begin(tally)
    with ThreadPoolExecutor(8) as executor:
        for _ in range(800):
            executor.submit(tally.add, moved=1)
    reporter.end(tally)
    reporter.end(tally)
    assert display.calls == [("end", 800)]


def test_work_that_was_cut_off_ends_with_the_reporter() -> None:
    display = Watched()
    reporter = Reporter(display)
    reporter.start()
    reporter.begin(Tally("upload"))
    reporter.stop()
    assert display.calls == [("end", 0)]


def test_notes_from_many_threads_are_whole_lines(capfd: pytest.CaptureFixture[str]) -> None:
    with reporting(options_of()) as reporter, ThreadPoolExecutor(8) as executor:
        for number in range(200):
            executor.submit(reporter.note, Note("plan", f"note {number:03} " + "x" * 80))
    lines = capfd.readouterr().err.splitlines()
    assert sorted(lines) == [f"note {number:03} " + "x" * 80 for number in range(200)]


def test_a_result_is_text_or_with_json_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(options_of()) as reporter:
        reporter.result("snap-1", {"snapshot_id": "snap-1"})
        reporter.result("", {"snapshot_id": "snap-1"})
        reporter.result_aside({"size": 1})
    assert capsys.readouterr() == ("snap-1\n", "")
    with reporting(options_of("--json")) as reporter:
        reporter.result("snap-1", {"snapshot_id": "snap-1"})
        reporter.result_aside({"size": 1})
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"snapshot_id": "snap-1"}
    assert json.loads(printed.err) == {"event": "result", "size": 1}


@pytest.mark.parametrize("arguments", [[], ["--quiet"], ["--json"]])
def test_sigusr1_shows_progress_in_each_mode(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with reporting(options_of(*arguments)) as reporter:
        tally = Tally("upload")
        tally.expected_count = 4
        reporter.begin(tally)
        tally.add(moved=2)
        os.kill(os.getpid(), signal.SIGUSR1)
    shown = capfd.readouterr().err
    assert '"visited_count": 2' in shown if arguments == ["--json"] else "2/4 blocks" in shown


def test_sigterm_acts_as_ctrl_c_does_and_only_inside() -> None:
    former = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)

    def work() -> None:
        with reporting(options_of("--quiet")):
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(WAIT_SECONDS)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)) == former


def test_reporting_works_outside_the_main_thread() -> None:
    def report() -> str:
        with reporting(options_of("--quiet")) as reporter:
            reporter.begin(Tally("upload"))
        return "done"

    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(report).result(WAIT_SECONDS) == "done"
