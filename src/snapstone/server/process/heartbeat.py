"""Progress of the threads of a serving process, watched by a supervisor or by the process itself.

Each vital is a question whose answer changes with every step of progress, and is None while there is nothing to do. An
answer that has stayed the same for a stated number of looks means that its subject hangs. Looks are counted, not
seconds: a process that was stopped, suspended or starved looks less often as well, and is not taken for one that hangs.

Only who holds a lock that others need is found by its vital, never who waits for it: a vital says None while it waits.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Final, Protocol

from snapstone.server.process.worker_channel import Channel, MessageKind
from snapstone.service.health import Health
from snapstone.system.processes import ProcessState, look_at

TICK_SECONDS: Final = 1.0
"""Pause between two ticks."""

STOP_SECONDS: Final = 10.0
"""How long a tick under way is waited for at the stop; cut off, its work is resumed at the next start."""

_log = logging.getLogger(__name__)


class Ticker:
    """Calls `tick` repeatedly until stopped; an error in it is logged, and the next tick still comes."""

    def __init__(self, tick: Callable[[], object], seconds: float = TICK_SECONDS, name: str = "ticker") -> None:
        self._tick = tick
        self._seconds = seconds
        self._stopped = Event()
        self._tick_count = 0
        self._is_ticking = False
        self._thread = Thread(target=self._run, name=name, daemon=True)

    @property
    def tick_under_way(self) -> int | None:
        """The number of the tick under way, or None."""
        return self._tick_count if self._is_ticking else None

    def start(self) -> None:
        """Tick at once, then at this interval in seconds."""
        self._thread.start()

    def stop(self) -> bool:
        """Tick no more; False if a tick is still under way after STOP_SECONDS."""
        self._stopped.set()
        self._thread.join(STOP_SECONDS)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._tick_count += 1
            self._is_ticking = True
            try:
                self._tick()
            except Exception:
                _log.exception("tick failed")
            finally:
                self._is_ticking = False
            self._stopped.wait(self._seconds)


STACK_DEPTH: Final = 12
"""Innermost calls of each thread that a report of a hang shows."""

STACKS_LIMIT: Final = 24_000
"""Characters of all of them."""


@dataclass(slots=True)
class _Vital:
    name: str
    progress: Callable[[], object | None]
    look_limit: int
    seen: object | None = None
    looks: int = 0
    """How many looks ago the answer became what it is."""


@dataclass(slots=True)
class Vitals:
    """For the thread that looks; what is asked must not wait for anything."""

    process_state: Callable[[], ProcessState] = look_at
    _vitals: list[_Vital] = field(default_factory=list)

    def watch(self, name: str, progress: Callable[[], object | None], look_limit: int) -> None:
        """From now on: `progress()` must give another answer, or None, at least once in `look_limit` looks."""
        self._vitals.append(_Vital(name, progress, look_limit))

    def look(self) -> str | None:
        """The thread that hangs, or None. Waiting for a disk is not hanging: another process would wait too."""
        overdue = None
        for vital in self._vitals:
            answer = vital.progress()
            if answer is None or answer != vital.seen:
                vital.seen, vital.looks = answer, 0
                continue
            vital.looks += 1
            if vital.looks >= vital.look_limit:
                overdue = vital
        if overdue is None or self.process_state().waits_for_disk:
            return None
        return f"{overdue.name} has made no progress in {overdue.look_limit} seconds"


def stacks() -> str:
    """Where each thread of this process is, for the log."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for identity, frame in sys._current_frames().items():
        calls = traceback.extract_stack(frame)[-STACK_DEPTH:]
        lines = [f"  {call.filename}:{call.lineno} {call.name}" for call in calls]
        parts.append("\n".join([names.get(identity, "?"), *lines]))
    return "\n".join(parts)[:STACKS_LIMIT]


BEAT_SECONDS: Final = 1.0

PROBLEM_SUBJECT: Final = "processes"
"""Subject in `/ready` of the supervisor's reports."""


HANG_SUBJECT: Final = "progress"
"""Subject in `/ready` of a hang in a process without a supervisor."""


class Monitor(Protocol):
    """Watches over a serving process."""

    def attach(self, vitals: Vitals, health: Health) -> None:
        """Look at these from now on, and tell of problems there."""

    def detach(self) -> None:
        """The process stops, and may take its time to: look no more."""

    def start_anew(self, why: str) -> None:
        """Have this process replaced, if there is a supervisor."""


class LoneMonitor:
    """For a process without a supervisor, which nobody would restart: it reports what hangs and kills nothing."""

    def attach(self, vitals: Vitals, health: Health) -> None:
        """As in Monitor."""

        def look() -> None:
            trouble = vitals.look()
            if trouble is None:
                health.clear(HANG_SUBJECT)
            else:
                health.report(HANG_SUBJECT, f"{trouble}; restart the server", unready=True)

        self._ticker = Ticker(look, BEAT_SECONDS, "monitor")
        self._ticker.start()

    def detach(self) -> None:
        """As in Monitor."""
        self._ticker.stop()

    def start_anew(self, why: str) -> None:
        """As in Monitor; there is no supervisor."""


class Heartbeat:
    """Of one of several workers: it tells the supervisor that it does not hang, and hears when the supervisor ends.

    Beats from its start on; what must make progress, and whom to tell of problems, it learns when they exist."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = Lock()
        self._vitals: Vitals | None = None
        self._health: Health | None = None
        self._problem: str | None = None
        self._is_stuck = False
        self._thread = Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Beat at once, then every BEAT_SECONDS."""
        self._thread.start()

    def attach(self, vitals: Vitals, health: Health) -> None:
        """As in Monitor: from now on, beat only while the vitals are sound."""
        with self._lock:
            self._vitals, self._health = vitals, health
            self._tell_health()

    def detach(self) -> None:
        """As in Monitor; the supervisor limits how long a stop may take."""
        with self._lock:
            self._vitals = None

    def start_anew(self, why: str) -> None:
        """As in Monitor."""
        self._channel.send(MessageKind.STUCK, why)

    def _run(self) -> None:
        while not self._channel.is_closed:
            self._beat()
            select.select([self._channel], [], [], BEAT_SECONDS)
            self._hear()
        os.kill(os.getpid(), signal.SIGTERM)  # The supervisor has ended, however it did.

    def _beat(self) -> None:
        with self._lock:
            trouble = None if self._vitals is None else self._vitals.look()
        if self._is_stuck:
            return
        if trouble is None:
            self._channel.send(MessageKind.BEAT)
        else:
            self._is_stuck = self._channel.send(MessageKind.STUCK, f"{trouble}\n{stacks()}")

    def _hear(self) -> None:
        for message in self._channel.receive():
            with self._lock:
                self._problem = message.text if message.kind is MessageKind.PROBLEM else None
                self._tell_health()

    def _tell_health(self) -> None:
        if self._health is None:
            return
        if self._problem is None:
            self._health.clear(PROBLEM_SUBJECT)
        else:
            self._health.report(PROBLEM_SUBJECT, self._problem)
