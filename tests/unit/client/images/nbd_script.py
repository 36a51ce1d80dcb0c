"""An NBD server that says what a test has written down for it, for faults that a real server does not produce."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from snapstone.client.images.nbd import NbdConnection

CONTEXT_ID = 7
SIZE = 1 << 20

Request = tuple[int, int, int, int, int]
"""Command, cookie, offset, length and flags."""
Script = Callable[[socket.socket, Request], None]

GREETING = b"NBDMAGIC" + b"IHAVEOPT" + struct.pack(">H", 3)


def option_reply(option: int, kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">QIII", 0x3E889045565A9, option, kind, len(payload)) + payload


def chunk(cookie: int, kind: int, payload: bytes = b"", *, final: bool = False) -> bytes:
    return struct.pack(">IHHQI", 0x668E33EF, int(final), kind, cookie, len(payload)) + payload


def data(offset: int, content: bytes) -> bytes:
    return struct.pack(">Q", offset) + content


def hole(offset: int, size: int) -> bytes:
    return struct.pack(">QI", offset, size)


def simple(cookie: int, number: int = 0) -> bytes:
    return struct.pack(">IIQ", 0x67446698, number, cookie)


def receive(peer: socket.socket, size: int) -> bytes:
    payload = b""
    while len(payload) < size:
        part = peer.recv(size - len(payload))
        if not part:
            raise EOFError
        payload += part
    return payload


def negotiate(peer: socket.socket, export_flags: int = 1) -> None:
    """The server's side of the handshake, as the protocol's document has it."""
    peer.sendall(GREETING)
    assert receive(peer, 4) == struct.pack(">I", 3)
    while True:
        magic, option, length = struct.unpack(">8sII", receive(peer, 16))
        assert magic == b"IHAVEOPT"
        receive(peer, length)
        if option == 10:
            peer.sendall(option_reply(10, 4, struct.pack(">I", CONTEXT_ID) + b"base:allocation"))
        if option == 7:
            peer.sendall(option_reply(7, 3, struct.pack(">HQH", 0, SIZE, export_flags)))
        peer.sendall(option_reply(option, 1))
        if option == 7:
            return


def next_request(peer: socket.socket) -> Request:
    magic, flags, command, cookie, offset, length = struct.unpack(">IHHQQI", receive(peer, 28))
    assert magic == 0x25609513
    return command, cookie, offset, length, flags


class ScriptedServer:
    """Serves one connection: each request is answered by the next script; then it hangs up."""

    def __init__(self, *scripts: Script, begin: Callable[[socket.socket], None] = negotiate) -> None:
        self.mine, self._peer = socket.socketpair()
        self._scripts = scripts
        self._begin = begin
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.mine.close()
        self._thread.join(timeout=10)
        assert self.failure is None

    def connect(self) -> NbdConnection:
        return NbdConnection(self.mine)

    def _serve(self) -> None:
        try:
            with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
                self._begin(self._peer)
                for script in self._scripts:
                    script(self._peer, next_request(self._peer))
        except AssertionError as failure:
            self.failure = failure
        finally:
            self._peer.close()
