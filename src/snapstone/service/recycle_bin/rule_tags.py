"""Tags of retention rules: which are valid, and how the API carries them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from snapstone.core.errors import SnapstoneError
from snapstone.core.protection_errors import InvalidRuleError, RuleQuotaError
from snapstone.core.tags import MAX_TAGS, TAG_CHARACTERS, TagProblem, TagRule


def _tag_error(problem: TagProblem, key: str) -> SnapstoneError:
    match problem:
        case TagProblem.RESERVED:
            return InvalidRuleError(f"Tag keys starting with 'aws:' are reserved: {key}")
        case TagProblem.DUPLICATE:
            return InvalidRuleError("A tag key was given twice.")
        case TagProblem.TOO_MANY_SENT | TagProblem.TOO_MANY_KEPT:
            return RuleQuotaError(f"A retention rule takes at most {MAX_TAGS} tags.")
        case TagProblem.CHARACTER:
            return InvalidRuleError(f"A tag has a character that no tag may have: {key}")
        case _:
            return InvalidRuleError(f"Tag keys have 1 to 128 characters and values at most 256: {key}")


TAG_RULE: Final = TagRule(_tag_error, characters=TAG_CHARACTERS)


def tag_members(tags: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Pairs as the API carries them."""
    return [{"Key": key, "Value": value} for key, value in tags]
