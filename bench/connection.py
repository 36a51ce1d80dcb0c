"""One HTTP/1.1 connection over a blocking socket: as little work per request as Python allows."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final

TIMEOUT_SECONDS: Final = 60
MAX_HEAD_SIZE: Final = 16_384
BUFFER_SIZE: Final = 524_288 + MAX_HEAD_SIZE
MAX_BODY_SIZE: Final = 64 * 2**20
"""Far beyond the longest page a server may answer."""

Piece = bytes | memoryview


class WrongAnswerError(Exception):
    """A server answered something that the benchmark must not count."""


@dataclass(slots=True)
class Answer:
    """What came back; `body` is only valid until the next request on the same connection."""

    status: int
    headers: dict[str, str]
    """Lower-case names."""
    body: memoryview


class Connection:
    """Keep-alive where the server allows it; reconnects if the server closes after an answer."""

    def __init__(self, host: str, port: int, timeout_seconds: int = TIMEOUT_SECONDS) -> None:
        self._address = (host, port)
        self._timeout_seconds = timeout_seconds
        self._buffer = bytearray(BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._socket: socket.socket | None = None
        self.connect_count = 0

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def connect(self) -> None:
        """Open the connection now rather than with the first request."""
        sock = socket.create_connection(self._address)
        limit = struct.pack("ll", self._timeout_seconds, 0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._socket = sock
        self.connect_count += 1

    def close(self) -> None:
        """Close the connection; a later request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def exchange(self, pieces: Sequence[Piece]) -> Answer:
        """Send a request given as pieces, head first, and read its answer."""
        if self._socket is None:
            self.connect()
        assert self._socket is not None
        _send(self._socket, pieces)
        answer = self._receive(self._socket)
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def _receive(self, sock: socket.socket) -> Answer:
        size = 0
        end = -1
        while end < 0:
            if size >= MAX_HEAD_SIZE:
                raise WrongAnswerError("an answer's head is too long")
            count = sock.recv_into(self._view[size:])
            if count == 0:
                raise WrongAnswerError("the server closed the connection before it answered")
            size += count
            end = self._buffer.find(b"\r\n\r\n", 0, size)
        status, headers = _parse_head(bytes(self._view[:end]))
        return Answer(status, headers, self._receive_body(sock, _body_size(headers), end + 4, size))

    def _receive_body(self, sock: socket.socket, body_size: int, start: int, size: int) -> memoryview:
        view = self._view
        if start + body_size > len(view):
            view = memoryview(bytearray(start + body_size))
            view[start:size] = self._view[start:size]
        end = start + body_size
        while size < end:
            count = sock.recv_into(view[size:end], 0, socket.MSG_WAITALL)
            if count == 0:
                raise WrongAnswerError("the server closed the connection within a body")
            size += count
        if size > end:
            raise WrongAnswerError("a body is longer than its Content-Length")
        return view[start:end]


def _send(sock: socket.socket, pieces: Sequence[Piece]) -> None:
    left = [memoryview(piece) for piece in pieces]
    while left:
        sent = sock.sendmsg(left)
        while left and sent >= len(left[0]):
            sent -= len(left.pop(0))
        if left:
            left[0] = left[0][sent:]


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, _, rest = head.decode("latin-1").partition("\r\n")
    headers = {}
    for line in rest.split("\r\n"):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(first.split(" ", 2)[1]), headers


def _body_size(headers: dict[str, str]) -> int:
    if "content-length" not in headers:
        raise WrongAnswerError("an answer without Content-Length")
    size = int(headers["content-length"])
    if size > MAX_BODY_SIZE:
        raise WrongAnswerError(f"an answer of {size} bytes")
    return size
