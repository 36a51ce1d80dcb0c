"""Turns to send a request: all threads share one learned limit of requests in flight, and one learned rate."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from snapstone.client.api.learned_limit import LearnedLimit
from snapstone.client.api.learned_rate import LearnedRate
from snapstone.client.errors import InterruptedTransferError, UsageError

CATCH_UP_SECONDS = 0.02
"""Turns not taken in time are made up for within this time: threads wake late, and the rate is still kept."""
STOP_CHECK_SECONDS = 0.1
"""How often one who waits looks whether to give up."""


class Stopping(Protocol):
    """Says whether to give up."""

    def is_set(self) -> bool:
        """Give up."""
        ...


class Gate:
    """What one thread waits at and another opens, once for each wait; opened early, it stays open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let the one who waits pass. Not to be called by two threads at once."""
        if self._lock.locked():
            self._lock.release()

    def wait(self, seconds: float | None) -> None:
        """Pass the gate, or come back after so many seconds."""
        self._lock.acquire(timeout=-1 if seconds is None else max(0.0, seconds))


class _Place:
    """A place in the queue."""

    __slots__ = ("admitted_at", "gate", "timing")

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.admitted_at: float | None = None
        self.timing = False
        """The thread waits for the next start by the clock."""


class Turn:
    """One request, sent while the turn lasts. Left without a word it is a success, by an exception nothing at all."""

    __slots__ = ("_failed", "_pace", "_stop", "_throttled", "started_at")

    def __init__(self, pace: Pace, stop: Stopping | None) -> None:
        self._pace = pace
        self._stop = stop
        self._throttled = False
        self._failed = False
        self.started_at = 0.0

    def throttled(self) -> None:
        """The other side refused because of its quota."""
        self._throttled = True

    def failed(self) -> None:
        """The connection broke, or the server failed."""
        self._failed = True

    def __enter__(self) -> Turn:
        self._pace._enter(self, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pace._leave(self, self._throttled, self._failed, kind is None)


class Pace:
    """Gives turns in the order of asking. One lock; a thread wakes when it may go, or to watch the clock for all."""

    def __init__(
        self,
        max_in_flight: int,
        max_per_second: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        gate: Callable[[], Gate] = Gate,
    ) -> None:
        if max_per_second is not None and max_per_second <= 0:
            raise UsageError(f"a limit of {max_per_second:g} requests a second lets nothing through: give more than 0")
        self._clock = clock
        self._new_gate = gate
        self._lock = threading.Lock()
        self._learned_limit = LearnedLimit(max_in_flight)
        self._learned_rate = LearnedRate()
        self._max_per_second = max_per_second
        self._in_flight = 0
        self._next_start_at = float("-inf")
        self._queue: deque[_Place] = deque()

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._learned_limit.limit

    @property
    def rate(self) -> float | None:
        """Requests a second that may start now; None: no bound."""
        learned, most = self._learned_rate.rate, self._max_per_second
        if learned is None or most is None:
            return learned if most is None else most
        return min(learned, most)

    @property
    def in_flight(self) -> int:
        """Turns that are being taken."""
        return self._in_flight

    def turn(self, stop: Stopping | None = None) -> Turn:
        """A turn, waited for on entering it. Raises InterruptedTransferError when `stop` is set while it waits."""
        return Turn(self, stop)

    def _enter(self, turn: Turn, stop: Stopping | None) -> None:
        with self._lock:
            now = self._clock()
            if not self._queue and self._may_start(now):
                self._start(now)
                turn.started_at = now
                return
            place = _Place(self._new_gate())
            self._queue.append(place)
        try:
            turn.started_at = self._wait(place, stop)
        except BaseException:  # also a KeyboardInterrupt must not leave the place in the queue
            self._give_up(place)
            raise

    def _wait(self, place: _Place, stop: Stopping | None) -> float:
        while place.admitted_at is None:
            if stop is not None and stop.is_set():
                raise InterruptedTransferError("Stopped while waiting for a turn to send a request.")
            seconds = self._seconds_to_wait(place)
            if seconds is not None and seconds <= 0:
                continue
            if stop is not None:
                seconds = STOP_CHECK_SECONDS if seconds is None else min(seconds, STOP_CHECK_SECONDS)
            place.gate.wait(seconds)
        return place.admitted_at

    def _seconds_to_wait(self, place: _Place) -> float | None:
        """None: until the gate is opened. The first in the queue keeps the time, when it waits for the rate."""
        with self._lock:
            now = self._clock()
            place.timing = bool(self._queue) and self._queue[0] is place
            if place.timing:
                self._admit(now)
            if place.admitted_at is not None:
                return 0.0
            if not place.timing or self._in_flight >= self._learned_limit.limit:
                place.timing = False
                return None
            return max(self._next_start_at - now, 1e-6)

    def _give_up(self, place: _Place) -> None:
        with self._lock:
            if place.admitted_at is None:
                self._queue.remove(place)
            else:
                self._in_flight -= 1
            self._admit(self._clock())

    def _leave(self, turn: Turn, throttled: bool, failed: bool, done: bool) -> None:
        with self._lock:
            now = self._clock()
            if throttled:
                self._learned_rate.throttled(now, turn.started_at)
            elif failed:
                self._learned_rate.answered(now)
                self._learned_limit.failed(now, turn.started_at)
            elif done:
                self._learned_rate.answered(now)
                paced = self._learned_rate.holds(now)
                self._learned_limit.succeeded(now, turn.started_at, self._in_flight, paced)
            self._in_flight -= 1
            if self._queue:
                self._admit(now)

    def _admit(self, now: float) -> None:
        """Let everybody go who may; when time is all that the next one waits for, wake it to keep the time."""
        while self._queue and self._may_start(now):
            place = self._queue.popleft()
            place.admitted_at = now
            self._start(now)
            place.gate.open()
        if self._queue:
            first = self._queue[0]
            if self._in_flight < self._learned_limit.limit and not first.timing:
                first.timing = True
                first.gate.open()

    def _may_start(self, now: float) -> bool:
        if self._in_flight >= self._learned_limit.limit:
            return False
        if self._next_start_at <= now:
            return True
        self._learned_rate.held(now)
        return False

    def _start(self, now: float) -> None:
        self._in_flight += 1
        self._learned_rate.grow(now)
        rate = self.rate
        if rate is not None:
            self._next_start_at = max(self._next_start_at, now - CATCH_UP_SECONDS) + 1 / rate
