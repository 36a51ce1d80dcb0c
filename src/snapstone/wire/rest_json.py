"""The rest-json protocol as the EBS service speaks it: operations by method and path, members, answers and faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import unquote

from snapstone.core.errors import InvalidContentEncodingError
from snapstone.core.sigv4 import query_pairs
from snapstone.storage.contract import BlockBuffer
from snapstone.wire.faults import EbsFault
from snapstone.wire.http import Body, Response
from snapstone.wire.members import echo, encode, from_json, integer_from_text, members_to_json, read_document
from snapstone.wire.models import EMPTY_MEANS_ABSENT, EXTRA_NULL_OUTPUTS, Location, Member, Operation, Shape, ShapeType
from snapstone.wire.refusals import UnknownOperationError


@dataclass(frozen=True, slots=True)
class Route:
    """An operation, and the path's own members by their names in the request URI."""

    operation: Operation
    uri_values: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Template:
    operation: Operation
    fixed: tuple[tuple[int, str], ...]
    places: tuple[tuple[int, str], ...]
    length: int


class Routes:
    """Matches paths by their last segments, so a base path that a proxy puts before `/snapshots` does not matter."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._templates: dict[str, list[_Template]] = {}
        for operation in operations:
            self._templates.setdefault(operation.method, []).append(_template(operation))
        for templates in self._templates.values():
            templates.sort(key=lambda template: template.length, reverse=True)

    def find(self, method: str, path: str) -> Route:
        """The longest request URI that the raw `path` ends in.

        Members are percent-decoded exactly once, after the split, so an encoded slash stays inside its segment.
        Raises UnknownOperationError if none matches.
        """
        segments = path.split("/")[1:]
        for template in self._templates.get(method, ()):
            start = len(segments) - template.length
            if start >= 0 and all(segments[start + at] == text for at, text in template.fixed):
                return Route(template.operation, {name: unquote(segments[start + at]) for at, name in template.places})
        raise UnknownOperationError(echo(method), echo(path))


def _template(operation: Operation) -> _Template:
    fixed, places = [], []
    for at, segment in enumerate(operation.uri_segments):
        if segment.startswith("{"):
            places.append((at, segment.strip("{}")))
        else:
            fixed.append((at, segment))
    return _Template(operation, tuple(fixed), tuple(places), len(operation.uri_segments))


JSON_BODY_LIMIT: Final = 262_144
"""Bytes of a JSON body: space for fifty of the longest tags with every character escaped."""

_ERROR_TYPE = "{code}:http://internal.amazon.com/coral/{namespace}/"


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
    document = read_document(json_body) if any(m.location is Location.BODY for m in operation.inputs) else {}
    for member in operation.inputs:
        value: object | None
        if member.location is Location.BODY:
            value = from_json(member.shape, document.get(member.wire_name), member.field)
        elif member.location is Location.PAYLOAD:
            _check_content_encoding(headers)
            value = stream
        elif member.shape.type is ShapeType.LIST:
            value = _query_list(query, member.wire_name)
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
    if operation.service == "ebs":
        return Response(operation.status, headers, [_json_output(operation, output)])
    members = (member for member in operation.outputs if member.location is Location.BODY)
    return Response(operation.status, headers, [encode(members_to_json(members, output)).encode()])


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
    return Response(fault.status, headers, [encode(body).encode()])


# -- requests --


def _query_texts(query: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in query_pairs(query):
        texts.setdefault(name.decode("utf-8", "replace"), value.decode("utf-8", "replace"))
    return texts


def _query_list(query: str, wire_name: str) -> list[str] | None:
    """Every text of a list that travels in the query, or None if it is not there."""
    name = wire_name.encode()
    return [value.decode("utf-8", "replace") for each, value in query_pairs(query) if each == name] or None


def _check_content_encoding(headers: Mapping[str, str]) -> None:
    content_encoding = headers.get("content-encoding", "")
    if content_encoding.lower() not in ("", "identity"):
        raise InvalidContentEncodingError(content_encoding)


def _from_text(member: Member, text: str | None) -> object | None:
    if text is None or member.shape.type is ShapeType.STRING:
        return text
    return integer_from_text(member.shape.type, text, member.field)


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
    return encode(value)
