"""The boundary between the listener and everything above bytes: a request in, a response out, and the call between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from snapstone.core.errors import ReadOnlyError
from snapstone.service.access.permission import only_reads
from snapstone.service.engine import Caller


class Body(Protocol):
    """A request's body, still on the socket until it is read. Reading is what asks a waiting client to send it."""

    @property
    def declared_size(self) -> int | None:
        """Bytes announced by Content-Length (0 if there is no body), or None for a chunked body."""

    def read_into(self, view: memoryview) -> int:
        """Fill `view` from the body; returns the byte count, smaller than `view` only if the body ended.

        Raises WriteTimedOutError if the client stalls, and ClientGoneError if it hung up before the end.
        """

    def read_all(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLargeError past `limit` bytes, else as `read_into`."""


class ClientGoneError(Exception):
    """The client closed its connection before its request was complete: there is nobody to answer."""


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
    """Fields of the request log besides method, status and time: operation, snapshot, error code. No secrets."""
    fault: Fault | None = None
    """Why the request was refused, if it was."""
    cut_after: int | None = None
    """Bytes of the body after which the connection is cut, if a fault is injected."""


Application = Callable[[Request], Response]
"""Called by the listener, from many threads at once."""


@dataclass(slots=True)
class Call:
    """A request whose signature holds and whose members are of their types."""

    service: str
    operation: str
    caller: Caller
    members: Mapping[str, object]
    """By model name."""
    request: Request
    log: dict[str, object]
    """Filled on the way, whatever the end."""
    output: Mapping[str, object] | None = None
    """By model name; set once the operation is done. May hold secrets."""


Guard = Callable[[Call], None]
"""Asked before a call's permissions and its operation; may wait, or raise an error that has a row in `faults`."""

ResponseHook = Callable[[Request, Call | None, Response], None]
"""Told of each answer once it is made: the request, and its call if it came to one."""


def refuse_changes(call: Call) -> None:
    """A guard that lets pass what only reads. Raises ReadOnlyError."""
    if not only_reads(call.service, call.operation):
        raise ReadOnlyError


class MaybeReadOnly(Protocol):
    """Something that may become read-only, such as a disk."""

    @property
    def read_only(self) -> bool:
        """Whether it is so now."""


def refuse_changes_while_read_only(subject: MaybeReadOnly) -> Guard:
    """As `refuse_changes`, while the subject is read-only."""

    def guard(call: Call) -> None:
        if subject.read_only:
            refuse_changes(call)

    return guard
