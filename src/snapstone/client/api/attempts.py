"""One call's history: how often it was tried, how it failed, and how much of its time budget is left."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Final

from snapstone.client.api.faults import STORAGE_TROUBLE, Fault, Kind

FIRST_WAIT_SECONDS: Final = 0.05
LONGEST_WAIT_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 120.0
"""How long what was just made may be unknown: AWS's services disagree for up to two minutes.

Source: docs/aws-behaviour/ebs-direct.md, EBS-STATE-12.
"""

MAX_CORRUPT_COUNT: Final = 5
MAX_FAULT_COUNT: Final = 15
"""Answers of 500 to one call: an outage answers 503 or nothing, but a damaged block answers 500 for ever."""

MAX_DAMAGED_COUNT: Final = 2
"""Answers to one call that what is stored is damaged: once more, because a disk may read right at a second try."""

MAX_REPAIR_COUNT: Final = 2
"""Times that credentials are renewed, or the clock is corrected, for one call."""


class Attempts:
    """Counts failures. The budget runs from the first of them on, and not while a turn to send is waited for."""

    def __init__(self, action: str, awaited: Collection[Kind]) -> None:
        self.action = action
        self._awaited = awaited
        self._failed_at: float | None = None
        self._wait_count = 0
        self._counts: dict[Kind, int] = {}

    def queued(self, seconds: float) -> None:
        """A turn was waited for: that is no part of the budget."""
        if self._failed_at is not None:
            self._failed_at += seconds

    def may_repair(self, kind: Kind) -> bool:
        """Whether credentials, or the clock, may be set right once more."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._counts[kind] <= MAX_REPAIR_COUNT

    def budget_seconds(self, kind: Kind, fault: Fault, retry_seconds: float, stall_seconds: float) -> float | None:
        """How long a fault of this kind is tried against; None: it is final.

        Trouble with the server's storage is waited out for less than a stall takes, so that the end names its cause.
        """
        if kind in self._awaited:
            return SETTLE_SECONDS
        if kind is Kind.THROTTLED:
            return retry_seconds
        if kind in STORAGE_TROUBLE:
            return min(retry_seconds, stall_seconds / 2)
        if kind is Kind.DAMAGED:
            return retry_seconds if self._counted(kind) < MAX_DAMAGED_COUNT else None
        if kind is Kind.CORRUPT:
            return retry_seconds if self._counted(kind) < MAX_CORRUPT_COUNT else None
        if kind is Kind.BROKEN:
            too_many = fault.status == 500 and self._counted(kind) >= MAX_FAULT_COUNT
            return None if too_many else retry_seconds
        return None

    def next_wait(self, now: float, budget_seconds: float) -> float | None:
        """Exponential with full jitter, so that many callers do not come back together; None: the budget is spent."""
        if self._failed_at is None:
            self._failed_at = now
        self._wait_count += 1
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(self._wait_count, 16))
        wait = random.uniform(FIRST_WAIT_SECONDS / 2, longest)
        return wait if now - self._failed_at + wait <= budget_seconds else None

    def _counted(self, kind: Kind) -> int:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._counts[kind]
