"""The bytes of one connection: a blocking socket whose waits end by themselves, and what was read beyond a head.

Time limits are the kernel's (SO_RCVTIMEO, SO_SNDTIMEO), so a receive is one system call without the interpreter lock.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from snapstone.server.http.head import HEAD_END, ConnectionLimits, RefusedRequestError, refuse_long_head
from snapstone.system.sockets import limit_receive, limit_send
from snapstone.wire.http import ClientGoneError

RECEIVE_SIZE: Final = 4096
"""Asked for at once while a head is read: most heads are shorter, and what comes along of a body has to be copied."""

SEND_SLICE_SECONDS: Final = 5.0
"""A send comes back at least this often, so that its time limits are looked at."""

PIECES_AT_ONCE: Final = 1024
"""Linux takes no more pieces in one sendmsg (IOV_MAX)."""


class Stream:
    """One connection's socket. Errors of the socket become ClientGoneError; a wait that ends, TimeoutError."""

    def __init__(self, sock: socket.socket, limits: ConnectionLimits) -> None:
        self._socket = sock
        self._limits = limits
        self._buffer = bytearray(limits.head_size)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._receive_seconds = 0.0
        limit_send(sock, min(SEND_SLICE_SECONDS, limits.send_stall_seconds))

    @property
    def buffered(self) -> int:
        """Count of bytes received and not yet taken."""
        return self._end - self._start

    def receive(self, view: memoryview, seconds: float, flags: int = 0) -> int:
        """One receive into `view` past the buffer; 0 where the client has closed. Raises TimeoutError."""
        if seconds != self._receive_seconds:
            limit_receive(self._socket, seconds)
            self._receive_seconds = seconds
        try:
            return self._socket.recv_into(view, 0, flags)
        except BlockingIOError:
            raise TimeoutError from None
        except OSError as error:
            raise ClientGoneError from error

    def wait(self, seconds: float) -> bool:
        """Wait for a byte of the next request; False where none came or the client closed."""
        if self._start < self._end:
            return True
        self._start = 0
        try:
            self._end = self.receive(self._view[:RECEIVE_SIZE], seconds)
        except TimeoutError:
            return False
        return self._end > 0

    def read_head(self) -> bytes:
        """The next request's head with its empty line. Raises RefusedRequestError, or ClientGoneError if cut off."""
        deadline = monotonic() + self._limits.head_seconds
        scanned = self._start
        while True:
            while self._buffer.startswith(b"\r\n", self._start, self._end):
                self._start += 2  # Empty lines before a request are skipped (RFC 9112, 2.2).
            end = self._buffer.find(HEAD_END, max(scanned, self._start), self._end)
            if end >= 0:
                head = self._view[self._start : end + len(HEAD_END)].tobytes()
                self._start = end + len(HEAD_END)
                return head
            self._compact()
            scanned = max(0, self._end - len(HEAD_END) + 1)
            if self._end == len(self._buffer):
                raise refuse_long_head(bytes(self._buffer), self._limits)
            self._read_more_of_head(deadline)

    def take(self, view: memoryview) -> int:
        """Move bytes already received into `view`; returns their count."""
        count = min(len(view), self._end - self._start)
        if count:
            view[:count] = self._view[self._start : self._start + count]
            self._start += count
        return count

    def take_line(self, limit: int, receive: Callable[[memoryview], int]) -> bytes | None:
        """A line without its CRLF, fetched by `receive` as needed; None where it is longer than `limit` bytes."""
        limit = min(limit, len(self._buffer) - 2)
        while True:
            end = self._buffer.find(b"\r\n", self._start, self._end)
            if 0 <= end <= self._start + limit:
                line = self._view[self._start : end].tobytes()
                self._start = end + 2
                return line
            if end >= 0 or self._end - self._start > limit + 1:
                return None
            self._compact()
            self._end += receive(self._view[self._end : self._end + RECEIVE_SIZE])

    def send(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send all pieces, one after the other. Raises ClientGoneError, also where the client takes too long."""
        waiting: list[memoryview | bytes] = list(pieces)
        begun_at = moved_at = monotonic()
        while True:
            try:
                sent = self._socket.sendmsg(waiting[:PIECES_AT_ONCE])
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise ClientGoneError from error
            _drop_sent(waiting, sent)
            if not waiting:
                return
            now = monotonic()
            moved_at = now if sent else moved_at
            if now - moved_at >= self._limits.send_stall_seconds or now - begun_at >= self._limits.send_seconds:
                raise ClientGoneError from TimeoutError("the client does not take its answer")

    def _compact(self) -> None:
        """Move what is buffered to the front, so that there is room behind it."""
        count = self._end - self._start
        if self._start and count:
            self._view[:count] = self._view[self._start : self._end]
        self._start, self._end = 0, count

    def _read_more_of_head(self, deadline: float) -> None:
        try:
            count = self.receive(self._view[self._end : self._end + RECEIVE_SIZE], deadline - monotonic())
        except TimeoutError:
            message = f"The request's head took longer than {self._limits.head_seconds:g} seconds"
            raise RefusedRequestError(408, message) from None
        if not count:
            raise ClientGoneError
        self._end += count


def _drop_sent(waiting: list[memoryview | bytes], sent: int) -> None:
    """Remove the first `sent` bytes, and empty pieces after them, from the front of `waiting`."""
    done = 0
    for piece in waiting:
        size = len(piece)
        if size > sent:
            break
        sent -= size
        done += 1
    del waiting[:done]
    if sent:
        waiting[0] = memoryview(waiting[0])[sent:]
