"""The one rule for tags of every resource: how long, how many, which characters, and which keys are AWS's own.

A service defines what its own documents add (`TagRule`) and its errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

MAX_TAGS: Final = 50
"""Tags of one resource, and of one request."""

MAX_KEY_LENGTH: Final = 128
MAX_VALUE_LENGTH: Final = 256
"""In characters. The EBS direct APIs take one less of each, which their model says."""

RESERVED_PREFIX: Final = "aws:"

TAG_CHARACTERS: Final = re.compile(r"[\w\s_.:/=+\-@]*")
"""Allowed in keys and values by IAM, STS and the recycle bin: letters, digits and spaces of any script, and these."""

Pair = tuple[str, str]
SentTags = Sequence[Mapping[str, str]]
"""Tags as a request has them; the service defines what each part is called."""


class TagProblem(Enum):
    """Problems with a tag, or with the tags of one request or resource."""

    KEY_EMPTY = auto()
    KEY_TOO_LONG = auto()
    VALUE_TOO_LONG = auto()
    CHARACTER = auto()
    """A character that no tag of this service may have."""
    RESERVED = auto()
    DUPLICATE = auto()
    TOO_MANY_SENT = auto()
    TOO_MANY_KEPT = auto()
    """The resource would have more than it may."""


def is_reserved(key: str) -> bool:
    """Whether the key is reserved: AWS reserves the prefix in upper and lower case."""
    return key.lower().startswith(RESERVED_PREFIX)


def is_removable(key: str) -> bool:
    """Whether a request may take a tag of this key off.

    AWS's own tags begin with `aws:` in lower case and stay. Any other case is a user's tag: none can be set any more,
    but older catalogs hold some.
    """
    return not key.startswith(RESERVED_PREFIX)


@dataclass(frozen=True)
class TagRule:
    """The rule as one service applies it."""

    error: Callable[[TagProblem, str], Exception]
    """The service's own error for a problem with the tag of this key; the key is empty if all tags are concerned."""

    max_key_length: int = MAX_KEY_LENGTH
    max_value_length: int = MAX_VALUE_LENGTH
    characters: re.Pattern[str] | None = None
    ignores_case: bool = False
    """Whether keys that differ only in case are the same key."""

    key_member: str = "Key"
    value_member: str = "Value"

    def sent(self, tags: SentTags) -> tuple[Pair, ...]:
        """The tags of a request, in its order; a missing value is the empty text. Raises the service's error."""
        if len(tags) > MAX_TAGS:
            raise self.error(TagProblem.TOO_MANY_SENT, "")
        pairs = tuple((tag.get(self.key_member) or "", tag.get(self.value_member) or "") for tag in tags)
        seen: set[str] = set()
        for key, value in pairs:
            problem = self._problem(key, value)
            if problem is None and self._same(key) in seen:
                problem = TagProblem.DUPLICATE
            if problem is not None:
                raise self.error(problem, key)
            seen.add(self._same(key))
        return pairs

    def added(self, before: Iterable[Pair], sent: Iterable[Pair]) -> tuple[Pair, ...]:
        """A resource's tags with others, checked already, in place of those of the same keys.

        A tag that is replaced keeps its place. Raises the service's error if they become too many.
        """
        tags = {self._same(key): (key, value) for key, value in before}
        tags |= {self._same(key): (key, value) for key, value in sent}
        if len(tags) > MAX_TAGS:
            raise self.error(TagProblem.TOO_MANY_KEPT, "")
        return tuple(tags.values())

    def without(self, before: Iterable[Pair], keys: Iterable[str]) -> tuple[Pair, ...]:
        """A resource's tags but for those of these keys; keys that it does not have change nothing."""
        removed = {self._same(key) for key in keys}
        return tuple((key, value) for key, value in before if self._same(key) not in removed)

    def require_key(self, key: str) -> None:
        """Raises the service's error for a key that cannot be removed."""
        problem = self._length_problem(key)
        if problem is None and not is_removable(key):
            problem = TagProblem.RESERVED
        if problem is not None:
            raise self.error(problem, key)

    def _problem(self, key: str, value: str) -> TagProblem | None:
        problem = self._length_problem(key)
        if problem is not None:
            return problem
        if len(value) > self.max_value_length:
            return TagProblem.VALUE_TOO_LONG
        if self.characters is not None and not (self.characters.fullmatch(key) and self.characters.fullmatch(value)):
            return TagProblem.CHARACTER
        return TagProblem.RESERVED if is_reserved(key) else None

    def _length_problem(self, key: str) -> TagProblem | None:
        if not key:
            return TagProblem.KEY_EMPTY
        return TagProblem.KEY_TOO_LONG if len(key) > self.max_key_length else None

    def _same(self, key: str) -> str:
        return key.lower() if self.ignores_case else key
