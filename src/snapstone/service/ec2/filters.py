"""Filters, ids and page sizes of EC2's Describe operations.

Values of one filter are alternatives, filters add up, `*` and `?` match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, TypedDict, TypeVar

from snapstone.core.errors import (
    FilterLimitError,
    InvalidParameterCombinationError,
    InvalidParameterError,
    MalformedAccountIdError,
    MalformedSnapshotIdError,
)
from snapstone.core.ids import SnapshotId, is_minted_snapshot_id

_ACCOUNT_ID = re.compile(r"[0-9]{12}")


def require_account_ids(texts: Iterable[str], besides: Collection[str] = ()) -> None:
    """Raises MalformedAccountIdError for what is no account id and none of the words that may stand in its place."""
    for text in texts:
        if text not in besides and not _ACCOUNT_ID.fullmatch(text):
            raise MalformedAccountIdError(text)


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


MIN_RESULTS: Final = 5


def require_ids(snapshot_ids: Sequence[str] | None) -> set[SnapshotId] | None:
    """The ids as a set, None if none were given. Raises InvalidParameterError and MalformedSnapshotIdError."""
    for snapshot_id in snapshot_ids or ():
        if not snapshot_id.startswith("snap-"):
            raise InvalidParameterError(f'Invalid id: "{snapshot_id}" (expecting "snap-...")')
        if not is_minted_snapshot_id(snapshot_id):
            raise MalformedSnapshotIdError(snapshot_id)
    return {SnapshotId(each) for each in snapshot_ids} if snapshot_ids else None


def check_page_size(max_results: int | None, snapshot_ids: Sequence[str] | None = None) -> None:
    """Raises InvalidParameterError and InvalidParameterCombinationError."""
    if max_results is None:
        return
    if snapshot_ids:
        raise InvalidParameterCombinationError("The parameter SnapshotIds cannot be used with the parameter MaxResults")
    if max_results < MIN_RESULTS:
        raise InvalidParameterError(
            f"Value ( {max_results} ) for parameter maxResults is invalid. Expecting at least {MIN_RESULTS}."
        )
