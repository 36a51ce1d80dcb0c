"""Answers of the query protocols, EC2's and that of STS and IAM: members as XML by the model, and error documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape

from snapstone.wire.faults import CodedFault
from snapstone.wire.http import Response
from snapstone.wire.models import Member, Operation, Shape, ShapeType

CONTENT_TYPE: Final = "text/xml;charset=UTF-8"
QUERY_CONTENT_TYPE: Final = "text/xml"

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENTITIES = {"\r": "&#13;"}


def xml_text(text: str) -> str:
    """`text` as element content: escaped, without the characters that XML 1.0 cannot hold at all."""
    return escape(_FORBIDDEN.sub("", text), _ENTITIES)


def answer(operation: Operation, output: Mapping[str, object] | None, request_id: str) -> Response:
    """A success of EC2; operations without an output shape say `<return>true</return>`."""
    pieces = [
        _DECLARATION,
        f'<{operation.name}Response xmlns="{operation.namespace}"><requestId>{xml_text(request_id)}</requestId>',
    ]
    if operation.has_output:
        _structure(operation.outputs, output or {}, pieces)
    else:
        pieces.append("<return>true</return>")
    pieces.append(f"</{operation.name}Response>")
    return Response(operation.status, _headers(request_id), ["".join(pieces).encode()])


def answer_wrapped(operation: Operation, output: Mapping[str, object] | None, request_id: str) -> Response:
    """A success of STS or IAM: the members in an element of their own, if there are any, then the request's id."""
    pieces = [_DECLARATION, f'<{operation.name}Response xmlns="{operation.namespace}">']
    if operation.result_wrapper is not None:
        pieces.append(f"<{operation.result_wrapper}>")
        _structure(operation.outputs, output or {}, pieces)
        pieces.append(f"</{operation.result_wrapper}>")
    pieces.append(f"<ResponseMetadata><RequestId>{xml_text(request_id)}</RequestId></ResponseMetadata>")
    pieces.append(f"</{operation.name}Response>")
    return Response(operation.status, _headers(request_id, QUERY_CONTENT_TYPE), ["".join(pieces).encode()])


def answer_query_fault(fault: CodedFault, namespace: str, request_id: str) -> Response:
    """The error document of STS and IAM."""
    blamed = "Receiver" if fault.status >= 500 else "Sender"
    text = (
        f'{_DECLARATION}<ErrorResponse xmlns="{namespace}"><Error><Type>{blamed}</Type><Code>{fault.code}</Code>'
        f"<Message>{xml_text(fault.message)}</Message></Error>"
        f"<RequestId>{xml_text(request_id)}</RequestId></ErrorResponse>"
    )
    return Response(fault.status, _headers(request_id, QUERY_CONTENT_TYPE), [text.encode()])


def answer_fault(fault: CodedFault, request_id: str) -> Response:
    """An error document, the same for every EC2 operation."""
    text = (
        f"{_DECLARATION}<Response><Errors><Error><Code>{fault.code}</Code><Message>{xml_text(fault.message)}</Message>"
        f"</Error></Errors><RequestID>{xml_text(request_id)}</RequestID></Response>"
    )
    return Response(fault.status, _headers(request_id), [text.encode()])


def _headers(request_id: str, content_type: str = CONTENT_TYPE) -> list[tuple[str, str]]:
    return [("x-amzn-RequestId", request_id), ("Content-Type", content_type)]


def _structure(members: Iterable[Member], values: Mapping[str, object], pieces: list[str]) -> None:
    for member in members:
        value = values.get(member.name)
        if value is not None:
            _element(member.wire_name, member.shape, value, pieces)


def _element(name: str, shape: Shape, value: object, pieces: list[str]) -> None:
    pieces.append(f"<{name}>")
    if isinstance(value, Mapping):
        _structure(shape.members, value, pieces)
    elif isinstance(value, (list, tuple)) and shape.item is not None:
        for item in value:
            _element(shape.item_wire_name, shape.item, item, pieces)
    else:
        pieces.append(_text(shape, value))
    pieces.append(f"</{name}>")


def _text(shape: Shape, value: object) -> str:
    if shape.type is ShapeType.TIMESTAMP and isinstance(value, int):
        moment = datetime.fromtimestamp(value // 1000, UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{value % 1000:03d}Z"
    if isinstance(value, bool):
        return "true" if value else "false"
    return xml_text(str(value))
