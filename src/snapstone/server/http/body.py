"""The bytes of one connection: its socket, what was read beyond a head, and a request's body while it is on the socket.

Waits on the socket end by themselves. Time limits are the kernel's (SO_RCVTIMEO, SO_SNDTIMEO), so a receive is one
system call without the interpreter lock. A body has a declared size or comes in chunks.
"""

from __future__ import annotations

import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from socket import MSG_WAITALL
from time import monotonic
from typing import Final

from snapstone.core.errors import WriteTimedOutError
from snapstone.server.http.head import HEAD_END, ConnectionLimits, Head, RefusedRequestError, refuse_long_head
from snapstone.system.sockets import limit_receive, limit_send
from snapstone.wire.http import BodyTooLargeError, ClientGoneError

RECEIVE_SIZE: Final = 4096
"""Received at once while a head is read: most heads are shorter, and what comes along of a body has to be copied."""

SEND_SLICE_SECONDS: Final = 5.0
"""A send comes back at least this often, so that its time limits are checked."""

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
        """One receive into `view` past the buffer; 0 if the client has closed. Raises TimeoutError."""
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
        """Wait for a byte of the next request; False if none came or the client closed."""
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
        """A line without its CRLF, fetched by `receive` as needed; None if it is longer than `limit` bytes."""
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
        """Send all pieces, one after the other. Raises ClientGoneError, also if the client takes too long."""
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
                raise ClientGoneError from TimeoutError("the client does not read its answer")

    def _compact(self) -> None:
        """Move what is buffered to the front, so that there is space behind it."""
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


CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

STALL_SLICES: Final = 6
"""A receive comes back this often in the time that a body may pause, to see whether anything came."""

PIECE_SIZE: Final = 64 * 1024
"""Size of a receive without the caller's buffer: for bodies to be dropped or of unknown size."""

MAX_CHUNK_SIZE_DIGITS: Final = 16

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,%d})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?" % MAX_CHUNK_SIZE_DIGITS)


class StreamBody(ABC):
    """The body of one request on a Stream; what a listener needs beyond `wire.http.Body` to end the request well."""

    def __init__(self, stream: Stream, limits: ConnectionLimits, awaits_continue: bool) -> None:
        self._stream = stream
        self._limits = limits
        self._stall_seconds = limits.body_stall_seconds
        self._total_seconds = limits.body_seconds
        self._deadline: float | None = None
        self._broken = False
        self.awaits_continue = awaits_continue
        """Whether the client waits to be requested the body."""

    @property
    @abstractmethod
    def declared_size(self) -> int | None:
        """Bytes announced by Content-Length, or None for a chunked body."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether the body has been received to its end."""

    @abstractmethod
    def _read_some(self, view: memoryview) -> int:
        """At least one byte into `view`, which is not empty; 0 at the body's end."""

    def read_into(self, view: memoryview) -> int:
        """As wire.http.Body. Raises RefusedRequestError if the framing of chunks is broken."""
        if self.awaits_continue and not self.finished:
            self.awaits_continue = False
            if not self._stream.buffered:
                self._stream.send([CONTINUE])
        filled = 0
        try:
            while filled < len(view):
                count = self._read_some(view[filled:])
                if not count:
                    break
                filled += count
        except BaseException:
            self._broken = True
            raise
        return filled

    def read_all(self, limit: int) -> bytes:
        """As wire.http.Body."""
        size = self.declared_size
        if size is not None:
            if size > limit:
                raise BodyTooLargeError(limit)
            whole = bytearray(size)
            return bytes(whole[: self.read_into(memoryview(whole))])
        gathered = bytearray()
        piece = memoryview(bytearray(PIECE_SIZE))
        while count := self.read_into(piece[: limit + 1 - len(gathered)]):
            gathered += piece[:count]
            if len(gathered) > limit:
                raise BodyTooLargeError(limit)
        return bytes(gathered)

    @property
    def can_be_drained(self) -> bool:
        """Whether to receive the unread rest, so that the connection can carry another request."""
        return self.finished or not (self._broken or self.awaits_continue or self._is_long())

    def drain(self) -> bool:
        """Receive and drop the rest; False if it was too long, too slow or broken, and the connection must close."""
        if self.finished:
            return True
        self._stall_seconds = self._total_seconds = self._limits.drain_seconds
        self._deadline = None
        piece = memoryview(bytearray(PIECE_SIZE))
        dropped = 0
        try:
            while dropped < self._limits.drain_size and not self.finished:
                dropped += self.read_into(piece)
        except (WriteTimedOutError, RefusedRequestError):
            return False
        return self.finished

    @abstractmethod
    def _is_long(self) -> bool:
        """Whether the rest is known to be longer than what is drained."""

    def _receive(self, view: memoryview, flags: int = MSG_WAITALL) -> int:
        """Bytes from the stream into `view`: all that fit, or what came until it was time to check the clock.

        Without MSG_WAITALL: what is there, at least one byte.
        """
        now = monotonic()
        if self._deadline is None:
            self._deadline = now + self._total_seconds
        quiet_from = now
        while True:
            if now >= self._deadline:
                raise WriteTimedOutError(self._total_seconds)
            if now - quiet_from >= self._stall_seconds:
                raise WriteTimedOutError(self._stall_seconds)
            try:
                count = self._stream.receive(view, self._stall_seconds / STALL_SLICES, flags)
            except TimeoutError:
                now = monotonic()
                continue
            if not count:
                raise ClientGoneError
            return count


class SizedBody(StreamBody):
    """A body of the size that Content-Length declares, or none at all."""

    def __init__(self, stream: Stream, limits: ConnectionLimits, size: int, awaits_continue: bool) -> None:
        super().__init__(stream, limits, awaits_continue)
        self._size = size
        self._remaining = size

    @property
    def declared_size(self) -> int | None:
        """As wire.http.Body."""
        return self._size

    @property
    def finished(self) -> bool:
        """As StreamBody."""
        return not self._remaining

    def _read_some(self, view: memoryview) -> int:
        if not self._remaining:
            return 0
        view = view[: self._remaining]
        count = self._stream.take(view) or self._receive(view)
        self._remaining -= count
        return count

    def _is_long(self) -> bool:
        return self._remaining > self._limits.drain_size


class ChunkedBody(StreamBody):
    """A body in chunks (RFC 9112, section 7.1): extensions are ignored, trailers dropped."""

    def __init__(self, stream: Stream, limits: ConnectionLimits, awaits_continue: bool) -> None:
        super().__init__(stream, limits, awaits_continue)
        self._remaining_in_chunk = 0
        self._chunks = 0
        self._finished = False

    @property
    def declared_size(self) -> int | None:
        """As wire.http.Body."""
        return None

    @property
    def finished(self) -> bool:
        """As StreamBody."""
        return self._finished

    def _read_some(self, view: memoryview) -> int:
        if not self._remaining_in_chunk and not self._finished:
            self._begin_chunk()
        if self._finished:
            return 0
        view = view[: self._remaining_in_chunk]
        count = self._stream.take(view) or self._receive(view)
        self._remaining_in_chunk -= count
        if not self._remaining_in_chunk and self._line(0):
            raise AssertionError("a line of at most no bytes has bytes")
        return count

    def _is_long(self) -> bool:
        return False

    def _begin_chunk(self) -> None:
        size = _chunk_size(self._line(self._limits.chunk_line_size))
        if not size:
            self._drop_trailers()
            self._finished = True
        self._chunks += 1
        if self._chunks > self._limits.chunk_count:
            raise RefusedRequestError(400, f"The body has more than {self._limits.chunk_count} chunks")
        self._remaining_in_chunk = size

    def _drop_trailers(self) -> None:
        left = self._limits.trailer_size
        while line := self._line(left):
            left -= len(line)

    def _line(self, limit: int) -> bytes:
        line = self._stream.take_line(limit, partial(self._receive, flags=0))
        if line is None:
            raise RefusedRequestError(400, f"A chunked body has a line of more than {limit} bytes where one ends")
        return line


def body_of(head: Head, stream: Stream, limits: ConnectionLimits) -> StreamBody:
    """The body that a head announces."""
    if head.content_length is None:
        return ChunkedBody(stream, limits, head.expects_continue)
    return SizedBody(stream, limits, head.content_length, head.expects_continue)


def _chunk_size(line: bytes) -> int:
    match = _CHUNK_LINE.fullmatch(line)
    if match is None:
        raise RefusedRequestError(400, "A chunk's size is not a hexadecimal number")
    return int(match[1], 16)
