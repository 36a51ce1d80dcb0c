"""Requests of the query protocols, EC2's and that of STS and IAM: flat form fields into an Action and its members."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote_plus

from snapstone.core.sigv4 import query_pairs
from snapstone.wire.members import echo, integer_from_text
from snapstone.wire.models import API_VERSIONS, Member, Shape, ShapeType
from snapstone.wire.refusals import (
    InvalidParameterTypeError,
    MissingActionError,
    MissingParameterError,
    SerializationError,
    UnknownVersionError,
)

FORM_LIMIT: Final = 1_048_576
"""Bytes of a form body: some 25,000 snapshot ids in one call."""

NAME_PARTS_LIMIT: Final = 8
"""Parts of a field's name between dots; longer names belong to no operation and are ignored."""

_INDEX_DIGITS_LIMIT = 9
_BOOLEANS = {"true": True, "false": False}


@dataclass(slots=True)
class Field:
    """One part of a dotted field name: its own text, and the parts below it."""

    text: str | None = None
    parts: dict[str, Field] = field(default_factory=dict)


def read_fields(query: str, form: bytes) -> Field:
    """The fields of a request, from its query string, its form body, or both; the body's wins. Unsorted."""
    root = Field()
    for name, value in query_pairs(query):
        _place(root, name.decode("utf-8", "replace"), value.decode("utf-8", "replace"))
    for piece in form.decode("utf-8", "replace").split("&"):
        if piece:
            encoded_name, _, encoded_value = piece.partition("=")
            _place(root, unquote_plus(encoded_name), unquote_plus(encoded_value))
    return root


def _place(root: Field, name: str, text: str) -> None:
    parts = name.split(".", NAME_PARTS_LIMIT)
    if len(parts) > NAME_PARTS_LIMIT:
        return
    place = root
    for part in parts:
        place = place.parts.setdefault(part, Field())
    place.text = text


def read_action(root: Field, service: str) -> str:
    """The Action that the fields name. Raises MissingActionError, and UnknownVersionError for another API version."""
    action, version = root.parts.get("Action"), root.parts.get("Version")
    if version is not None and version.text != API_VERSIONS[service]:
        raise UnknownVersionError(service, echo(version.text))
    if action is None or not action.text:
        raise MissingActionError
    return action.text


def read_members(members: Iterable[Member], root: Field, *, may_lack: bool = False) -> dict[str, object]:
    """The members that were sent, keyed by model name; types are checked, and unless `may_lack` that none is missing.

    Raises MissingParameterError and InvalidParameterTypeError.
    """
    return _structure(members, root, "", may_lack)


def _structure(members: Iterable[Member], place: Field, prefix: str, may_lack: bool) -> dict[str, object]:
    values: dict[str, object] = {}
    for member in members:
        name = prefix + member.query_name
        below = place.parts.get(member.query_name)
        if below is not None:
            values[member.name] = _value(member.shape, below, name, may_lack)
        elif member.required and not may_lack:
            raise MissingParameterError(name)
    return values


def _value(shape: Shape, place: Field, name: str, may_lack: bool) -> object:
    if shape.type is ShapeType.STRUCTURE:
        return _structure(shape.members, place, name + ".", may_lack)
    if shape.type is ShapeType.LIST and shape.item is not None:
        return _list(shape, shape.item, place, name, may_lack)
    if place.text is None:
        raise InvalidParameterTypeError(name, "", f"one value of the type {shape.type}")
    if shape.type is ShapeType.STRING:
        return place.text
    if shape.type is ShapeType.BOOLEAN and place.text.lower() in _BOOLEANS:
        return _BOOLEANS[place.text.lower()]
    if shape.type in (ShapeType.INTEGER, ShapeType.LONG):
        try:
            return integer_from_text(shape.type, place.text, name)
        except SerializationError as error:
            raise InvalidParameterTypeError(name, echo(place.text), shape.type) from error
    if shape.type is ShapeType.TIMESTAMP:
        return _moment(place.text, name)
    raise InvalidParameterTypeError(name, echo(place.text), shape.type)


def _moment(text: str, name: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidParameterTypeError(name, echo(text), ShapeType.TIMESTAMP) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _list(shape: Shape, item: Shape, place: Field, name: str, may_lack: bool) -> list[object]:
    """Items by ascending number; hand-written clients leave gaps, which mean nothing. A list's name alone is empty."""
    if shape.item_query_name is not None:
        if not place.parts and not place.text:
            return []
        place, name = place.parts.get(shape.item_query_name, Field()), f"{name}.{shape.item_query_name}"
    if place.text is not None:
        raise InvalidParameterTypeError(name, echo(place.text), f"a list: {name}.1, {name}.2")
    numbers = sorted(
        (int(part), part)
        for part in place.parts
        if part.isascii() and part.isdigit() and len(part) <= _INDEX_DIGITS_LIMIT
    )
    return [_value(item, place.parts[part], f"{name}.{number}", may_lack) for number, part in numbers]
