"""Responses as bytes: the head that goes before a body, and the few answers that the listener gives by itself."""

from __future__ import annotations

import json
import os
import time
from email.utils import formatdate
from http.client import responses
from typing import Final

from snapstone.wire.http import Response

INTERNAL_ERROR: Final = "InternalServerException:http://internal.amazon.com/coral/com.amazon.zeppelindataservice/"

_BODILESS_STATUSES: Final = frozenset({204, 304})

_STATUS_LINES: Final = {status: f"HTTP/1.1 {status} {reason}\r\n" for status, reason in responses.items()}

_date: tuple[int, str] = (0, "")


def answer_pieces(response: Response, method: str, connection: str | None) -> list[bytes | memoryview]:
    """The head and then the body's own pieces, uncopied; `connection` is the value of that header where it has one.

    Raises ValueError where a header would break out of its line.
    """
    has_body = response.status not in _BODILESS_STATUSES
    lines = [f"{name}: {value}\r\n" for name, value in response.headers]
    if connection is not None:
        lines.append(f"Connection: {connection}\r\n")
    if has_body:
        lines.append(f"Content-Length: {sum(map(len, response.body))}\r\n")
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines):
        raise ValueError("a response's header has a line break in it")
    status_line = _STATUS_LINES.get(response.status) or f"HTTP/1.1 {response.status} \r\n"
    head = f"{status_line}Date: {http_date()}\r\n{text}\r\n".encode("latin-1")
    return [head, *response.body] if has_body and method != "HEAD" else [head]


def cut_pieces(pieces: list[bytes | memoryview], size: int) -> list[bytes | memoryview]:
    """The head, and no more than `size` bytes of the body that it announces."""
    kept = pieces[:1]
    for piece in pieces[1:]:
        kept.append(piece[:size])
        size -= len(kept[-1])
    return kept


def refusal(status: int, message: str, request_id: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """An answer of the listener itself: to what is not HTTP, or to a connection too many."""
    return _json_response(status, {"message": message}, request_id, headers, {"error": message})


def internal_error(request_id: str) -> Response:
    """The answer to a request that failed by a fault of ours, in the form of the service's modelled exception."""
    body = {"Message": f"Internal error; the server's log says more under request id {request_id}"}
    return _json_response(500, body, request_id, (("x-amzn-ErrorType", INTERNAL_ERROR),), {"error": "internal"})


def http_date() -> str:
    """Now, as the Date header wants it (RFC 9110, 5.6.7); made once a second."""
    global _date
    second = int(time.time())
    made_at, text = _date
    if made_at != second:
        text = formatdate(second, usegmt=True)
        _date = (second, text)
    return text


def new_request_id() -> str:
    """A random UUID, version 4, as text."""
    number = bytearray(os.urandom(16))
    number[6] = number[6] & 0x0F | 0x40
    number[8] = number[8] & 0x3F | 0x80
    text = number.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _json_response(
    status: int,
    members: dict[str, str],
    request_id: str,
    headers: tuple[tuple[str, str], ...],
    log: dict[str, object],
) -> Response:
    body = json.dumps(members).encode()
    fixed = [("x-amzn-RequestId", request_id), ("Content-Type", "application/json")]
    return Response(status, [*fixed, *headers], [body], log=log)
