"""Validation of IAM's members (names, paths, tags, durations; limits as documented by AWS), and IAM's pages."""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from snapstone.core.errors import IdentityLimitError, IdentityValidationError, InvalidIdentityInputError, SnapstoneError
from snapstone.core.tags import MAX_KEY_LENGTH, MAX_TAGS, MAX_VALUE_LENGTH, TAG_CHARACTERS, Pair, TagProblem, TagRule

Tag = Mapping[str, str]
"""`Key` and `Value`, as the wire hands them over."""

NAME_LIMIT: Final = 64
POLICY_NAME_LIMIT: Final = 128
PATH_LIMIT: Final = 512
DESCRIPTION_LIMIT: Final = 1_000

_NAME: Final = re.compile(r"[\w+=,.@-]+", re.ASCII)
_PATH: Final = re.compile(r"/|/[!-~]+/")


def check_name(member: str, name: str, limit: int = NAME_LIMIT) -> None:
    """Raises IdentityValidationError."""
    check_length(member, name, 1, limit)
    if not _NAME.fullmatch(name):
        raise IdentityValidationError(
            f"The specified value for {member} is invalid. "
            "It must contain only alphanumeric characters and/or the following: +=,.@_-"
        )


def check_path(path: str) -> None:
    """Raises IdentityValidationError."""
    check_length("path", path, 1, PATH_LIMIT)
    if not _PATH.fullmatch(path) or "//" in path:
        raise IdentityValidationError(
            "The specified value for path is invalid. It must begin and end with / and contain only "
            "alphanumeric characters and/or / characters."
        )


def check_length(member: str, text: str, least: int, most: int) -> None:
    """Raises IdentityValidationError."""
    if len(text) < least:
        raise _constraint(member, f"Member must have length greater than or equal to {least}")
    if len(text) > most:
        raise _constraint(member, f"Member must have length less than or equal to {most}")


def check_range(member: str, value: int, least: int, most: int) -> None:
    """Raises IdentityValidationError."""
    if value < least:
        raise _constraint(member, f"Member must have value greater than or equal to {least}")
    if value > most:
        raise _constraint(member, f"Member must have value less than or equal to {most}")


def _constraint(member: str, rule: str) -> IdentityValidationError:
    return IdentityValidationError(
        f"1 validation error detected: Value at '{member}' failed to satisfy constraint: {rule}"
    )


def _tag_error(problem: TagProblem, key: str) -> SnapstoneError:
    match problem:
        case TagProblem.KEY_EMPTY:
            return _constraint("tags.member.key", "Member must have length greater than or equal to 1")
        case TagProblem.KEY_TOO_LONG:
            return _constraint("tags.member.key", f"Member must have length less than or equal to {MAX_KEY_LENGTH}")
        case TagProblem.VALUE_TOO_LONG:
            return _constraint("tags.member.value", f"Member must have length less than or equal to {MAX_VALUE_LENGTH}")
        case TagProblem.CHARACTER:
            return InvalidIdentityInputError(f"The tag {key!r} has a character that no tag may have.")
        case TagProblem.RESERVED:
            return InvalidIdentityInputError("Tag keys that begin with aws: are reserved.")
        case TagProblem.DUPLICATE:
            return InvalidIdentityInputError(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive."
            )
        case TagProblem.TOO_MANY_SENT:
            return InvalidIdentityInputError(f"Tags cannot be more than {MAX_TAGS}.")
        case TagProblem.TOO_MANY_KEPT:
            return IdentityLimitError(f"The number of tags has reached the maximum limit of {MAX_TAGS}.")


TAG_RULE: Final = TagRule(_tag_error, characters=TAG_CHARACTERS, ignores_case=True)


def read_tags(tags: Sequence[Tag] | None) -> tuple[Pair, ...]:
    """Tags in order of key. Keys that differ in case only are the same.

    Raises IdentityValidationError and InvalidIdentityInputError.
    """
    return tuple(sorted(TAG_RULE.sent(tags or ())))


def tag_members(tags: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Tags as an answer holds them."""
    return [{"Key": key, "Value": value} for key, value in tags]


DEFAULT_MAX_ITEMS: Final = 100
MOST_MAX_ITEMS: Final = 1_000

Item = TypeVar("Item")


def page_of(
    items: Iterable[Item],
    key: Callable[[Item], str],
    member: str,
    render: Callable[[Item], object],
    marker: str | None,
    max_items: int | None,
) -> dict[str, object]:
    """The answer's page after `marker`: what `render` makes of the items under `member`, and whether more follow.

    Keys are unique. Raises IdentityValidationError.
    """
    size = DEFAULT_MAX_ITEMS if max_items is None else max_items
    check_range("maxItems", size, 1, MOST_MAX_ITEMS)
    after = None if marker is None else _read_marker(marker)
    left = sorted((item for item in items if after is None or key(item) > after), key=key)
    answer: dict[str, object] = {member: [render(item) for item in left[:size]], "IsTruncated": len(left) > size}
    if len(left) > size:
        answer["Marker"] = urlsafe_b64encode(key(left[size - 1]).encode()).decode()
    return answer


def _read_marker(marker: str) -> str:
    try:
        return b64decode(marker, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise IdentityValidationError("Invalid Marker.") from None
