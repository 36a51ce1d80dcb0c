"""The boundary between the listener and everything above bytes: one request in, one response out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Body(Protocol):
    """A request's body, still on the socket until it is read. Reading is what asks a waiting client to send it."""

    @property
    def declared_size(self) -> int | None:
        """Bytes announced by Content-Length (0 where there is no body), or None for a chunked body."""

    def read_into(self, view: memoryview) -> int:
        """Fill `view` from the body; returns the byte count, smaller than `view` only where the body ended.

        Raises WriteTimedOutError where the client stalls, and ClientGoneError where it hung up before the end.
        """

    def read_all(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLargeError past `limit` bytes, else as `read_into`."""


class ClientGoneError(Exception):
    """The client closed its connection before its request was whole: nobody is there to answer."""


@dataclass(eq=False)
class BodyTooLargeError(Exception):
    """A body longer than the operation can take."""

    limit: int


@dataclass(slots=True)
class Request:
    """One HTTP request whose head is parsed and whose body is not yet read."""

    method: str
    target: str
    """The raw request target as sent, still percent-encoded: path and, after the first `?`, query."""
    headers: dict[str, str]
    """Lower-case names; repeated headers joined by `,` in order of arrival; values stripped, decoded as latin-1."""
    body: Body
    peer: str
    """Address of the other end, for logs."""
    request_id: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a request was refused, as its answer says it."""

    code: str
    message: str


@dataclass(slots=True)
class Response:
    """One HTTP response. The listener adds Content-Length, Date and Connection."""

    status: int
    headers: list[tuple[str, str]]
    body: Sequence[bytes | memoryview] = ()
    """Pieces sent one after the other; never joined."""
    release: Callable[[], None] | None = None
    """Called once the body has been sent or given up, to hand a borrowed buffer back."""
    log: dict[str, object] = field(default_factory=dict)
    """What the request log says besides method, status and time: operation, snapshot, error code. No secrets."""
    fault: Fault | None = None
    """Why the request was refused, where it was."""
    cut_after: int | None = None
    """Bytes of the body after which the connection is cut, where a fault is injected."""


Application = Callable[[Request], Response]
"""What the listener calls, from many threads at once."""
