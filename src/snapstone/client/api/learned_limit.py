"""How many requests may be in flight: learned from how long they take; it keeps no time and waits for nothing."""

from __future__ import annotations

START_LIMIT = 8
"""In flight at first, and the least that a try of fewer goes down to: enough for a server on the same machine."""
LEAST_LIMIT = 2
"""However much fails: one request that hangs must not keep all others from finding out that the endpoint is back."""
GROWTH = 1.5
SHRINKAGE = 0.75
WORTHWHILE_SHARE = 0.3
"""More in flight is worth it where at least this share arrives as rate: half as many again, and 15 % faster."""
CLEAR_SHARE = 0.75
PATIENCE = 6
"""Between nothing and the clear share, it is measured up to so many times as long."""
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


class LearnedLimit:
    """Hill climbing on the rate, which is what is in flight divided by the mean time (Little's law)."""

    def __init__(self, maximum: int) -> None:
        self.maximum = max(1, maximum)
        self.limit = min(START_LIMIT, self.maximum)
        self._floor = self.limit
        self._aim = self.limit
        """What a limit halved by faults doubles up to again."""
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
