"""Which snapshots the recycle bin keeps, and for how long: retention rules held against a snapshot's tags."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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
    """What one rule keeps: resources with any of `include`, or, where that is empty, all but those of `exclude`."""

    days: int
    include: tuple[TagMatch, ...] = ()
    exclude: tuple[TagMatch, ...] = ()

    def applies(self, tags: tuple[tuple[str, str], ...]) -> bool:
        if self.include:
            return any(each.matches(tags) for each in self.include)
        return not any(each.matches(tags) for each in self.exclude)


def retained_days(retentions: Iterable[Retention], tags: tuple[tuple[str, str], ...]) -> int | None:
    """How long a resource with these tags is kept: by the longest rule that applies, None where none does."""
    return max((each.days for each in retentions if each.applies(tags)), default=None)
