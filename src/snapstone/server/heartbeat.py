"""Who watches over what must make progress in a serving process: a supervisor, by heartbeats, or only itself."""

from __future__ import annotations

import os
import select
import signal
from threading import Lock, Thread
from typing import Final, Protocol

from snapstone.server.ticker import Ticker
from snapstone.server.vitals import Vitals, stacks
from snapstone.server.worker_channel import Channel, Kind
from snapstone.service.health import Health

BEAT_SECONDS: Final = 1.0

PROBLEM_SUBJECT: Final = "processes"
"""What `/ready` calls that which the supervisor says."""


HANG_SUBJECT: Final = "progress"
"""What `/ready` calls something that hangs in a process without a supervisor."""


class Monitor(Protocol):
    """Watches over a serving process."""

    def attach(self, vitals: Vitals, health: Health) -> None:
        """Look at these from now on, and tell of problems there."""

    def detach(self) -> None:
        """The process stops, and may take its time to: look no more."""

    def start_anew(self, why: str) -> None:
        """Put another process in the place of this one, if there is somebody who can."""


class LoneMonitor:
    """Of a process without a supervisor, which nobody would start again: it tells what hangs, and kills nothing."""

    def attach(self, vitals: Vitals, health: Health) -> None:
        """As in Monitor."""

        def look() -> None:
            trouble = vitals.look()
            if trouble is None:
                health.clear(HANG_SUBJECT)
            else:
                health.report(HANG_SUBJECT, f"{trouble}: end the server and start it again", unready=True)

        self._ticker = Ticker(look, BEAT_SECONDS, "monitor")
        self._ticker.start()

    def detach(self) -> None:
        """As in Monitor."""
        self._ticker.stop()

    def start_anew(self, why: str) -> None:
        """As in Monitor: there is nobody."""


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
        self._channel.send(Kind.STUCK, why)

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
            self._channel.send(Kind.BEAT)
        else:
            self._is_stuck = self._channel.send(Kind.STUCK, f"{trouble}\n{stacks()}")

    def _hear(self) -> None:
        for message in self._channel.receive():
            with self._lock:
                self._problem = message.text if message.kind is Kind.PROBLEM else None
                self._tell_health()

    def _tell_health(self) -> None:
        if self._health is None:
            return
        if self._problem is None:
            self._health.clear(PROBLEM_SUBJECT)
        else:
            self._health.report(PROBLEM_SUBJECT, self._problem)
