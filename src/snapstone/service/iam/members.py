"""What IAM's members may hold: names, paths, tags and durations (limits as AWS documents them)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from snapstone.core.identity_errors import IdentityLimitError, IdentityValidationError, InvalidIdentityInputError

Tag = Mapping[str, str]
"""`Key` and `Value`, as the wire hands them over."""

NAME_LIMIT: Final = 64
POLICY_NAME_LIMIT: Final = 128
PATH_LIMIT: Final = 512
DESCRIPTION_LIMIT: Final = 1_000
TAG_LIMIT: Final = 50
TAG_KEY_LIMIT: Final = 128
TAG_VALUE_LIMIT: Final = 256

_NAME: Final = re.compile(r"[\w+=,.@-]+", re.ASCII)
_PATH: Final = re.compile(r"/|/[!-~]+/")
_TAG_TEXT: Final = re.compile(r"[\w\s_.:/=+\-@]*")


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


def read_tags(tags: Sequence[Tag] | None) -> dict[str, str]:
    """Tags by key. Keys that differ in case only are the same. Raises IdentityValidationError and
    InvalidIdentityInputError."""
    read: dict[str, str] = {}
    for tag in tags or ():
        key, value = tag["Key"], tag["Value"]
        check_length("tags.member.key", key, 1, TAG_KEY_LIMIT)
        check_length("tags.member.value", value, 0, TAG_VALUE_LIMIT)
        if not _TAG_TEXT.fullmatch(key) or not _TAG_TEXT.fullmatch(value):
            raise InvalidIdentityInputError(f"The tag {key!r} has a character that no tag may have.")
        if key.lower().startswith("aws:"):
            raise InvalidIdentityInputError("Tag keys that begin with aws: are reserved.")
        if key.lower() in {other.lower() for other in read}:
            raise InvalidIdentityInputError("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
        read[key] = value
    if len(read) > TAG_LIMIT:
        raise InvalidIdentityInputError(f"Tags cannot be more than {TAG_LIMIT}.")
    return read


def with_tags(before: Sequence[tuple[str, str]], added: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Tags with others in place of those of the same key. Raises IdentityLimitError."""
    replaced = {key.lower() for key in added}
    tags = {key: value for key, value in before if key.lower() not in replaced} | dict(added)
    if len(tags) > TAG_LIMIT:
        raise IdentityLimitError(f"The number of tags has reached the maximum limit of {TAG_LIMIT}.")
    return tuple(sorted(tags.items()))


def without_tags(before: Sequence[tuple[str, str]], keys: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Tags but for those of these keys."""
    removed = {key.lower() for key in keys}
    return tuple((key, value) for key, value in before if key.lower() not in removed)


def tag_members(tags: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Tags as an answer holds them."""
    return [{"Key": key, "Value": value} for key, value in tags]
