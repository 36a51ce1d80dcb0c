"""When a request may be sent: one learned limit of requests in flight, and one learned rate, shared by all threads.

The limit is learned from how long requests take, the rate from throttles.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from snapstone.client.errors import InterruptedTransferError, UsageError

START_LIMIT = 8
"""In flight at first, and the least that a try of fewer goes down to: enough for a server on the same machine."""
LEAST_LIMIT = 2
"""However much fails: one request that hangs must not keep all others from finding out that the endpoint is back."""
GROWTH = 1.5
SHRINKAGE = 0.75
WORTHWHILE_SHARE = 0.3
"""More in flight is worth it if at least this share arrives as rate: half as many again, and 15 % faster."""
CLEAR_SHARE = 0.75
PATIENCE = 6
"""Between nothing and the clear share, it is measured up to this many times as long."""
SAMPLE_COUNT = 48
"""Answers that a limit is judged by, at least; and twice the limit."""
HOLD_SECONDS = 8.0
"""Between two tries, when the last one showed no gain."""
COLLAPSE = 0.7
"""A rate below this share of what it was is a reason to try at once."""
USED_SHARE = 0.5
"""A limit that is not used by half, because there is less to send, is not judged."""
FAULT_COUNT = 8
FAULT_SHARE = 0.25
"""Fewer faults than these, among the answers since the limit changed, are single mishaps and no sign of overload."""


class ConcurrencyLimit:
    """Hill climbing on the rate, which is what is in flight divided by the mean time (Little's law)."""

    def __init__(self, maximum: int) -> None:
        self.maximum = max(1, maximum)
        self.limit = min(START_LIMIT, self.maximum)
        self._floor = self.limit
        self._aim = self.limit
        """The limit up to which one halved by faults doubles again."""
        self._settled_limit = self.limit
        self._settled_rate = 0.0
        """The best that is known: 0 as long as nothing is."""
        self._try_at = 0.0
        self._more_next = True
        self._sample_anew(0.0)

    def succeeded(self, now: float, started_at: float, in_flight: int, paced: bool) -> None:
        """A request ended well. `in_flight`: with how many others; `paced`: not the limit, the rate holds them back."""
        if started_at < self._began_at:
            return
        self._count += 1
        self._seconds += now - started_at
        self._in_flight_sum += in_flight
        if self.limit < self._aim:
            if self._count >= self.limit:
                self.limit = min(self.limit * 2, self._aim)
                self._sample_anew(now)
        elif paced:
            self._sample_anew(now)
        elif self._count >= self._enough:
            self._judge(now)

    def failed(self, now: float, started_at: float) -> None:
        """A connection broke or the server failed. Faults of one burst halve once: the rest of it started before."""
        if started_at < self._began_at:
            return
        self._fault_count += 1
        if self._fault_count >= min(FAULT_COUNT, self.limit) and self._fault_count > FAULT_SHARE * self._count:
            self.limit = max(min(LEAST_LIMIT, self.limit), self.limit // 2)
            self._sample_anew(now)

    def _judge(self, now: float) -> None:
        rate = self._in_flight_sum / self._seconds if self._seconds > 0 else 0.0
        if self._in_flight_sum < USED_SHARE * self.limit * self._count or rate <= 0.0:
            self._sample_anew(now)
        elif self.limit == self._settled_limit or self._settled_rate == 0.0:
            self._hold(now, rate)
        else:
            self._compare(now, rate)

    def _compare(self, now: float, rate: float) -> None:
        """Which of two limits is the better one: the one tried now, or the settled one."""
        share = (rate / self._settled_rate - 1) / (self.limit / self._settled_limit - 1)
        if 0 < share < CLEAR_SHARE and self._count < PATIENCE * self._sample_count():
            self._enough += self._sample_count()
            return
        more = self.limit > self._settled_limit
        if more == (share >= WORTHWHILE_SHARE):
            self._settle(rate)
            self._try_at = now + HOLD_SECONDS
            self._try(now, more=more)
        else:
            self._rest(now, more_next=not more)

    def _hold(self, now: float, rate: float) -> None:
        collapsed = rate < self._settled_rate * COLLAPSE
        first = self._settled_rate == 0.0
        self._settle(rate if first or collapsed else (self._settled_rate + rate) / 2)
        if first or collapsed:
            self._try(now, more=True)
        elif now >= self._try_at:
            self._try(now, more=self._more_next)
        else:
            self._sample_anew(now)

    def _settle(self, rate: float) -> None:
        self._settled_limit = self.limit
        self._settled_rate = rate

    def _try(self, now: float, *, more: bool) -> None:
        factor = GROWTH if more else SHRINKAGE
        limit = max(self._floor, min(self.maximum, int(self.limit * factor)))
        if limit == self.limit:
            self._more_next = not more
        self._change(now, limit)

    def _rest(self, now: float, *, more_next: bool) -> None:
        self._more_next = more_next
        self._try_at = now + HOLD_SECONDS
        self._change(now, self._settled_limit)

    def _change(self, now: float, limit: int) -> None:
        self.limit = self._aim = limit
        self._sample_anew(now)

    def _sample_anew(self, now: float) -> None:
        self._began_at = now
        self._enough = self._sample_count()
        self._count = 0
        self._in_flight_sum = 0
        self._fault_count = 0
        self._seconds = 0.0

    def _sample_count(self) -> int:
        return max(SAMPLE_COUNT, 2 * self.limit)


FIRST_CUT = 0.7
"""Of the measured rate, at the first throttle: a bucket of tokens was just emptied, so that was too much."""
MARGIN = 0.95
"""Of a measured quota."""
DEEPEST_CUT, SHALLOWEST_CUT = 0.5, 0.95
LEAST_RATE = 1.0
SETTLING_SECONDS = 0.25
DENSE_THROTTLE_COUNT = 6
"""A cut is judged after this time or this many more throttles."""
TOLERATED_SHARE = 0.07
"""Share of answers that may be throttles without meaning a quota: mishaps of the endpoint, or another's traffic."""
EVIDENCE_COUNT, EVIDENCE_SECONDS = 1.8, 0.015
"""A cut takes this many throttles above the tolerated share, plus this many seconds' worth of requests."""
THROTTLES_IN_A_ROW = 4
"""A cut is made by these too."""
WINDOW_SECONDS = 1.0
"""Over which answers are counted as long as there is no throttle to count from."""
STEEPNESS = 0.1 / 3.0**3
"""Of the cubic by which the rate comes back: 10 % in the 3 seconds before the last known quota and the 3 behind."""
UNKNOWN_GROUND = 1.5
"""Times the last known quota: from here on the rate doubles every second."""
GROWTH_SECONDS = 0.05
"""Between two steps of growth."""
HELD_SECONDS = 0.5
"""A rate that limited nothing for this long is not tested and does not grow."""


class CubicRate:
    """From one empty bucket to the next, admitted by time is the quota. Between, a cubic probes for more."""

    def __init__(self) -> None:
        self.rate: float | None = None
        """Requests a second; None as long as nothing was throttled."""
        self._counted_from: float | None = None
        self._count = 0
        self._last_measured = 0.0
        self._cut_at = float("-inf")
        self._throttle_count = 0
        self._quota = 0.0
        self._age = 0.0
        self._summit_age = 0.0
        self._grown_at = 0.0
        self._held_at = float("-inf")
        self._evidence = 0.0
        """Throttles above the tolerated share (a cumulative sum, as in statistical process control)."""
        self._in_a_row = 0

    def answered(self, now: float) -> None:
        """The other side admitted a request, whatever became of it."""
        self._evidence = max(0.0, self._evidence - TOLERATED_SHARE)
        self._in_a_row = 0
        if self._counted_from is None:
            self._counted_from = now
        elif self.rate is None and now - self._counted_from > WINDOW_SECONDS:
            self._last_measured = self._count / (now - self._counted_from)
            self._counted_from, self._count = now, 0
        self._count += 1

    def throttled(self, now: float, started_at: float) -> None:
        """A request was refused. Those of one burst, sent before the last cut took hold, cut once."""
        if started_at < self._cut_at:
            return
        self._throttle_count += 1
        self._evidence += 1 - TOLERATED_SHARE
        self._in_a_row += 1
        enough = EVIDENCE_COUNT + EVIDENCE_SECONDS * (self.rate or 0.0)
        if self._evidence < enough and self._in_a_row < THROTTLES_IN_A_ROW:
            return
        if self.rate is None:
            measured = self._measured(now)
            self._cut(now, FIRST_CUT * measured, measured)
        elif now - self._cut_at >= SETTLING_SECONDS or self._throttle_count >= DENSE_THROTTLE_COUNT:
            measured = self._measured(now)
            rate = min(max(MARGIN * measured, DEEPEST_CUT * self.rate), SHALLOWEST_CUT * self.rate)
            self._cut(now, rate, min(measured, self.rate))

    def held(self, now: float) -> None:
        """Somebody waits because of the rate."""
        self._held_at = now

    def holds(self, now: float) -> bool:
        """Whether somebody had to wait because of the rate just now."""
        return now - self._held_at <= HELD_SECONDS

    def grow(self, now: float) -> None:
        """Probe for more, a step at a time."""
        passed = now - self._grown_at
        if self.rate is None or passed < GROWTH_SECONDS:
            return
        self._grown_at = now
        if not self.holds(now):
            return
        passed = min(passed, HELD_SECONDS)
        self._age += passed
        aim = self._quota * (1 + STEEPNESS * (self._age - self._summit_age) ** 3)
        if aim > self._quota * UNKNOWN_GROUND:
            self.rate *= 2**passed
        else:
            self.rate = max(self.rate, aim)

    def _measured(self, now: float) -> float:
        """Admitted a second since the last cut, or in the last window."""
        passed = now - self._counted_from if self._counted_from is not None else 0.0
        if self.rate is None and passed < SETTLING_SECONDS and self._last_measured:
            return self._last_measured
        return self._count / passed if passed > 0 else 0.0

    def _cut(self, now: float, rate: float, quota: float) -> None:
        self.rate = max(rate, LEAST_RATE)
        self._quota = max(quota, self.rate)
        self._cut_at = self._grown_at = self._counted_from = now
        self._count = self._throttle_count = 0
        self._evidence = 0.0
        self._in_a_row = 0
        self._age = 0.0
        self._summit_age = ((1 - self.rate / self._quota) / STEEPNESS) ** (1 / 3)


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
    """A gate that one thread waits at and another opens, once per wait; opened early, it stays open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let the one who waits pass. Not to be called by two threads at once."""
        if self._lock.locked():
            self._lock.release()

    def wait(self, seconds: float | None) -> None:
        """Pass the gate, or return after this many seconds."""
        self._lock.acquire(timeout=-1 if seconds is None else max(0.0, seconds))


class _Place:
    """A place in the queue."""

    __slots__ = ("admitted_at", "gate", "timing")

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.admitted_at: float | None = None
        self.timing = False
        """The thread waits for the next start by the clock."""


class SendSlot:
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

    def __enter__(self) -> SendSlot:
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
            raise UsageError(
                f"a limit of {max_per_second:g} requests per second lets nothing through; it must be more than 0"
            )
        self._clock = clock
        self._new_gate = gate
        self._lock = threading.Lock()
        self._learned_limit = ConcurrencyLimit(max_in_flight)
        self._learned_rate = CubicRate()
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

    def turn(self, stop: Stopping | None = None) -> SendSlot:
        """A turn, waited for on entering it. Raises InterruptedTransferError when `stop` is set while it waits."""
        return SendSlot(self, stop)

    def _enter(self, turn: SendSlot, stop: Stopping | None) -> None:
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
                raise InterruptedTransferError("stopped while waiting to send a request")
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

    def _leave(self, turn: SendSlot, throttled: bool, failed: bool, done: bool) -> None:
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
