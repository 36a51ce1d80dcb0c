"""`snapstone serve`: one process that serves, or a parent that starts several and keeps them running.

Workers are fresh interpreters that accept on one shared socket: nothing is forked from a process that has threads.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from snapstone.server.binding import bind, endpoint_of
from snapstone.server.config import Settings
from snapstone.server.data_folder import DataFolder, RunningServer, use_data_folder
from snapstone.server.room import make_room, require_room
from snapstone.server.root_key import ensure_root_key
from snapstone.server.stop_signals import StopSignals

FIRST_RESTART_SECONDS: Final = 0.5
"""Pause before a worker that ended by itself is started again; doubled each time it ends soon after."""

LONGEST_RESTART_SECONDS: Final = 30.0

SOUND_SECONDS: Final = 60.0
"""A worker that has lived so long is sound: its next restart is prompt again."""

START_POLL_SECONDS: Final = 0.05

KILL_MARGIN_SECONDS: Final = 15.0
"""Past the grace, a worker has so long to close its files before it is killed."""

_log = logging.getLogger(__name__)


class WorkerFailedError(Exception):
    """A worker ended before it was ready; its log says why."""


def serve(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; calls `on_ready` with the endpoint once requests are answered.

    Raises SettingsError, DataFolderError and WorkerFailedError where it cannot begin.
    """
    with use_data_folder(settings.data) as folder, bind(settings) as listening:
        if not settings.read_only:
            require_room(make_room(folder))
        ensure_root_key(settings, folder)
        _prepare_catalog(settings, folder)
        endpoint = endpoint_of(listening)

        def announce() -> None:
            folder.announce(RunningServer(endpoint, os.getpid(), settings.region))
            _log.info(
                "ready", extra={"fields": {"endpoint": endpoint, "pid": os.getpid(), "workers": settings.workers}}
            )
            on_ready(endpoint)

        try:
            if settings.workers == 1:
                _serve_here(settings, listening, announce)
            else:
                _serve_by_workers(settings, listening, announce)
        finally:
            folder.withdraw()


@dataclass(slots=True)
class _Place:
    """Where one worker runs, or will again."""

    processor: int | None = None
    """The one that it is kept on."""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    pause_seconds: float = FIRST_RESTART_SECONDS


@dataclass(slots=True)
class Crew:
    """The workers on one listening socket, for the parent's main thread."""

    settings: Settings
    listening: socket.socket
    _places: list[_Place] = field(default_factory=list)
    _lifeline: tuple[int, int] = field(default_factory=os.pipe)

    def start(self) -> None:
        """Start all workers and wait until each is ready. Raises WorkerFailedError where one ends first."""
        ready, report = os.pipe()
        try:
            for processor in processors_for(self.settings):
                place = _Place(processor)
                self._places.append(place)
                self._start(place, report)
            self._await_reports(ready)
        finally:
            os.close(ready)
            os.close(report)

    def restart_fallen(self) -> float | None:
        """Note workers that have ended, start again whose pause is over; returns seconds until the next restart."""
        now = monotonic()
        for place in self._places:
            if place.process is not None and place.process.poll() is not None:
                self._note_end(place, place.process, now)
            if place.process is None and place.restart_at <= now:
                self._start(place)
        pauses = [place.restart_at - now for place in self._places if place.process is None]
        return min(pauses, default=None)

    def stop(self) -> None:
        """Ask all workers to stop and wait for them; kill those that do not."""
        running = [place.process for place in self._places if place.process is not None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = monotonic() + self.settings.stop_grace_seconds + KILL_MARGIN_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - monotonic()))
            except subprocess.TimeoutExpired:
                _log.error("worker killed: it did not stop", extra={"fields": {"pid": process.pid}})
                process.kill()
                process.wait()
        for descriptor in self._lifeline:
            os.close(descriptor)

    def _start(self, place: _Place, *report: int) -> None:
        descriptors = (self.listening.fileno(), self._lifeline[0], *report)
        place.started_at = monotonic()
        place.process = subprocess.Popen(
            [sys.executable, *_path_options(), "-m", "snapstone.server.worker", *map(str, descriptors)],
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
            env={**os.environ, **self.settings.as_environment()},
            process_group=0,  # A Ctrl-C reaches the parent alone, which passes it on once.
        )
        if place.processor is not None:
            # The new process has one thread yet: those that it makes later stay there too.
            with suppress(OSError):  # It has ended already, or the processor has gone: neither is worth failing for.
                os.sched_setaffinity(place.process.pid, {place.processor})

    def _await_reports(self, ready: int) -> None:
        missing = len(self._places)
        while missing:
            if select.select([ready], [], [], START_POLL_SECONDS)[0]:
                missing -= len(os.read(ready, missing))
            for place in self._places:
                if place.process is not None and place.process.poll() is not None:
                    raise WorkerFailedError(f"a worker ended at its start with status {place.process.returncode}")

    def _note_end(self, place: _Place, process: subprocess.Popen[bytes], now: float) -> None:
        if now - place.started_at >= SOUND_SECONDS:
            place.pause_seconds = FIRST_RESTART_SECONDS
        facts = {"pid": process.pid, "exit_status": process.returncode, "restart_in_seconds": place.pause_seconds}
        _log.error("worker ended", extra={"fields": facts})
        place.process = None
        place.restart_at = now + place.pause_seconds
        place.pause_seconds = min(place.pause_seconds * 2, LONGEST_RESTART_SECONDS)


def processors_for(settings: Settings) -> list[int | None]:
    """For each worker the processor that it is kept on; None where it may run anywhere.

    One Python thread runs at a time in a process, and handing over between threads on different processors costs more
    than it gains (decision 9). With more workers than processors nothing is pinned.
    """
    processors = sorted(os.sched_getaffinity(0))
    if settings.pin_workers == "off" or not 1 < settings.workers <= len(processors):
        return [None] * settings.workers
    return [*processors[: settings.workers]]


def _serve_here(settings: Settings, listening: socket.socket, announce: Callable[[], None]) -> None:
    from snapstone.server.worker import run_worker  # The parent of workers has no use for all that it imports.

    run_worker(settings, listening, announce)


def _serve_by_workers(settings: Settings, listening: socket.socket, announce: Callable[[], None]) -> None:
    crew = Crew(settings, listening)
    try:
        crew.start()
        signals = StopSignals()
        announce()
        while not signals.wait(crew.restart_fallen()):
            pass
        listening.close()
    finally:
        crew.stop()


def _prepare_catalog(settings: Settings, folder: DataFolder) -> None:
    """Done before workers start; what it takes is loaded only now, and not for a mere look at this module."""
    from snapstone.server.preparation import prepare_catalog

    prepare_catalog(settings, folder)


def _path_options() -> list[str]:
    """A worker looks for modules in the current folder only where this process does."""
    return [] if {"", os.getcwd()} & set(sys.path) else ["-P"]
