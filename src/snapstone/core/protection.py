"""Protection of snapshots from deletion: the recycle bin's retention rules, and locks with their states and changes.

Governance: can be unlocked or shortened with permission. Compliance: the same during the cooling-off period; after that
it can only be extended, not removed, and ends when it expires (AWS: "Lock an Amazon EBS snapshot").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Tags = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class TagMatch:
    """A tag that a rule names; without a value, every value of the key."""

    key: str
    value: str | None

    def matches(self, tags: Tags) -> bool:
        return any(key == self.key and self.value in (None, value) for key, value in tags)


@dataclass(frozen=True, slots=True)
class Retention:
    """The scope of a rule: resources with any of `include`, or, if that is empty, all but those of `exclude`."""

    days: int
    include: tuple[TagMatch, ...] = ()
    exclude: tuple[TagMatch, ...] = ()

    def applies(self, tags: tuple[tuple[str, str], ...]) -> bool:
        if self.include:
            return any(each.matches(tags) for each in self.include)
        return not any(each.matches(tags) for each in self.exclude)


def retained_days(retentions: Iterable[Retention], tags: tuple[tuple[str, str], ...]) -> int | None:
    """How long a resource with these tags is kept: by the longest rule that applies, None if none does."""
    return max((each.days for each in retentions if each.applies(tags)), default=None)


HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


class LockMode(StrEnum):
    GOVERNANCE = "governance"
    COMPLIANCE = "compliance"


class LockState(StrEnum):
    GOVERNANCE = "governance"
    COMPLIANCE_COOL_OFF = "compliance-cooloff"
    COMPLIANCE = "compliance"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class SnapshotLock:
    """One lock. It runs for `duration_days`, or until `expiration_ms`: exactly one of the two is given."""

    mode: LockMode
    created_at_ms: int
    duration_set_at_ms: int
    duration_days: int | None
    expiration_ms: int | None
    cool_off_hours: int | None = None
    cool_off_until_ms: int | None = None

    def starts_at_ms(self, completed_at_ms: int | None) -> int | None:
        """When the duration began; None while the snapshot is not complete, for it begins only then."""
        return None if completed_at_ms is None else max(self.duration_set_at_ms, completed_at_ms)

    def expires_at_ms(self, completed_at_ms: int | None) -> int | None:
        """When the lock ends by itself; None while that is not known, because the duration has not begun."""
        if self.expiration_ms is not None:
            return self.expiration_ms
        started = self.starts_at_ms(completed_at_ms)
        return None if started is None or self.duration_days is None else started + self.duration_days * DAY_MS

    def state(self, completed_at_ms: int | None, due_ms: int, latest_ms: int | None = None) -> LockState:
        """At `due_ms`; the cooling-off period is over if it may be, at `latest_ms`, if the time is not certain."""
        expires_at_ms = self.expires_at_ms(completed_at_ms)
        if expires_at_ms is not None and expires_at_ms <= due_ms:
            return LockState.EXPIRED
        if self.mode is LockMode.GOVERNANCE:
            return LockState.GOVERNANCE
        latest_ms = due_ms if latest_ms is None else latest_ms
        cooling = self.cool_off_until_ms is not None and latest_ms < self.cool_off_until_ms
        return LockState.COMPLIANCE_COOL_OFF if cooling else LockState.COMPLIANCE

    def holds(self, completed_at_ms: int | None, due_ms: int) -> bool:
        """Whether the snapshot may not be deleted now."""
        return self.state(completed_at_ms, due_ms) is not LockState.EXPIRED

    def days(self, completed_at_ms: int | None) -> int:
        """The duration in days; of a lock with an expiration date the days that it spans, begun ones included."""
        if self.expiration_ms is None:
            return self.duration_days or 0
        started = self.starts_at_ms(completed_at_ms) or self.duration_set_at_ms
        return max(1, -(-(self.expiration_ms - started) // DAY_MS))

    def outlasts(self, other: SnapshotLock, completed_at_ms: int | None) -> bool:
        """Whether this lock ends no earlier than the other one, as far as known."""
        mine, others = self.expires_at_ms(completed_at_ms), other.expires_at_ms(completed_at_ms)
        if mine is not None and others is not None:
            return mine >= others
        if self.duration_days is not None and other.duration_days is not None:
            return self.duration_days >= other.duration_days
        return False  # a date and a duration that has not begun cannot be compared
