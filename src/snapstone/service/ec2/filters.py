"""Filters of the EC2 Describe operations: values of one filter are alternatives, filters add up, `*` and `?` match."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypedDict, TypeVar

from snapstone.core.errors import FilterLimitError, InvalidParameterError

MAX_FILTER_VALUES: Final = 200
"""Values in all filters of one call."""

Subject = TypeVar("Subject")


class Filter(TypedDict):
    """One filter as the API carries it."""

    Name: str
    Values: list[str]


Facts = Mapping[str, Callable[[Subject], Iterable[str]]]
"""For each filter name, the texts of a subject that its values are held against."""


Tags = Callable[[Subject], Iterable[tuple[str, str]]]
"""The tags of a subject, which the filters `tag:KEY` and `tag-key` look at."""


def matcher(
    filters: Sequence[Filter], facts: Facts[Subject], tags: Tags[Subject] | None = None
) -> Callable[[Subject], bool]:
    """Whether a subject passes every filter. Raises InvalidParameterError for a filter that there is not."""
    if sum(len(each.get("Values", ())) for each in filters) > MAX_FILTER_VALUES:
        raise FilterLimitError(MAX_FILTER_VALUES)
    tests = [_test(each, facts, tags) for each in filters]
    return lambda subject: all(test(subject) for test in tests)


def select(
    subjects: Iterable[Subject], filters: Sequence[Filter], facts: Facts[Subject], tags: Tags[Subject] | None = None
) -> list[Subject]:
    """The subjects that pass every filter. Raises InvalidParameterError for a filter that there is not."""
    matches = matcher(filters, facts, tags)
    return [subject for subject in subjects if matches(subject)]


def _test(given: Filter, facts: Facts[Subject], tags: Tags[Subject] | None) -> Callable[[Subject], bool]:
    name = given.get("Name", "")
    texts: Callable[[Subject], Iterable[str]]
    if name in facts:
        texts = facts[name]
    elif tags is not None and name.startswith("tag:"):
        texts = _values_of(name.removeprefix("tag:"), tags)
    elif tags is not None and name == "tag-key":
        texts = _keys(tags)
    else:
        raise InvalidParameterError(f"The filter '{name}' is invalid")
    patterns = [_pattern(value) for value in given.get("Values", ())]
    return lambda subject: any(pattern.fullmatch(text) for text in texts(subject) for pattern in patterns)


def _values_of(wanted: str, tags: Tags[Subject]) -> Callable[[Subject], Iterable[str]]:
    return lambda subject: (value for key, value in tags(subject) if key == wanted)


def _keys(tags: Tags[Subject]) -> Callable[[Subject], Iterable[str]]:
    return lambda subject: (key for key, _ in tags(subject))


def _pattern(value: str) -> re.Pattern[str]:
    """The pattern of a filter's value: a backslash takes the meaning from `*`, `?` and `\\`.

    What stands between two stars is taken where it is first found and never looked for again: if any match exists,
    that one does, and without going back the cost is bounded by the product of both lengths.
    """
    pieces, characters = [""], iter(value)
    for character in characters:
        if character == "*":
            pieces.append("")
        elif character == "?":
            pieces[-1] += "."
        else:
            pieces[-1] += re.escape(next(characters, "\\") if character == "\\" else character)
    first, *between = pieces
    last = f".*{between.pop()}" if between else ""
    return re.compile(first + "".join(f"(?>.*?{piece})" for piece in between if piece) + last, re.DOTALL)
