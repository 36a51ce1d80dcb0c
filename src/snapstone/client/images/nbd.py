"""One connection to an NBD server over a connected socket: one request at a time, received into the caller's buffer."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Final

from snapstone.client.errors import ClientError, StalledError
from snapstone.client.images import nbd_messages as messages
from snapstone.client.images.nbd_messages import Coverage, NbdExtent, ProtocolError, Reply, RequestError

REPLY_SECONDS: Final = 120.0
"""Silence that is waited through in any reply but that to a flush."""

FLUSH_SECONDS: Final = 3_600.0
"""A flush writes all that the machine has gathered in memory."""

MAX_TRANSFER_SIZE: Final = 32 << 20
"""Bytes of one read or write: what every server takes, by the protocol's document."""

MAX_STATUS_SIZE: Final = 1 << 30
"""Bytes that one block status request asks about."""

MAX_OPTION_REPLY_COUNT: Final = 64


class ServerGoneError(ClientError):
    """The NBD server closed the connection."""

    resumable = True


class NbdConnection:
    """A connection in its transmission phase. For one thread at a time.

    Every method raises RequestError if the server could not do it. After any other error the connection says
    ServerGoneError to everything, because its state is unknown.
    """

    def __init__(self, connected: socket.socket, export: bytes = b"") -> None:
        self._socket = connected
        self._socket.settimeout(REPLY_SECONDS)
        self._cookie = 0
        self._sound = True
        self._context_id = -1
        self._read_flags = 0
        self.size = -1
        """Bytes of the export."""
        self._negotiate(export)

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into` with the bytes at `offset`."""
        self._check_extent(offset, len(into), MAX_TRANSFER_SIZE)
        coverage = Coverage(offset, len(into))
        for reply in self._exchange(messages.READ, offset, len(into)):
            if reply.kind == messages.CHUNK_DATA and reply.size > 8:
                start = int.from_bytes(self._receive(8))
                self._receive_into(into[coverage.claim(start, reply.size - 8)])
            elif reply.kind == messages.CHUNK_HOLE and reply.size == 12:
                payload = self._receive(12)
                hole = coverage.claim(int.from_bytes(payload[:8]), int.from_bytes(payload[8:]))
                into[hole] = bytes(hole.stop - hole.start)
            else:
                self._expect_nothing(reply)
        self._finish(coverage)

    def write(self, offset: int, data: memoryview) -> None:
        """Write `data` at `offset`; durable after the next flush."""
        self._check_extent(offset, len(data), MAX_TRANSFER_SIZE)
        for reply in self._exchange(messages.WRITE, offset, len(data), data):
            self._expect_nothing(reply)

    def write_zeros(self, offset: int, size: int) -> None:
        """Make bytes read as zeros, as a hole if the server can."""
        self._check_extent(offset, size, MAX_STATUS_SIZE)
        for reply in self._exchange(messages.WRITE_ZEROES, offset, size):
            self._expect_nothing(reply)

    def flush(self) -> None:
        """Everything that was answered before, on whatever connection, survives a loss of power."""
        self._socket.settimeout(FLUSH_SECONDS)
        try:
            for reply in self._exchange(messages.FLUSH, 0, 0):
                self._expect_nothing(reply)
        finally:
            self._socket.settimeout(REPLY_SECONDS)

    def extents(self, offset: int, size: int) -> list[NbdExtent]:
        """Extents from `offset` on, in order: at least one, but perhaps less or more than `size` bytes."""
        self._check_extent(offset, size, MAX_STATUS_SIZE)
        extents: list[NbdExtent] = []
        for reply in self._exchange(messages.BLOCK_STATUS, offset, size):
            if reply.kind == messages.CHUNK_BLOCK_STATUS and reply.size <= messages.MAX_EXTENTS_SIZE and not extents:
                extents = messages.parse_extents(self._receive(reply.size), self._context_id)
            else:
                self._expect_nothing(reply)
        if not extents:
            self._sound = False
            raise ProtocolError(f"the server tells no block status at {offset}")
        return extents

    def disconnect(self) -> None:
        """Disconnect, if the server is still there, and close."""
        if self._sound:
            self._sound = False
            with contextlib.suppress(ClientError):  # Gone already, which is where this was to lead.
                self._send(messages.request(messages.DISCONNECT, 0, 0, 0))
        self._socket.close()

    def abort(self) -> None:
        """From any thread: make a request that waits in another thread fail now."""
        self._sound = False
        with contextlib.suppress(OSError):  # Not connected any more.
            self._socket.shutdown(socket.SHUT_RDWR)

    def _negotiate(self, export: bytes) -> None:
        self._send(messages.answer_greeting(self._receive(messages.GREETING.size)))
        self._option(messages.OPTION_STRUCTURED_REPLY, b"")
        told = self._option(messages.OPTION_SET_META_CONTEXT, messages.meta_context_payload(export))
        contexts = [messages.parse_context(it) for kind, it in told if kind == messages.REPLY_META_CONTEXT]
        told = self._option(messages.OPTION_GO, messages.go_payload(export))
        exports = [messages.parse_export(it) for kind, it in told if kind == messages.REPLY_INFO]
        known = [it for it in exports if it is not None]
        if len(contexts) != 1 or len(known) != 1:
            raise ProtocolError(
                f"the server tells {len(contexts)} meta contexts and {len(known)} sizes; one of each is due"
            )
        self._context_id, self.size = contexts[0], known[0].size
        # A read in pieces that fails half-way has no answer but a closed connection: so it is with qemu-nbd 7.
        self._read_flags = messages.READ_WHOLE if known[0].reads_whole else 0

    def _option(self, kind: int, payload: bytes) -> list[tuple[int, bytes]]:
        """Kinds and payloads that the server answers, up to its acknowledgement."""
        self._send(messages.option(kind, payload))
        told: list[tuple[int, bytes]] = []
        while len(told) < MAX_OPTION_REPLY_COUNT:
            reply = messages.parse_option_reply(self._receive(messages.OPTION_REPLY_HEAD.size), kind)
            words = self._receive(reply.size)
            if reply.refuses:
                raise ProtocolError(
                    f"the server refuses option {kind}: {words.decode(errors='replace') or 'no reason given'}"
                )
            if reply.kind == messages.REPLY_ACK:
                return told
            told.append((reply.kind, words))
        raise ProtocolError(f"the server answers option {kind} more than {MAX_OPTION_REPLY_COUNT} times")

    def _exchange(self, command: int, offset: int, size: int, data: memoryview | None = None) -> Iterator[Reply]:
        """Send a request; hand out its replies, whose payloads the caller receives; at the end raise their error."""
        if not self._sound:
            raise ServerGoneError("the connection to the NBD server is broken")
        self._sound = False
        self._cookie += 1
        flags = self._read_flags if command == messages.READ else 0
        self._send(messages.request(command, self._cookie, offset, size, flags), data)
        failure: RequestError | None = None
        final = False
        while not final:
            reply = self._reply()
            final = reply.final
            if reply.number or reply.is_error_chunk:
                failure = failure or self._failure(messages.COMMAND_NAMES[command], reply)
            else:
                yield reply
        self._sound = True
        if failure is not None:
            raise failure

    def _reply(self) -> Reply:
        head = self._receive(messages.SIMPLE_REPLY_HEAD.size)
        if messages.needs_rest(head):
            reply = messages.parse_chunk(head, self._receive(messages.CHUNK_REST.size))
        else:
            reply = messages.parse_simple(head)
        if reply.cookie != self._cookie:
            raise ProtocolError(f"a reply is to request {reply.cookie}, not to {self._cookie}")
        return reply

    def _failure(self, command: str, reply: Reply) -> RequestError:
        if reply.number:
            return RequestError(command, reply.number, "")
        if reply.size > messages.MAX_ERROR_SIZE:
            raise ProtocolError(f"an error of {reply.size} bytes")
        return RequestError(command, *messages.parse_error(self._receive(reply.size)))

    def _expect_nothing(self, reply: Reply) -> None:
        if reply.kind != messages.CHUNK_NONE or reply.size != 0:
            raise ProtocolError(f"a chunk of kind {reply.kind} with {reply.size} bytes does not answer this request")

    def _finish(self, coverage: Coverage) -> None:
        self._sound = False
        coverage.finish()
        self._sound = True

    def _check_extent(self, offset: int, size: int, most: int) -> None:
        if not (0 < size <= most and 0 <= offset <= self.size - size):
            raise ValueError(f"{size} bytes at {offset} of an export of {self.size} bytes")

    def _send(self, head: bytes, data: memoryview | None = None) -> None:
        try:
            parts = [memoryview(head)] if data is None else [memoryview(head), data]
            sent = self._socket.sendmsg(parts)
            for part in parts:
                if sent < len(part):
                    self._socket.sendall(part[sent:])
                sent = max(0, sent - len(part))
        except TimeoutError as error:
            raise StalledError(f"the NBD server took nothing for {self._socket.gettimeout():.0f} s") from error
        except OSError as error:
            raise ServerGoneError("the NBD server closed the connection") from error

    def _receive(self, size: int) -> bytes:
        payload = bytearray(size)
        self._receive_into(memoryview(payload))
        return bytes(payload)

    def _receive_into(self, into: memoryview) -> None:
        try:
            while into:
                count = self._socket.recv_into(into)
                if count == 0:
                    raise ServerGoneError("the NBD server closed the connection")
                into = into[count:]
        except TimeoutError as error:
            raise StalledError(f"the NBD server sent nothing for {self._socket.gettimeout():.0f} s") from error
        except OSError as error:
            raise ServerGoneError("the NBD server closed the connection") from error
