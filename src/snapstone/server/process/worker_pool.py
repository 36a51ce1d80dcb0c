"""The workers on one listening socket: started, listened to, killed if they hang, and replaced when they have ended.

A worker that cannot be made (no more processes, memory or descriptors) is retried after a growing pause, like one
that ends; the others serve meanwhile. A worker that is silent for HEARTBEAT_LIMIT_SECONDS is killed if it is stopped or
only waits: a lock that it holds would hold up all others. While it works, waits for a processor or for a disk it gets
BUSY_LIMIT_SECONDS, because under load it may be late, and killing it would not give it a processor.
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

from snapstone.server.config import Settings
from snapstone.server.folder.data_folder import StartRefusedError
from snapstone.server.process.worker_channel import Channel, Message, MessageKind, open_channel
from snapstone.system.processes import ProcessState, look_at

FIRST_RESTART_SECONDS: Final = 0.5
"""Pause before a worker that ended by itself is started again; doubled each time it ends soon after."""

LONGEST_RESTART_SECONDS: Final = 30.0

SOUND_SECONDS: Final = 60.0
"""A worker that has lived this long is healthy: its next restart is immediate again."""

START_POLL_SECONDS: Final = 0.05

LOOK_SECONDS: Final = 1.0
"""Between two checks of the workers."""

LATE_LOOK_SECONDS: Final = 3.0
"""A check this late means that this process did not run: no worker is blamed for that time."""

FIRST_BEAT_SECONDS: Final = 60.0
"""How long a new process may take to its first heartbeat. It holds no lock before."""

HEARTBEAT_LIMIT_SECONDS: Final = 10.0
"""How long a worker may be silent that does nothing."""

BUSY_LIMIT_SECONDS: Final = 60.0
"""How long a worker may be silent that works, or waits for a processor or a disk."""

KILL_MARGIN_SECONDS: Final = 15.0
"""Time after the grace period for a worker to close its files before it is killed."""

PROBLEM_SECONDS: Final = 15.0
"""A worker that is missing for this long is reported as a problem."""

_CANNOT_START: Final = (OSError, MemoryError, subprocess.SubprocessError)

_log = logging.getLogger(__name__)


class WorkerFailedError(Exception):
    """A worker could not be started, or ended before it was ready: the message says why."""


@dataclass(slots=True)
class _Slot:
    """Where one worker runs, or will again."""

    processor: int | None = None
    """The one that it is kept on."""
    process: subprocess.Popen[bytes] | None = None
    channel: Channel | None = None
    started_at: float = 0.0
    heard_at: float = 0.0
    """When the last message came; the start, until one has."""
    has_beaten: bool = False
    is_ready: bool = False
    state: ProcessState | None = None
    """At the last look, while it is silent."""
    is_killed: bool = False
    missing_since: float | None = None
    cause: str = ""
    """Why no worker runs here."""
    restart_at: float = 0.0
    pause_seconds: float = FIRST_RESTART_SECONDS


@dataclass(slots=True)
class WorkerPool:
    """For the supervisor's main thread alone."""

    settings: Settings
    listening: socket.socket
    obstacle: Callable[[], object | None] = lambda: None
    """Why no worker may be started now, as text, or None."""
    command: tuple[str, ...] = ()
    """The program of a worker, called with the descriptors of the socket and of its channel, and `worker_arguments`."""
    worker_arguments: tuple[str, ...] = ()
    _slots: list[_Slot] = field(default_factory=list)
    _looked_at: float = 0.0
    _is_started: bool = False
    """Whether all have been ready once."""
    _told: str | None = None

    def start(self) -> None:
        """Start all workers and wait until each is ready.

        Raises WorkerFailedError if one cannot be made or ends first, StartRefusedError if one refuses to start.
        """
        for processor in processors_for(self.settings):
            slot = _Slot(processor)
            self._slots.append(slot)
            try:
                self._start(slot)
            except _CANNOT_START as error:
                raise WorkerFailedError(f"cannot start a server process: {_sentence(error)}") from error
        self._await_ready()
        self._is_started, self._looked_at = True, monotonic()

    def look(self) -> float:
        """Read the workers' messages, kill those that hang, replace those that ended; returns seconds to the next."""
        now = monotonic()
        self._allow_for_own_pause(now)
        for slot in self._slots:
            self._hear(slot, now)
            if slot.process is not None and slot.process.poll() is not None:
                self._note_end(slot, slot.process, now)
            elif slot.process is not None:
                self._kill_if_silent(slot, now)
        for slot in self._slots:
            if slot.process is None and slot.restart_at <= now:
                self._try_to_start(slot, now)
        self._tell_problem(now)
        pauses = [slot.restart_at - now for slot in self._slots if slot.process is None]
        return max(0.0, min([LOOK_SECONDS, *pauses]))

    def stop(self) -> None:
        """Ask all workers to stop and wait for them; kill those that do not."""
        running = [slot.process for slot in self._slots if slot.process is not None]
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
        for slot in self._slots:
            self._close(slot)

    # -- starting --

    def _start(self, slot: _Slot) -> None:
        """Start one worker. Raises one of _CANNOT_START."""
        mine, other = open_channel()
        descriptors = (self.listening.fileno(), other.fileno())
        arguments = [*map(str, descriptors), *self.worker_arguments]
        try:
            process = subprocess.Popen(
                [*(self.command or worker_command()), *arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=descriptors,
                env={**os.environ, **self.settings.as_environment()},
                process_group=0,  # A Ctrl-C reaches the parent alone, which passes it on once.
            )
        except BaseException:
            mine.close()
            raise
        finally:
            other.close()
        slot.process, slot.channel = process, mine
        slot.started_at = slot.heard_at = monotonic()
        slot.has_beaten = slot.is_ready = slot.is_killed = False
        slot.state = None
        if slot.processor is not None:
            # The new process has one thread yet: those that it makes later stay there too.
            with suppress(OSError):  # It has ended already, or the processor has gone: neither is worth failing for.
                os.sched_setaffinity(process.pid, {slot.processor})

    def _try_to_start(self, slot: _Slot, now: float) -> None:
        """Start a worker in place of one that is gone; if that fails, plan another try."""
        found = self.obstacle()
        obstacle = str(found)
        if found is None:
            try:
                self._start(slot)
                return
            except _CANNOT_START as error:
                obstacle = f"a server process cannot be started: {_sentence(error)}"
        self._plan_restart(slot, now, obstacle)
        _log.error(
            "worker not started", extra={"fields": {"error": obstacle, "next_try_in_seconds": slot.restart_at - now}}
        )

    def _await_ready(self) -> None:
        while not all(slot.is_ready for slot in self._slots):
            channels = [slot.channel for slot in self._slots if slot.channel is not None and not slot.channel.is_closed]
            select.select(channels, [], [], START_POLL_SECONDS)
            now = monotonic()
            for slot in self._slots:
                self._hear(slot, now)
                if slot.process is not None and slot.process.poll() is not None:
                    self._hear(slot, now)  # What it said at its end.
                    status = f"a worker ended while starting with status {slot.process.returncode}; see the log"
                    raise WorkerFailedError(slot.cause or status)

    # -- listening --

    def _allow_for_own_pause(self, now: float) -> None:
        """Do not count time in which this process did not run either: stopped, starved or suspended."""
        pause = now - self._looked_at
        if pause > LATE_LOOK_SECONDS:
            for slot in self._slots:
                slot.heard_at += pause
        self._looked_at = now

    def _hear(self, slot: _Slot, now: float) -> None:
        if slot.channel is None:
            return
        for message in slot.channel.receive():
            slot.heard_at, slot.has_beaten, slot.state = now, True, None
            self._take(slot, message)

    def _take(self, slot: _Slot, message: Message) -> None:
        if message.kind is MessageKind.READY:
            slot.is_ready, slot.missing_since, slot.cause = True, None, ""
            if self._told is not None and slot.channel is not None:
                slot.channel.send(MessageKind.PROBLEM, self._told)
        elif message.kind is MessageKind.REFUSED and not self._is_started:
            raise StartRefusedError(message.text)
        elif message.kind in (MessageKind.REFUSED, MessageKind.FAILED):
            slot.cause = message.text
        elif message.kind is MessageKind.STUCK:
            self._kill(slot, message.text)

    def _kill_if_silent(self, slot: _Slot, now: float) -> None:
        """Kill a worker that hangs: one that is silent though nothing keeps it from speaking."""
        silent_seconds = now - slot.heard_at
        if not slot.has_beaten:
            if silent_seconds > FIRST_BEAT_SECONDS:
                self._kill(slot, f"no heartbeat in its first {silent_seconds:.0f} seconds")
            return
        if silent_seconds < HEARTBEAT_LIMIT_SECONDS - 2 * LOOK_SECONDS or slot.process is None:
            return
        earlier, slot.state = slot.state, look_at(slot.process.pid)
        if silent_seconds < HEARTBEAT_LIMIT_SECONDS:
            return
        if slot.state.is_stopped:
            self._kill(slot, f"it is stopped (SIGSTOP): no heartbeat for {silent_seconds:.0f} seconds")
        elif not slot.state.is_active_since(earlier):
            self._kill(slot, f"it hangs: no heartbeat for {silent_seconds:.0f} seconds, and no work in progress")
        elif silent_seconds > BUSY_LIMIT_SECONDS:
            self._kill(slot, f"no heartbeat for {silent_seconds:.0f} seconds")

    def _kill(self, slot: _Slot, why: str) -> None:
        """End a worker at once: what it has not acknowledged is tried again by clients, on another."""
        if slot.process is None or slot.is_killed:
            return
        slot.is_killed, slot.cause = True, f"a server process was killed: {why.splitlines()[0]}"
        slot.missing_since = monotonic()  # It may not end for a long while, inside a disk that does not answer.
        _log.error("worker killed", extra={"fields": {"pid": slot.process.pid, "why": why}})
        slot.process.kill()

    def _note_end(self, slot: _Slot, process: subprocess.Popen[bytes], now: float) -> None:
        if now - slot.started_at >= SOUND_SECONDS:
            slot.pause_seconds = FIRST_RESTART_SECONDS
        facts: dict[str, object] = {"pid": process.pid, "exit_status": process.returncode}
        if slot.cause:
            facts["why"] = slot.cause
        slot.process = None
        self._close(slot)
        self._plan_restart(slot, now, slot.cause or f"a server process ended with status {process.returncode}")
        _log.error("worker ended", extra={"fields": facts | {"restart_in_seconds": slot.restart_at - now}})

    def _plan_restart(self, slot: _Slot, now: float, cause: str) -> None:
        slot.cause = cause
        if slot.missing_since is None:
            slot.missing_since = now
        slot.is_ready = False
        slot.restart_at = now + slot.pause_seconds
        slot.pause_seconds = min(slot.pause_seconds * 2, LONGEST_RESTART_SECONDS)

    def _close(self, slot: _Slot) -> None:
        if slot.channel is not None:
            slot.channel.close()
            slot.channel = None

    # -- telling --

    def _tell_problem(self, now: float) -> None:
        """Let the workers that serve know whether others are missing: `/ready` tells it."""
        problem = self._problem(now)
        if problem == self._told:
            return
        self._told = problem
        for slot in self._slots:
            if slot.channel is not None and slot.is_ready:
                slot.channel.send(*((MessageKind.SOUND,) if problem is None else (MessageKind.PROBLEM, problem)))

    def _problem(self, now: float) -> str | None:
        missing = [
            slot
            for slot in self._slots
            if slot.missing_since is not None and now - slot.missing_since > PROBLEM_SECONDS
        ]
        if not missing:
            return None
        return (
            f"{len(missing)} of {len(self._slots)} server processes are missing ({missing[0].cause}); restarting them"
        )


def processors_for(settings: Settings) -> list[int | None]:
    """For each worker the processor that it is kept on; None if it may run anywhere.

    One Python thread runs at a time in a process, and handing over between threads on different processors costs more
    than it gains (decision 9). With more workers than processors nothing is pinned.
    """
    processors = sorted(os.sched_getaffinity(0))
    if settings.pin_workers == "off" or not 1 < settings.workers <= len(processors):
        return [None] * settings.workers
    return [*processors[: settings.workers]]


def worker_command() -> tuple[str, ...]:
    """The command that starts a worker; it imports from the current folder only if this process does."""
    try:
        places = {"", os.getcwd()}
    except FileNotFoundError:  # The folder has been removed.
        places = set()
    options = [] if places & set(sys.path) else ["-P"]
    return (sys.executable, *options, "-m", "snapstone.server.process.worker")


def _sentence(error: BaseException) -> str:
    """The system's description of an error."""
    return str(error) or type(error).__name__
