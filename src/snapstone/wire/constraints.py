"""The models' constraints, checked with the exact words of AWS: all violations of a request in one message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from snapstone.wire.models import Member, Shape
from snapstone.wire.refusals import ConstraintError

ECHO_LIMIT: Final = 512
"""Characters of a caller's own value that an error message repeats: more than any constraint allows a value to have."""

VIOLATIONS_LIMIT: Final = 20
"""Violations that one message tells of."""


def echo(value: object, limit: int = ECHO_LIMIT) -> str:
    """A value as an error message repeats it: cut short where it is longer than `limit` characters."""
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
