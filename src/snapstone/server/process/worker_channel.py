"""The messages between a worker and its supervisor, over one socket pair per worker.

The worker sends heartbeats, and one message when it is ready, cannot start, or finds that it hangs; the supervisor
sends the problems that it sees, for `/ready`. Neither waits for the other: what does not fit is dropped, and heartbeats
come again. Either side's end, however it came, closes the channel; so no worker outlives its supervisor.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import Enum
from typing import Final

TEXT_LIMIT: Final = 32_768
"""Bytes of a message's text; a longer one is cut."""


class MessageKind(Enum):
    """The kind of a message: its first byte."""

    BEAT = b"b"
    """The worker runs, and what matters in it makes progress."""
    READY = b"r"
    """The worker answers requests."""
    REFUSED = b"u"
    """The worker does not start, for a reason that the operator can remove: the text."""
    FAILED = b"f"
    """The worker could not start: the text says why."""
    STUCK = b"s"
    """Something in the worker hangs and it wants to be replaced; the text says what."""
    PROBLEM = b"p"
    """The supervisor sees a problem: the text. It replaces what was said before."""
    SOUND = b"o"
    """The supervisor sees none any more."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message."""

    kind: MessageKind
    text: str = ""


class Channel:
    """One end. Sending and receiving may happen in different threads."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self.is_closed = False
        """Whether the other side has ended; known after `receive`."""

    def fileno(self) -> int:
        """For `select`, and for the process that inherits this end."""
        return self._end.fileno()

    def send(self, kind: MessageKind, text: str = "") -> bool:
        """Send a message; False if the other side has ended, or does not read."""
        try:
            self._end.send(kind.value + text.encode(errors="replace")[:TEXT_LIMIT])
        except (BlockingIOError, ConnectionError):
            return False
        return True

    def receive(self) -> list[Message]:
        """All messages that have arrived; waits for none."""
        messages = []
        while not self.is_closed:
            try:
                packet = self._end.recv(1 + TEXT_LIMIT)
            except BlockingIOError:
                break
            except ConnectionResetError:
                continue  # The other side ended without reading everything; what it sent is still to be had.
            if not packet:
                self.is_closed = True
            else:
                messages.append(Message(MessageKind(packet[:1]), packet[1:].decode(errors="replace")))
        return messages

    def close(self) -> None:
        """End the channel."""
        self._end.close()


def open_channel() -> tuple[Channel, Channel]:
    """Both ends of a new channel, which child processes do not inherit. Raises OSError."""
    mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(mine), Channel(other)


def inherited_channel(descriptor: int) -> Channel:
    """The end that a worker was started with."""
    return Channel(socket.socket(fileno=descriptor))
