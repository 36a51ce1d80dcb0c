"""Tags of retention rules: which are valid, and how the API carries them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from snapstone.core.protection_errors import InvalidRuleError, RuleQuotaError

MAX_TAGS: Final = 50
"""Tags of one rule."""

Tags = Sequence[Mapping[str, str]]


def checked_tags(tags: Tags) -> tuple[tuple[str, str], ...]:
    """The tags as pairs. Raises InvalidRuleError and RuleQuotaError."""
    pairs = tuple((tag["Key"], tag["Value"]) for tag in tags)
    for key, _ in pairs:
        if key.lower().startswith("aws:"):
            raise InvalidRuleError(f"Tag keys starting with 'aws:' are reserved: {key}")
    if len({key for key, _ in pairs}) < len(pairs):
        raise InvalidRuleError("A tag key was given twice.")
    check_tag_count(len(pairs))
    return pairs


def check_tag_count(count: int) -> None:
    """Raises RuleQuotaError."""
    if count > MAX_TAGS:
        raise RuleQuotaError(f"A retention rule takes at most {MAX_TAGS} tags.")


def tag_members(tags: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Pairs as the API carries them."""
    return [{"Key": key, "Value": value} for key, value in tags]
