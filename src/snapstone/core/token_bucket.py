"""A token bucket as one number, the time at which it will be full again (GCRA); pure, with the time passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NS_PER_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests a second are let through, and how many at once after a rest."""

    per_second: float
    """Above 0."""
    burst: int
    """At least 1."""

    @property
    def interval_ns(self) -> int:
        """Time in which one token comes back."""
        return max(1, round(NS_PER_SECOND / self.per_second))


def take(full_at_ns: int, now_ns: int, rate: Rate) -> int | None:
    """Take one token; returns when the bucket will be full again, or None if it is empty.

    `full_at_ns` is what the call before returned; a time that has passed, 0 for one, is a full bucket. So is a time
    later than an empty bucket can have: it is of another clock, from before the machine was started again.
    """
    capacity_ns = rate.interval_ns * rate.burst
    if not now_ns < full_at_ns <= now_ns + capacity_ns:
        return now_ns + rate.interval_ns
    after = full_at_ns + rate.interval_ns
    return after if after <= now_ns + capacity_ns else None
