"""One connection's life: requests read one after the other, each handed to the application and answered in order."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from http.client import responses
from threading import Lock
from time import monotonic, perf_counter
from typing import Final

from snapstone.server.http.body import PIECE_SIZE, Stream, StreamBody, body_of
from snapstone.server.http.head import ConnectionLimits, Head, RefusedRequestError, parse_head
from snapstone.wire.gateway import HEALTH_PATH, READY_PATH
from snapstone.wire.http import Application, ClientGoneError, Request, Response

INTERNAL_ERROR: Final = "InternalServerException:http://internal.amazon.com/coral/com.amazon.zeppelindataservice/"

_BODILESS_STATUSES: Final = frozenset({204, 304})

_STATUS_LINES: Final = {status: f"HTTP/1.1 {status} {reason}\r\n" for status, reason in responses.items()}

_date: tuple[int, str] = (0, "")


_PROBES: Final = frozenset({HEALTH_PATH, READY_PATH})

_requests = logging.getLogger("snapstone.requests")


def answer_pieces(response: Response, method: str, connection: str | None) -> list[bytes | memoryview]:
    """The head and then the body's own pieces, uncopied; `connection` is the value of that header if it has one.

    Raises ValueError if a header would break out of its line.
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
    body = {"Message": f"Internal error; see the server's log for request ID {request_id}"}
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


_log = logging.getLogger(__name__)


class ServerConnection:
    """Serves one client's socket in the calling thread; the other methods are for the thread that stops it."""

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        application: Application,
        limits: ConnectionLimits,
        is_stopping: Callable[[], bool],
        takes_one: bool = False,
    ) -> None:
        """`takes_one`: close after one request."""
        self._socket = sock
        self._peer = peer
        self._application = application
        self._limits = limits
        self._is_stopping = is_stopping
        self._takes_one = takes_one
        self._stream = Stream(sock, limits)
        self._state = Lock()
        self._idle = True
        self._client_may_send = False

    def serve(self) -> None:
        """Answer requests until the client leaves, a limit ends the connection, or the server stops."""
        try:
            while self._serve_one():
                pass
            self._finish()
        except ClientGoneError as gone:
            _log.debug("connection broken off", extra={"fields": {"peer": self._peer, "cause": repr(gone.__cause__)}})
        finally:
            self._socket.close()

    def close_if_idle(self) -> None:
        """End the connection if no request is in progress; one that has already arrived is still answered.

        Linux hands out what was received before the shutdown, so nothing that reached this machine whole is lost.
        """
        with self._state, suppress(OSError):  # A socket whose client is gone cannot be shut down any more.
            if self._idle:
                self._socket.shutdown(socket.SHUT_RD)

    def cut(self) -> None:
        """End the connection in the middle of whatever it does."""
        with suppress(OSError):  # As above: the client was quicker, or the connection's own thread.
            self._socket.shutdown(socket.SHUT_RDWR)

    def _serve_one(self) -> bool:
        """Read, pass on and answer one request; False if it is the connection's last, or none came."""
        with self._state:
            self._idle = not self._stream.buffered
        if self._is_stopping():
            self.close_if_idle()
        if not self._stream.wait(self._limits.idle_seconds):
            return False
        with self._state:
            self._idle = False
        started = perf_counter()
        request_id = new_request_id()
        try:
            head = parse_head(self._stream.read_head(), self._limits)
        except RefusedRequestError as error:
            return self._refuse(error, request_id, started)
        return self._answer(head, request_id, started)

    def _answer(self, head: Head, request_id: str, started: float) -> bool:
        body = body_of(head, self._stream, self._limits)
        request = Request(head.method, head.target, head.headers, body, self._peer, request_id)
        try:
            response = self._ask_application(request)
            alive = self._send(response, request, head, body)
        except ClientGoneError:
            log_client_gone(request, started)
            raise
        log_request(request_id, head.method, head.target, self._peer, response, started)
        alive = alive and body.drain()
        self._client_may_send = not body.finished
        return alive

    def _send(self, response: Response, request: Request, head: Head, body: StreamBody) -> bool:
        """Send the answer and hand its buffer back, in any case; whether the connection may carry another request."""
        try:
            stays = head.keep_alive and body.can_be_drained and not (self._takes_one or self._is_stopping())
            connection = ("keep-alive" if head.http_1_0 else None) if stays else "close"
            pieces = self._pieces(response, request, connection)
            if response.cut_after is not None:
                pieces, stays = cut_pieces(pieces, response.cut_after), False
            self._stream.send(pieces)
        finally:
            if response.release is not None:
                response.release()
        return stays

    def _ask_application(self, request: Request) -> Response:
        """The application's response, or the last line of defence if it has none."""
        try:
            return self._application(request)
        except ClientGoneError:
            raise
        except RefusedRequestError as error:
            return refusal(error.status, error.message, request.request_id)
        except Exception:
            return self._fault(request)

    def _pieces(self, response: Response, request: Request, connection: str | None) -> list[bytes | memoryview]:
        try:
            return answer_pieces(response, request.method, connection)
        except ValueError:
            response.status = 500
            return answer_pieces(self._fault(request), request.method, connection)

    def _fault(self, request: Request) -> Response:
        _log.exception("request failed", extra={"fields": {"request_id": request.request_id}})
        return internal_error(request.request_id)

    def _refuse(self, error: RefusedRequestError, request_id: str, started: float) -> bool:
        response = refusal(error.status, error.message, request_id)
        self._stream.send(answer_pieces(response, "", "close"))
        log_request(request_id, "", "", self._peer, response, started)
        self._client_may_send = True
        return False

    def _finish(self) -> None:
        """Let a client that still sends see its answer: closing under unread bytes would reset the connection."""
        if not self._client_may_send:
            return
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        deadline = monotonic() + self._limits.linger_seconds
        left = self._limits.linger_size
        piece = memoryview(bytearray(PIECE_SIZE))
        with suppress(TimeoutError):  # The client has had its time to read the answer.
            while left > 0 and (seconds := deadline - monotonic()) > 0:
                count = self._stream.receive(piece, seconds)
                if not count:
                    return
                left -= count


def log_request(request_id: str, method: str, target: str, peer: str, response: Response, started: float) -> None:
    """One answered request; `started` is a reading of perf_counter. Good blocks and probes are for level debug."""
    level = _level(method, target, response.status)
    if not _requests.isEnabledFor(level):
        return
    fields = _request_fields(request_id, method, target, peer, started)
    fields["status"] = response.status
    _requests.log(level, "request", extra={"fields": fields | response.log})


def log_client_gone(request: Request, started: float) -> None:
    """One request whose client hung up, or stopped taking the answer, before it was answered."""
    fields = _request_fields(request.request_id, request.method, request.target, request.peer, started)
    _requests.info("client gone", extra={"fields": fields})


def _level(method: str, target: str, status: int) -> int:
    if status >= 500:
        return logging.ERROR
    if status < 300 and method in ("GET", "PUT") and ("/blocks/" in target or target in _PROBES):
        return logging.DEBUG
    return logging.INFO


def _request_fields(request_id: str, method: str, target: str, peer: str, started: float) -> dict[str, object]:
    return {
        "request_id": request_id,
        "method": method,
        "target": target.partition("?")[0],
        "peer": peer,
        "duration_ms": round((perf_counter() - started) * 1000, 3),
    }
