"""How many requests may be in flight: learned from how long they take; it keeps no time and waits for nothing."""

from __future__ import annotations

START_LIMIT = 8
"""In flight at first, and the least that a try of fewer goes down to: enough for a server on the same machine."""
LEAST_LIMIT = 2
"""However much fails: one request that hangs must not keep all others from finding out that the endpoint is back."""
GROWTH = 1.5
SHRINKAGE = 0.75
WORTHWHILE_SHARE = 0.3
"""A growth is kept where at least this share of it arrives as rate: half as many again, and 15 % faster."""
SAME_RATE = 0.96
"""A smaller limit is kept where this much of the rate stays."""
SAMPLE_COUNT = 48
"""Answers that a limit is judged by, at least; and twice the limit."""
HOLD_SECONDS = 8.0
"""Between two tries, when the last one showed no gain."""
COLLAPSE = 0.7
"""A rate below this share of what it was is a reason to try at once."""
FAULT_COUNT = 8
FAULT_SHARE = 0.25
"""Fewer faults than these, among the answers since the limit changed, are single mishaps and no sign of overload."""


class LearnedLimit:
    """Hill climbing. While somebody always waits for a place, limit divided by mean time is the rate (Little's law)."""

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
        self._try_fewer = False
        self._sample_anew(0.0)

    def succeeded(self, now: float, started_at: float, waited: bool) -> None:
        """A request ended well; `waited`: it had to wait for others to end."""
        if started_at < self._began_at:
            return
        self._count += 1
        self._seconds += now - started_at
        self._waited_count += waited
        if self.limit < self._aim:
            if self._count >= self.limit:
                self.limit = min(self.limit * 2, self._aim)
                self._sample_anew(now)
        elif self._count >= SAMPLE_COUNT and self._count >= 2 * self.limit:
            self._judge(now)

    def failed(self, now: float, started_at: float) -> None:
        """A connection broke or the server failed. Faults of one burst halve once: the rest of it started before."""
        if started_at < self._began_at:
            return
        self._fault_count += 1
        if self._fault_count >= min(FAULT_COUNT, self.limit) and self._fault_count > FAULT_SHARE * self._count:
            self.limit = max(min(LEAST_LIMIT, self.limit), self.limit // 2)
            self._sample_anew(now)

    def throttled(self, now: float) -> None:
        """Answers that come early because they refuse say nothing about time."""
        self._sample_anew(now)

    def _judge(self, now: float) -> None:
        rate = self.limit * self._count / self._seconds if self._seconds > 0 else 0.0
        if self._waited_count * 2 < self._count or rate <= 0.0:
            self._sample_anew(now)
        elif self.limit > self._settled_limit:
            self._judge_more(now, rate)
        elif self.limit < self._settled_limit:
            self._judge_fewer(now, rate)
        else:
            self._hold(now, rate)

    def _judge_more(self, now: float, rate: float) -> None:
        growth = self.limit / self._settled_limit - 1
        if rate >= self._settled_rate * (1 + WORTHWHILE_SHARE * growth):
            self._settle(rate)
            self._try_more(now)
        else:
            self._rest(now, fewer_next=True)

    def _judge_fewer(self, now: float, rate: float) -> None:
        if rate >= self._settled_rate * SAME_RATE:
            self._settle(rate)
        self._rest(now, fewer_next=False)

    def _hold(self, now: float, rate: float) -> None:
        collapsed = rate < self._settled_rate * COLLAPSE
        first = self._settled_rate == 0.0
        self._settle(rate)
        if first or collapsed:
            self._try_more(now)
        elif now >= self._try_at:
            if self._try_fewer and self.limit > self._floor:
                self._change(now, max(self._floor, int(self.limit * SHRINKAGE)))
            else:
                self._try_more(now)
        else:
            self._sample_anew(now)

    def _settle(self, rate: float) -> None:
        self._settled_limit = self.limit
        self._settled_rate = rate

    def _try_more(self, now: float) -> None:
        more = min(self.maximum, max(self.limit + 1, int(self.limit * GROWTH)))
        if more > self.limit:
            self._change(now, more)
        else:
            self._rest(now, fewer_next=True)

    def _rest(self, now: float, *, fewer_next: bool) -> None:
        self._try_fewer = fewer_next
        self._try_at = now + HOLD_SECONDS
        self._change(now, self._settled_limit)

    def _change(self, now: float, limit: int) -> None:
        self.limit = self._aim = limit
        self._sample_anew(now)

    def _sample_anew(self, now: float) -> None:
        self._began_at = now
        self._count = 0
        self._waited_count = 0
        self._fault_count = 0
        self._seconds = 0.0
