"""A server that answers what it is told to, byte for byte: for answers that no real server gives on demand."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from types import TracebackType

ACCEPT_SECONDS = 10.0


class OneAnswerServer:
    """Answers each request on a connection with the next of its answers; None closes the connection instead.

    Requests are a head and as many bytes as its Content-Length says; they are kept in `requests`. After an answer that
    is in `closing_after` (by number, from 0) it closes the connection.
    """

    def __init__(self, answers: Sequence[bytes | None], closing_after: Sequence[int] = ()) -> None:
        self.requests: list[bytes] = []
        self.connection_count = 0
        self._answers = list(answers)
        self._closing_after = frozenset(closing_after)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(ACCEPT_SECONDS)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> OneAnswerServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()
        self._thread.join(ACCEPT_SECONDS)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while len(self.requests) < len(self._answers):
                sock, _ = self._listener.accept()
                self.connection_count += 1
                with sock, contextlib.suppress(ConnectionError):
                    sock.settimeout(ACCEPT_SECONDS)
                    self._converse(sock)

    def _converse(self, sock: socket.socket) -> None:
        while len(self.requests) < len(self._answers) and (request := _request(sock)):
            number = len(self.requests)
            self.requests.append(request)
            answer = self._answers[number]
            if answer is not None:
                sock.sendall(answer)
            if answer is None or number in self._closing_after:
                return


def _request(sock: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = sock.recv(65_536)
        if not piece:
            return b""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    size = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            size = int(value)
    while len(body) < size:
        body += sock.recv(65_536)
    return head + b"\r\n\r\n" + body
