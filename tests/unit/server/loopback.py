"""A listener on a free loopback port with an application made for tests, and a client that speaks raw bytes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from snapstone.server.http.head import DEFAULT_LIMITS, ConnectionLimits
from snapstone.server.http.listener import Listener
from snapstone.wire.http import Application, Request, Response

PATIENCE_SECONDS: Final = 20.0
"""Longer than anything here should take: a test that waits so long has failed."""

BODY_LIMIT: Final = 4 * 1024 * 1024


def echo(request: Request) -> Response:
    """Answers with the request's body; on `/ignore…` it does not read it."""
    body = b"" if request.target.startswith("/ignore") else request.body.read_all(BODY_LIMIT)
    return Response(200, [("Content-Type", "text/plain"), ("X-Target", request.target)], [body])


@contextmanager
def listening(
    application: Application = echo,
    limits: ConnectionLimits = DEFAULT_LIMITS,
    max_connections: int = 64,
) -> Iterator[tuple[Listener, int]]:
    """A running listener and its port; stopped at the end, also where the test has done so."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=64)
    port: int = sock.getsockname()[1]
    listener = Listener(sock, application, max_connections, limits)
    listener.start()
    try:
        yield listener, port
    finally:
        listener.stop(grace_seconds=0.0)


@dataclass
class Answer:
    """One response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    """One connection; what is sent is said byte by byte, what comes back is parsed just enough."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self._received = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        """Send each piece by a call of its own."""
        for piece in pieces:
            self.socket.sendall(piece)

    def answer(self, has_body: bool = True) -> Answer:
        """The next response."""
        head = self._until(lambda data: b"\r\n\r\n" in data)
        head, _, self._received = head.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = int(headers.get("content-length", "0")) if has_body else 0
        data = self._until(lambda data: len(data) >= size)
        self._received = data[size:]
        return Answer(int(status_line.split(" ")[1]), headers, data[:size])

    def is_closed(self) -> bool:
        """Whether the server ends the connection, with nothing more to read; waits for it."""
        try:
            return self._received == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def ask(self, request: bytes) -> Answer:
        """Send a request and return its response."""
        self.send(request)
        return self.answer()

    def _until(self, enough: Callable[[bytes], bool]) -> bytes:
        data = self._received
        while not enough(data):
            piece = self.socket.recv(65_536)
            if not piece:
                raise ConnectionError(f"closed after {data!r}")
            data += piece
        return data


def put(target: str, body: bytes, *headers: str) -> bytes:
    """A PUT with Content-Length."""
    lines = [f"PUT {target} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def chunked(target: str, body: bytes, chunk_size: int, *headers: str) -> bytes:
    """A PUT whose body comes in chunks."""
    lines = [f"PUT {target} HTTP/1.1", "Host: test", "Transfer-Encoding: chunked", *headers, "", ""]
    chunks = [body[at : at + chunk_size] for at in range(0, len(body), chunk_size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return "\r\n".join(lines).encode("latin-1") + framed + b"0\r\n\r\n"
