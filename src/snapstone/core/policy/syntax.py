"""The JSON of a policy: bounded, without doubles, and read member by member with errors that name the place."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, NoReturn

from snapstone.core.identity_errors import MalformedPolicyError

DOCUMENT_LIMIT: Final = 131_072
"""Characters of a document with its white space (the models' limit)."""

DEPTH_LIMIT: Final = 16
"""Objects and arrays inside one another; the language itself needs six."""

ECHO_LIMIT: Final = 200
"""Characters of a value that a message repeats."""

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
"""One that does not end goes on to the document's end, so that none of it is looked at twice."""

_BRACKETS: Final = re.compile(r"[\[\]{}]")


def read_json(text: str) -> dict[str, object]:
    """The object that a document is. Raises MalformedPolicyError."""
    if len(text) > DOCUMENT_LIMIT:
        raise MalformedPolicyError(f"A policy has at most {DOCUMENT_LIMIT} characters; this one has {len(text)}.")
    _check_depth(text)
    try:
        found: object = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except ValueError as error:
        raise MalformedPolicyError(f"Syntax errors in policy: {error}") from None
    return as_object(found, "The policy")


def as_object(value: object, place: str) -> dict[str, object]:
    """Raises MalformedPolicyError for a value that is no object."""
    if not isinstance(value, dict):
        refuse(place, value, "is not an object")
    return value


def as_text(value: object, place: str) -> str:
    """Raises MalformedPolicyError for a value that is no string."""
    if not isinstance(value, str):
        refuse(place, value, "is not a string")
    return value


def as_texts(value: object, place: str) -> Sequence[str]:
    """One string or a list of them. Raises MalformedPolicyError for anything else, an empty list too."""
    if isinstance(value, list) and value:
        return [as_text(each, place) for each in value]
    return [as_text(value, place)]


def as_condition_texts(value: object, place: str) -> Sequence[str]:
    """As `as_texts`; numbers and booleans may stand without quotes."""
    if isinstance(value, list) and value:
        return [as_text(_quoted(each), place) for each in value]
    return [as_text(_quoted(value), place)]


def refuse(place: str, value: object, why: str) -> NoReturn:
    """Raises MalformedPolicyError with the place, the value and what is wrong with it."""
    raise MalformedPolicyError(f"{place}: {json.dumps(value)[:ECHO_LIMIT]} {why}.")


def _quoted(value: object) -> object:
    return json.dumps(value) if isinstance(value, bool | int | float) else value


def _check_depth(text: str) -> None:
    """Before parsing, as the parser would go as deep as the text leads it."""
    depth = 0
    for bracket in _BRACKETS.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEPTH_LIMIT:
            raise MalformedPolicyError(f"A policy nests objects and arrays at most {DEPTH_LIMIT} deep.")


def _object(members: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(members)
    if len(found) < len(members):
        twice = Counter(name for name, _ in members).most_common(1)[0][0]
        raise MalformedPolicyError(f"Syntax errors in policy: {json.dumps(twice)[:ECHO_LIMIT]} stands twice.")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise MalformedPolicyError(f"Syntax errors in policy: {text} is no JSON.")
