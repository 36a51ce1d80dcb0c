"""The rest-json protocol as the EBS service speaks it: members out of requests; answers and faults on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NoReturn, cast

from snapstone.core.errors import InvalidContentEncodingError
from snapstone.storage.contract import BlockBuffer
from snapstone.wire.canonical import query_pairs
from snapstone.wire.constraints import echo
from snapstone.wire.departures import EMPTY_MEANS_ABSENT, EXTRA_NULL_OUTPUTS
from snapstone.wire.faults import EbsFault
from snapstone.wire.http import Body, Response
from snapstone.wire.models import Location, Member, Operation, Shape, ShapeType
from snapstone.wire.refusals import SerializationError
from snapstone.wire.routes import Route

JSON_BODY_LIMIT: Final = 262_144
"""Bytes of a JSON body: room for fifty of the longest tags with every character escaped."""

INTEGER_LIMITS: Final = {ShapeType.INTEGER: 2**31, ShapeType.LONG: 2**63}
"""First magnitude that the type does not hold."""

_ERROR_TYPE = "{code}:http://internal.amazon.com/coral/{namespace}/"
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def read_members(
    route: Route, query: str, headers: Mapping[str, str], json_body: bytes, stream: Body
) -> dict[str, object]:
    """The members that were sent, keyed by model name, each of its type; absent ones and JSON nulls are left out.

    Raises SerializationError, and InvalidContentEncodingError for an encoded block.
    """
    operation = route.operation
    values: dict[str, object] = {}
    texts: dict[Location, Mapping[str, str]] = {
        Location.URI: route.uri_values,
        Location.HEADER: headers,
        Location.QUERY: _query_texts(query) if query else {},
    }
    document = _document(json_body) if any(m.location is Location.BODY for m in operation.inputs) else {}
    for member in operation.inputs:
        value: object | None
        if member.location is Location.BODY:
            value = _from_json(member.shape, document.get(member.wire_name), member.field)
        elif member.location is Location.PAYLOAD:
            _check_content_encoding(headers)
            value = stream
        else:
            name = member.wire_name.lower() if member.location is Location.HEADER else member.wire_name
            value = _from_text(member, texts[member.location].get(name))
        if value is not None and not (value == "" and (operation.name, member.name) in EMPTY_MEANS_ABSENT):
            values[member.name] = value
    return values


def answer(operation: Operation, output: Mapping[str, object], request_id: str) -> Response:
    """A success: headers and body by the model; `output` is keyed by member name, times in milliseconds."""
    headers = [("x-amzn-RequestId", request_id)]
    for member in operation.outputs:
        value = output.get(member.name)
        if member.location is Location.HEADER and value is not None:
            headers.append((member.wire_name, str(value)))
    payload = next((member for member in operation.outputs if member.location is Location.PAYLOAD), None)
    if payload is not None:
        buffer = cast(BlockBuffer, output[payload.name])
        headers.append(("Content-Type", "application/octet-stream"))
        return Response(operation.status, headers, [buffer.payload], buffer.release)
    headers.append(("Content-Type", "application/json"))
    return Response(operation.status, headers, [_json_output(operation, output)])


def answer_fault(fault: EbsFault, request_id: str) -> Response:
    """A fault: modelled ones with `Message` and `Reason`, those of the framework with a lower-case `message` alone."""
    body = {"Message" if fault.is_modelled else "message": fault.message}
    if fault.reason is not None:
        body["Reason"] = fault.reason
    headers = [
        ("x-amzn-RequestId", request_id),
        ("x-amzn-ErrorType", _ERROR_TYPE.format(code=fault.code, namespace=fault.namespace)),
        ("Content-Type", "application/json"),
    ]
    return Response(fault.status, headers, [_encode(body).encode()])


# -- requests --


def _query_texts(query: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in query_pairs(query):
        texts.setdefault(name.decode("utf-8", "replace"), value.decode("utf-8", "replace"))
    return texts


def _check_content_encoding(headers: Mapping[str, str]) -> None:
    content_encoding = headers.get("content-encoding", "")
    if content_encoding.lower() not in ("", "identity"):
        raise InvalidContentEncodingError(content_encoding)


def _from_text(member: Member, text: str | None) -> object | None:
    if text is None or member.shape.type is ShapeType.STRING:
        return text
    return integer_from_text(member.shape.type, text, member.field)


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


def _document(body: bytes) -> Mapping[str, object]:
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


def _from_json(shape: Shape, value: object, field: str) -> object | None:
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
        return [_from_json(item, each, f"{field}.{number}.member") for number, each in enumerate(value, start=1)]
    if shape.type is ShapeType.STRUCTURE and isinstance(value, dict):
        members = ((m.name, _from_json(m.shape, value.get(m.wire_name), f"{field}.{m.field}")) for m in shape.members)
        return {name: each for name, each in members if each is not None}
    raise SerializationError(f"The value at '{field}' is not of the type {shape.type}.")


def _encodable(text: str, field: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SerializationError(f"The text at '{field}' has half of a surrogate pair.") from error
    return text


# -- answers --


def _json_output(operation: Operation, output: Mapping[str, object]) -> bytes:
    """Members in alphabetical order, absent ones as null, as the live service writes them."""
    pieces = [
        (member.name, _json_value(member.shape, output.get(member.name)))
        for member in operation.outputs
        if member.location is Location.BODY
    ]
    pieces.extend((name, "null") for name in EXTRA_NULL_OUTPUTS.get(operation.name, ()))
    return ("{" + ",".join(f'"{name}":{text}' for name, text in sorted(pieces)) + "}").encode()


def _json_value(shape: Shape, value: object) -> str:
    if shape.type is ShapeType.TIMESTAMP and isinstance(value, int):
        return f"{value // 1000}.{value % 1000:03d}"
    return _encode(value)
