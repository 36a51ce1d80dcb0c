"""Socket time limits kept by the kernel: Python's own cost an extra system call for every send and receive."""

from __future__ import annotations

import socket
import struct

_TIMEVAL = struct.Struct("@ll")


def limit_receive(sock: socket.socket, seconds: float) -> None:
    """A receive that gets nothing for this long raises BlockingIOError."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))


def limit_send(sock: socket.socket, seconds: float) -> None:
    """A send that makes no progress for this long raises BlockingIOError."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(seconds))


def _timeval(seconds: float) -> bytes:
    """A kernel `timeval`, at least a microsecond: zero would mean forever."""
    return _TIMEVAL.pack(*divmod(max(1, round(seconds * 1_000_000)), 1_000_000))
