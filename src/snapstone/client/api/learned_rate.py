"""How many requests a second the other side admits: learned from its throttles; no clock and no waiting in here."""

from __future__ import annotations

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
"""Of all answers: so many throttles may be mishaps of the other side, or meant for somebody else, and are no quota."""
EVIDENCE_COUNT, EVIDENCE_SECONDS = 1.8, 0.015
"""A cut is made by so many throttles above the tolerated share, and so many seconds' worth of requests more."""
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
"""A rate that held nobody back for this long is not tested, and does not grow."""


class LearnedRate:
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
