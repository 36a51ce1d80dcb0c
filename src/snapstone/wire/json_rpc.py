"""The JSON 1.1 protocol, which KMS speaks: the operation in a header, members in a JSON body both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from snapstone.wire.faults import CodedFault
from snapstone.wire.http import Response
from snapstone.wire.members import echo, encode, from_json, members_to_json, read_document
from snapstone.wire.models import Operation
from snapstone.wire.refusals import MissingActionError, UnknownActionError

CONTENT_TYPE: Final = "application/x-amz-json-1.1"

BODY_LIMIT: Final = 262_144
"""Bytes of a body: a key policy of 32 KiB with every character escaped, and more than any other request has."""

TARGET_PREFIX: Final = "TrentService"


def read_target(headers: Mapping[str, str]) -> str:
    """The operation that X-Amz-Target names. Raises MissingActionError, UnknownActionError."""
    target = headers.get("x-amz-target")
    if target is None:
        raise MissingActionError
    prefix, _, name = target.partition(".")
    if prefix != TARGET_PREFIX or not name:
        raise UnknownActionError(echo(target))
    return name


def read_members(operation: Operation, body: bytes) -> dict[str, object]:
    """The members that were sent, keyed by model name; JSON nulls are left out. Raises SerializationError."""
    document = read_document(body)
    values = (
        (member, from_json(member.shape, document.get(member.wire_name), member.field)) for member in operation.inputs
    )
    return {member.name: value for member, value in values if value is not None}


def answer(operation: Operation, output: Mapping[str, object], request_id: str) -> Response:
    """A success; an operation without an output shape has an empty body."""
    body = [encode(members_to_json(operation.outputs, output)).encode()] if operation.has_output else []
    return Response(operation.status, _headers(request_id), body)


def answer_fault(fault: CodedFault, request_id: str) -> Response:
    """A fault, whose code is in the body; both spellings of `message` are there, because clients read either."""
    body = {"__type": fault.code, "message": fault.message, "Message": fault.message}
    headers = [*_headers(request_id), ("x-amzn-ErrorType", fault.code)]
    return Response(fault.status, headers, [encode(body).encode()])


def _headers(request_id: str) -> list[tuple[str, str]]:
    return [("x-amzn-RequestId", request_id), ("Content-Type", CONTENT_TYPE)]
