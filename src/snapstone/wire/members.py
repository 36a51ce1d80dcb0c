"""Members of requests and answers: the models' constraints, and values of their types from and to JSON.

Constraints are checked with the exact words of AWS, all violations of a request in one message.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Final, NoReturn

from snapstone.wire.models import Member, Shape, ShapeType
from snapstone.wire.refusals import ConstraintError, SerializationError

ECHO_LIMIT: Final = 512
"""Characters of a caller's own value that an error message repeats: more than any constraint allows a value to have."""

VIOLATIONS_LIMIT: Final = 20
"""Violations that one message tells of."""


def echo(value: object, limit: int = ECHO_LIMIT) -> str:
    """A value as an error message repeats it: cut short if it is longer than `limit` characters."""
    text = str(value)
    return text if len(text) <= limit else text[:limit] + "..."


def check_members(members: Iterable[Member], values: Mapping[str, object]) -> None:
    """Check `values`, keyed by model member name, each of its right type already. Raises ConstraintError."""
    violations: list[str] = []
    _check_structure(members, values, "", violations)
    if violations:
        raise ConstraintError(tuple(violations[:VIOLATIONS_LIMIT]))


def _check_structure(members: Iterable[Member], values: Mapping[str, object], prefix: str, found: list[str]) -> None:
    for member in members:
        value = values.get(member.name)
        if value is not None:
            _check_value(member.shape, value, prefix + member.field, found)
        elif member.required:
            found.append(_null(prefix + member.field))


def _check_value(shape: Shape, value: object, path: str, found: list[str]) -> None:
    if isinstance(value, str):
        _check_text(shape, value, path, found)
    elif isinstance(value, bytes):
        _check_bytes(shape, value, path, found)
    elif isinstance(value, list):
        _check_list(shape, value, path, found)
    elif isinstance(value, dict):
        _check_structure(shape.members, value, path + ".", found)
    elif isinstance(value, int):
        if shape.minimum is not None and value < shape.minimum:
            found.append(_violation(value, path, f"Member must have value greater than or equal to {shape.minimum}"))
        if shape.maximum is not None and value > shape.maximum:
            found.append(_violation(value, path, f"Member must have value less than or equal to {shape.maximum}"))


def _check_text(shape: Shape, value: str, path: str, found: list[str]) -> None:
    if shape.minimum is not None and len(value) < shape.minimum:
        found.append(_violation(value, path, f"Member must have length greater than or equal to {shape.minimum}"))
    if shape.maximum is not None and len(value) > shape.maximum:
        found.append(_violation(value, path, f"Member must have length less than or equal to {shape.maximum}"))
    if shape.pattern is not None and not shape.pattern.fullmatch(value):
        found.append(_violation(value, path, f"Member must satisfy regular expression pattern: {shape.pattern_text}"))
    if shape.enum and value not in shape.enum:
        found.append(_violation(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"))


def _check_bytes(shape: Shape, value: bytes, path: str, found: list[str]) -> None:
    """The size alone: what the bytes are may be a secret, and is not repeated."""
    shown = f"{len(value)} bytes"
    if shape.minimum is not None and len(value) < shape.minimum:
        found.append(_violation(shown, path, f"Member must have length greater than or equal to {shape.minimum}"))
    if shape.maximum is not None and len(value) > shape.maximum:
        found.append(_violation(shown, path, f"Member must have length less than or equal to {shape.maximum}"))


def _check_list(shape: Shape, items: list[object], path: str, found: list[str]) -> None:
    for number, item in enumerate(items, start=1):
        if len(found) >= VIOLATIONS_LIMIT:
            return
        item_path = f"{path}.{number}.member"
        if item is None or shape.item is None:
            found.append(_null(item_path))
        else:
            _check_value(shape.item, item, item_path, found)


def _violation(value: object, path: str, constraint: str) -> str:
    return f"Value '{echo(value)}' at '{path}' failed to satisfy constraint: {constraint}"


def _null(path: str) -> str:
    return f"Value null at '{path}' failed to satisfy constraint: Member must not be null"


INTEGER_LIMITS: Final = {ShapeType.INTEGER: 2**31, ShapeType.LONG: 2**63}
"""First magnitude that the type does not hold."""

encode: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def integer_from_text(shape_type: ShapeType, text: str, field: str) -> int:
    """The integer that a text writes in decimal. Raises SerializationError for any other text or too great a number."""
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 20:
        return _in_range(shape_type, int(text), field)
    raise SerializationError(f"Value '{echo(text)}' at '{field}' is not an integer.")


def _in_range(shape_type: ShapeType, value: int, field: str) -> int:
    limit = INTEGER_LIMITS[shape_type]
    if not -limit <= value < limit:
        raise SerializationError(f"Value '{echo(value)}' at '{field}' is out of the range of its type.")
    return value


def read_document(body: bytes) -> Mapping[str, object]:
    if not body:
        return {}
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SerializationError("The body is not valid JSON.") from error
    if not isinstance(document, dict):
        raise SerializationError("The body is not a JSON object.")
    return document


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def from_json(shape: Shape, value: object, field: str) -> object | None:
    if value is None:
        return None
    if shape.type is ShapeType.STRING and isinstance(value, str):
        return _encodable(value, field)
    if shape.type is ShapeType.BOOLEAN and isinstance(value, bool):
        return value
    if shape.type in INTEGER_LIMITS and isinstance(value, int) and not isinstance(value, bool):
        return _in_range(shape.type, value, field)
    if shape.type is ShapeType.LIST and isinstance(value, list) and shape.item is not None:
        item = shape.item
        return [from_json(item, each, f"{field}.{number}.member") for number, each in enumerate(value, start=1)]
    if shape.type is ShapeType.STRUCTURE and isinstance(value, dict):
        members = ((m.name, from_json(m.shape, value.get(m.wire_name), f"{field}.{m.field}")) for m in shape.members)
        return {name: each for name, each in members if each is not None}
    if shape.type is ShapeType.MAP and isinstance(value, dict) and shape.item is not None:
        return _map(shape.item, value, field)
    if shape.type is ShapeType.BLOB and isinstance(value, str):
        return _blob(value, field)
    if shape.type is ShapeType.TIMESTAMP and isinstance(value, (int, float)) and not isinstance(value, bool):
        return round(value * 1000)
    raise SerializationError(f"The value at '{field}' is not of the type {shape.type}.")


def _map(item: Shape, entries: Mapping[str, object], field: str) -> dict[str, object]:
    """Keys are texts as values are, and a map has no nulls."""
    values: dict[str, object] = {}
    for key, each in entries.items():
        value = from_json(item, each, f"{field}.{echo(_encodable(key, field))}")
        if value is None:
            raise SerializationError(f"The value at '{field}.{echo(key)}' is null.")
        values[key] = value
    return values


def _blob(text: str, field: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SerializationError(f"The value at '{field}' is not base64.") from None


def _encodable(text: str, field: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SerializationError(f"The text at '{field}' has half of a surrogate pair.") from error
    return text


def to_json(shape: Shape, value: object) -> object:
    """A value of an answer as JSON has it: times in seconds, bytes as base64, absent members left out."""
    if isinstance(value, Mapping):
        if shape.type is ShapeType.MAP and shape.item is not None:
            return {name: to_json(shape.item, each) for name, each in value.items()}
        return members_to_json(shape.members, value)
    if isinstance(value, (list, tuple)) and shape.item is not None:
        return [to_json(shape.item, each) for each in value]
    if shape.type is ShapeType.TIMESTAMP and isinstance(value, int):
        return value / 1000
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    return value


def members_to_json(members: Iterable[Member], values: Mapping[str, object]) -> dict[str, object]:
    """The members that are there."""
    return {m.wire_name: to_json(m.shape, values[m.name]) for m in members if values.get(m.name) is not None}
