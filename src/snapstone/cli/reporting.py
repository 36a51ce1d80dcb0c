"""Progress and messages on standard error, results on standard output."""

from __future__ import annotations

import argparse
import json
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

from snapstone.cli.progress import Display, JsonLines, Meter, Plain, ProgressView, Quiet, write_event

if TYPE_CHECKING:
    from types import FrameType

    from snapstone.client.events import Note, Tally

_ASKED: Final = "asked"
_OVER: Final = "over"


def report_options(parser: argparse.ArgumentParser) -> None:
    """Add options for verbosity and format."""
    group = parser.add_argument_group("messages")
    group.add_argument("--quiet", action="store_true", help="print only the result and errors")
    group.add_argument(
        "--json", action="store_true", help="print the result, progress, notes and errors as JSON, one object per line"
    )
    parser.set_defaults(json_errors=True)


class Reporter:
    """An Observer that displays progress and notes. Its own thread samples the tallies periodically."""

    def __init__(self, display: Display, as_json: bool = False) -> None:
        self._display = display
        self._as_json = as_json
        self._lock = threading.Lock()
        self._meters: list[Meter] = []
        # A signal handler may put to a SimpleQueue at any moment; an Event is not reentrant.
        self._calls: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._watch = threading.Thread(target=self._run, name="progress", daemon=True)

    def begin(self, tally: Tally) -> None:
        """Work begins."""
        with self._lock:
            meter = Meter(tally)
            self._meters.append(meter)
            self._display.begin(meter.look())

    def note(self, note: Note) -> None:
        """Something worth a line."""
        with self._lock:
            self._display.note(note)

    def say(self, kind: str, message: str, facts: Mapping[str, object]) -> None:
        """A note of the command's own."""
        from snapstone.client.events import Note

        self.note(Note(kind, message, facts))

    def end(self, tally: Tally) -> None:
        """Work has ended."""
        with self._lock:
            for meter in [meter for meter in self._meters if meter.tally is tally]:
                self._meters.remove(meter)
                self._display.end(meter.look())

    def result(self, text: str, facts: Mapping[str, object]) -> None:
        """The result on standard output: `text`, which may be empty, or with --json one JSON object."""
        line = json.dumps(facts, default=str) if self._as_json else text
        if line:
            print(line, flush=True)

    def result_aside(self, facts: Mapping[str, object]) -> None:
        """The result as an event, with --json, if standard output carries the image itself."""
        if self._as_json:
            with self._lock:
                write_event("result", facts)

    def ask(self) -> None:
        """Show progress at once; safe to call from a signal handler."""
        self._calls.put(_ASKED)

    def start(self) -> None:
        """Start sampling."""
        self._watch.start()

    def stop(self) -> None:
        """Stop sampling, and end unfinished work: a terminal gets its cursor back."""
        self._calls.put(_OVER)
        self._watch.join()
        with self._lock:
            while self._meters:
                self._display.end(self._meters.pop().look())

    def _run(self) -> None:
        interval = self._display.interval
        due = monotonic() + (interval or 0.0)
        while True:
            try:
                call = self._calls.get(timeout=None if interval is None else max(0.0, due - monotonic()))
            except queue.Empty:
                call = ""
                due = monotonic() + (interval or 0.0)
            if call == _OVER:
                return
            with self._lock:
                looks: list[ProgressView] = [meter.look() for meter in self._meters]
                if call == _ASKED:
                    self._display.asked(looks)
                elif looks:
                    self._display.progress(looks)


@contextmanager
def reporting(options: argparse.Namespace) -> Iterator[Reporter]:
    """A reporter configured by the options. Until the block ends SIGUSR1 shows progress, and SIGTERM acts as Ctrl-C."""
    reporter = Reporter(_display(options), as_json=options.json)
    reporter.start()
    try:
        with _signals(reporter):
            yield reporter
    finally:
        reporter.stop()


def _display(options: argparse.Namespace) -> Display:
    if options.quiet:
        return Quiet()
    if options.json:
        return JsonLines()
    if sys.stderr.isatty():
        from snapstone.cli.terminal import Terminal

        return Terminal()
    return Plain()


@contextmanager
def _signals(reporter: Reporter) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {
        signal.SIGUSR1: signal.signal(signal.SIGUSR1, lambda *_: reporter.ask()),
        signal.SIGTERM: signal.signal(signal.SIGTERM, _interrupt),
    }
    try:
        yield
    finally:
        for number, action in former.items():
            signal.signal(number, action)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
